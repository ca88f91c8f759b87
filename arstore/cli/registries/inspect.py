"""`inspect docker://…`: the details of an image in a registry; no layer is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.cli.registries.options import PREFIX
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.oci.config import ImageConfig
    from arstore.registry.access import RegistryOptions
    from arstore.store.ingest.incoming import IncomingImage


class RemoteImage(NamedTuple):
    """An image in a registry: `summary` is for JSON output, `config` is the image's config."""

    summary: dict[str, Any]
    config: ImageConfig


def remote_manifest(image: str, options: RegistryOptions) -> bytes:
    """Return the manifest or index that *image* names, byte for byte. Raises RegistryError, InvalidReferenceError."""
    from arstore.transport.registry import open_registry

    with open_registry(image.removeprefix(PREFIX), options) as source:
        return source.top.raw


def remote_image(image: str, options: RegistryOptions) -> RemoteImage:
    """Return the image that *image* names, for this host. Raises RegistryError, SourceError, InvalidReferenceError."""
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
