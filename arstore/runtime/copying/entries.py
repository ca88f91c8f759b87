"""The stream of a copy: entries in the order of a tar, each with its content.

An entry's path is relative to the destination: the first has the path of what is copied, and the others are below it.
Sources are a directory tree (`tree`) and a tar (`tar_stream`), targets a directory (`target`) and a tar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.tar.entry import Entry


class Content(Protocol):
    """The content of a file."""

    def copy_to(self, fd: int) -> None:
        """Write it to the empty file *fd*, with its holes. Raises OSError, and what the source raises."""

    def chunks(self, entry: Entry) -> Iterator[bytes | memoryview]:
        """Yield it as a tar stores it: all, or the runs of a sparse file."""


class Copied(NamedTuple):
    """An entry and its content; *content* is set for files, and for hard links that can be made as copies."""

    entry: Entry
    content: Content | None = None
