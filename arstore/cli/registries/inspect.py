"""`inspect docker://…`: an image in a registry, of which only documents are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.cli.registries.options import PREFIX
from arstore.cli.terminal.output import write_bytes, write_indented, write_json

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.transport.registry.access import RegistryOptions


def inspect_remote(session: Session, image: str, part: str | None, options: RegistryOptions) -> None:
    """Do what `inspect` does, for an image in a registry."""
    from arstore.cli.images.inspect import process_details
    from arstore.oci.config import ImageConfig
    from arstore.transport.registry.source import open_registry
    from arstore.transport.selection import Selector, Wanted

    with open_registry(image.removeprefix(PREFIX), options) as source:
        if part == "raw":
            write_bytes(source.open_manifest(source.images()[0].descriptor).read())  # type: ignore[arg-type]
            return
        selection = Selector(source, Wanted()).select()
        (found,) = selection.images.values()
        config = ImageConfig.parse(found.config)
        top = source.images()[0].descriptor
    if part == "config":
        write_bytes(config.raw)
        return
    document: dict[str, Any] = {
        "digest": found.digest,
        "names": list(source.images()[0].names),
        "media_type": found.media_type,
        "platform": found.platform,
        "created": found.created,
        "config": found.config_digest,
        "size": sum(layer.size for layer in found.layers),
        "top": found.top,
        "layers": [
            {
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "chain_id": layer.chain_id,
                "size": None,
                "compressed_size": layer.size,
            }
            for layer in found.layers
        ],
    }
    if top.digest != found.digest:
        document["index"] = {"digest": top.digest}
    (write_json if session.json else write_indented)(document | process_details(config))
