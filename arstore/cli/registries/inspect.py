"""`inspect docker://…`: an image in a registry, of which only documents are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.cli.registries.options import PREFIX
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.oci.config import ImageConfig
    from arstore.registry.access import RegistryOptions
    from arstore.store.ingest.incoming import IncomingImage


class RemoteImage(NamedTuple):
    """What `inspect` tells of an image in a registry: `summary` is JSON, `config` the image's own."""

    summary: dict[str, Any]
    config: ImageConfig


def remote_manifest(image: str, options: RegistryOptions) -> bytes:
    """The manifest or index that *image* means, byte for byte."""
    from arstore.transport.registry import open_registry

    with open_registry(image.removeprefix(PREFIX), options) as source:
        return source.top.raw


def remote_image(image: str, options: RegistryOptions) -> RemoteImage:
    """The image that *image* means, on this host. Raises the errors of registries and of `Selector`."""
    from arstore.oci.config import ImageConfig
    from arstore.transport.registry import open_registry
    from arstore.transport.selection.selector import Selector, Wanted

    with open_registry(image.removeprefix(PREFIX), options) as source:
        selection = Selector(source, Wanted()).select()
        (found,) = selection.images.values()
        summary = _summary(found, list(source.images()[0].names))
        if source.top.digest != found.digest:
            summary["index"] = {"digest": source.top.digest}
    return RemoteImage(summary, ImageConfig.parse(found.config))


def _summary(image: IncomingImage, names: list[str]) -> dict[str, Any]:
    return {
        "digest": image.digest,
        "names": names,
        "media_type": image.media_type,
        "platform": image.platform,
        "created": image.created,
        "config": image.config_digest,
        "size": sum(layer.size for layer in image.layers),
        "top": image.top,
        "layers": [
            {
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "chain_id": layer.chain_id,
                "size": None,
                "compressed_size": layer.size,
            }
            for layer in image.layers
        ],
    }
