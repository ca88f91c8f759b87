"""The documents of a docker-archive: `manifest.json`, `repositories`, and those of each layer.

moby's image specification, v1.2.md ("Combined Image JSON + Filesystem Changeset Format"), and the output of docker,
podman and skopeo. Layers have separate ids there, computed as docker does: from the layer, its parent's id, and for the
top layer also the config.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from arstore.oci.chain import chain_ids
from arstore.oci.document import STORED, encode, parse
from arstore.oci.reference import parse_name
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.transport.sink import OutgoingImage

_OF_THE_TOP = (
    "architecture", "author", "config", "container", "container_config", "created", "docker_version", "os", "variant",
)  # fmt: skip
"""Members that the document of an image's top layer takes from the image's config."""
_EPOCH = "1970-01-01T00:00:00Z"


class DockerItem(NamedTuple):
    """An image as `manifest.json` lists it: paths of members, the names, and the id of its top layer, if it has one."""

    config: str
    names: tuple[str, ...]
    layers: tuple[str, ...]
    top: str


class LegacyLayer(NamedTuple):
    """A layer's id, and its document `json`."""

    id: str
    document: bytes


def listing(items: Sequence[DockerItem]) -> bytes:
    """The content of `manifest.json`."""
    return encode(
        [{"Config": one.config, "RepoTags": list(one.names) or None, "Layers": list(one.layers)} for one in items]
    )


def repositories(items: Sequence[DockerItem]) -> bytes:
    """The content of `repositories`: the top layer's id for each name and tag. Images without layers are left out."""
    found: dict[str, dict[str, str]] = {}
    for item in items:
        for text in item.names if item.top else ():
            name = parse_name(text)
            found.setdefault(name.repository, {})[name.tag] = item.top
    return encode(found)


def legacy_layers(image: OutgoingImage) -> list[LegacyLayer]:
    """The layers of *image*, bottom first, as v1.2 of the specification has them.

    Empty for an image without layers.
    """
    config = parse(image.config, "config", STORED)
    found: list[LegacyLayer] = []
    parent = ""
    chain = chain_ids([layer.diff_id for layer in image.layers])
    for place, chain_id in enumerate(chain):
        document: dict[str, Any] = {"created": _EPOCH, "container_config": {"Cmd": [""]}}
        if place == len(chain) - 1:
            document = {key: config[key] for key in _OF_THE_TOP if key in config}
        own = document | ({"parent": parent} if parent else {})
        known_by = {**document, "layer_id": str(chain_id), **({"parent": f"sha256:{parent}"} if parent else {})}
        layer_id = hashlib.sha256(encode(known_by)).hexdigest()
        found.append(LegacyLayer(layer_id, encode(own | {"id": layer_id})))
        parent = layer_id
    return found
