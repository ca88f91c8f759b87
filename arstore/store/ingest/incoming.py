"""What is brought to the store: images whose documents have been verified, and whose layers are still to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Digest

    OpenBlob = Callable[[Digest], "BlobStream"]


class BlobStream(Protocol):
    """An open blob of the source."""

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""

    def window(self) -> tuple[int, int, int] | None:
        """`(fd, offset, length)` when the bytes stand in an open file."""

    def close(self) -> None:
        """Release it."""


class IncomingLayer(NamedTuple):
    """A layer as manifest and config announce it; `size` counts the blob's bytes."""

    digest: Digest
    size: int
    diff_id: Digest
    chain_id: Digest


class IncomingImage(NamedTuple):
    """An image: its manifest and config byte for byte, both verified, and its layers, bottom first."""

    digest: Digest
    media_type: str
    manifest: bytes
    config_digest: Digest
    config: bytes
    layers: tuple[IncomingLayer, ...]
    platform: str
    created: str
    names: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        """The chain ID of the top layer; "" for an image without layers."""
        return self.layers[-1].chain_id if self.layers else ""


class IncomingIndex(NamedTuple):
    """An index that is kept whole, with those of its images that come along."""

    digest: Digest
    media_type: str
    document: bytes
    manifests: tuple[Digest, ...]
    names: tuple[str, ...] = ()


class TakenLayer(NamedTuple):
    """A layer that is in the store now; `reused` when nothing of it had to be read.

    `dropped` counts its extended attributes that its tree does not have, which nobody knows while it has no tree.
    """

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int
    reused: bool
    dropped: int = 0


class TakenImage(NamedTuple):
    """An image that is in the store now."""

    digest: str
    config: str
    names: tuple[str, ...]
    platform: str
    layers: tuple[TakenLayer, ...]
