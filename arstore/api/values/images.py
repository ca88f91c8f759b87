"""Images, their layers and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@frozen
class Image:
    """An image of the store, or an index of images.

    `digest` is the digest of the manifest. `size` is the sum of the stored blobs in bytes; `DiskUsage` has the usage on
    disk. `platform` is `os/architecture[/variant]`, "" for an index. `created` is the time in the image's config,
    `imported` the time of the import into this store. `layers` are digests of blobs, bottom first. `manifests` are the
    digests of an index's images, as far as they are in the store; empty for an image. `store` is the root of the
    additional store that has the image, "" for the store itself.
    """

    digest: str
    names: tuple[str, ...]
    media_type: str
    platform: str
    created: str
    imported: str
    size: int
    config: str
    layers: tuple[str, ...]
    manifests: tuple[str, ...] = ()
    store: str = ""

    @property
    def is_index(self) -> bool:
        """Whether this is an index, not an image."""
        return not self.config


@frozen
class Layer:
    """A layer of an image.

    `size` is the size of the uncompressed tar, `compressed_size` that of the stored blob, both in bytes.
    """

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int


@frozen
class ImageDetails:
    """An image with the contents of its documents.

    `layers` are bottom first. `manifest` and `config` are the documents byte for byte. `env` has strings `NAME=VALUE`,
    `volumes` are paths, `exposed_ports` are strings such as `80/tcp`. `left_out` lists parts of the config that cannot
    be used, with the reason.
    """

    image: Image
    layers: tuple[Layer, ...]
    manifest: bytes
    config: bytes
    author: str
    user: str
    env: tuple[str, ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    working_dir: str
    volumes: tuple[str, ...]
    exposed_ports: tuple[str, ...]
    stop_signal: str
    labels: Mapping[str, str]
    healthcheck: Mapping[str, Any] | None
    left_out: tuple[str, ...]


@frozen
class Tagged:
    """The result of `tag`: a name as stored, its image's digest, and `was`, the image that had it before, or ""."""

    name: str
    digest: str
    was: str = ""


@frozen
class Untagged:
    """The result of `untag`: the name, the digest of its image, and the names that the image still has."""

    name: str
    digest: str
    names_left: tuple[str, ...]


@frozen
class LayerSizes:
    """Sizes of a stored layer in bytes.

    `blob` is the size of the layer as it is stored, None if that is not known. `files`, the bytes of the files in it,
    and `entries` are None for a layer that has not been prepared for mounting. `on_disk` is the disk space of its blob
    and its tree, 0 for content of an additional store.
    """

    blob: int | None
    files: int | None
    entries: int | None
    on_disk: int


@frozen
class HistoryStep:
    """A step of an image's history, from its config.

    `digest` and `diff_id` are those of the layer that the step made, None for a step without one; `size` is the size of
    the uncompressed tar in bytes. `sizes` is None unless it was asked for.
    """

    created: str
    created_by: str
    author: str
    comment: str
    empty_layer: bool
    digest: str | None = None
    diff_id: str | None = None
    size: int = 0
    sizes: LayerSizes | None = None
