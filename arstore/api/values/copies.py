"""Results of copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.api.values.imports import Skipped


@frozen
class CopiedLayer:
    """A layer of a copied image. `digest` and `compressed_size` (in bytes) are those at the destination."""

    digest: str
    diff_id: str
    chain_id: str
    compressed_size: int


@frozen
class CopiedImage:
    """A copied image or index; `digest` is the one at the destination, `manifests` are those of an index's images.

    `config` is the digest of the config, "" for an index, and `layers` are bottom first.
    """

    digest: str
    names: tuple[str, ...]
    media_type: str
    platform: str
    manifests: tuple[str, ...] = ()
    config: str = ""
    layers: tuple[CopiedLayer, ...] = ()


@frozen
class Copied:
    """The result of `copy`. Iteration yields its images.

    `sparse` is the number of listed entries of indexes whose images were not copied; `dropped` is the number of entries
    that a converted index no longer has. `encrypted` layers were copied without decryption. `attached` is the number of
    signatures, attestations and SBOMs that were copied; those in `left` were not, because the medium cannot hold them
    or their image was converted.
    """

    images: tuple[CopiedImage, ...]
    skipped: tuple[Skipped, ...] = ()
    skipped_count: int = 0
    sparse: int = 0
    dropped: int = 0
    encrypted: int = 0
    attached: int = 0
    left: int = 0

    def __iter__(self) -> Iterator[CopiedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)
