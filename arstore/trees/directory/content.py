"""Content: the bytes of a regular file, from an archive to a place in an open file, holes left as holes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from blake3 import blake3

from arstore.errors import LimitError, TarError
from arstore.linux.files.writing import write_all
from arstore.tar.entry import Entry, shown

_OF_NOTHING = blake3().digest(16)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arstore.trees.format import Content

    Seen = Callable[[bytes | memoryview], object]


def write_content(fd: int, entry: Entry, content: Content, start: int = 0, seen: Seen | None = None) -> None:
    """Write *entry*'s content from byte *start* of *fd* on. The position of *fd* must be 0, with no data after *start*.

    *seen* is called with all bytes that are written, in order. The file position is undefined afterwards.

    Raises TarError for less or more content than announced, LimitError for what a file cannot hold, OSError.
    """
    if entry.sparse is not None:
        _write_sparse(fd, entry, entry.sparse, content, start, seen)
        return
    if start:
        os.lseek(fd, start, os.SEEK_SET)
    written = 0
    if entry.size:
        for chunk in content.chunks():
            write_all(fd, chunk)
            written += len(chunk)
            if seen is not None:
                seen(chunk)
    if written != entry.size:
        raise _other_length(entry, written)


def write_hashed(fd: int, entry: Entry, content: Content) -> bytes:
    """Write *entry*'s content to the new file *fd*; return the first 16 bytes of its BLAKE3.

    Raises TarError, LimitError, OSError, as `write_content`.
    """
    if entry.sparse is not None:
        whole = blake3()
        write_content(fd, entry, content, seen=whole.update)
        return whole.digest(16)
    if not entry.size:
        return _OF_NOTHING
    written = 0
    hasher: blake3 | None = None
    for chunk in content.chunks():
        write_all(fd, chunk)
        written += len(chunk)
        if written == entry.size and hasher is None:
            # Nearly all files take this branch: a hash in one call takes half the time.
            return blake3(chunk).digest(16)
        hasher = hasher or blake3()
        hasher.update(chunk)
    if written != entry.size or hasher is None:
        raise _other_length(entry, written)
    return hasher.digest(16)


def _other_length(entry: Entry, written: int) -> TarError:
    return TarError(shown(entry.path), f"has {written} bytes of content, but {entry.size} were announced")


def _write_sparse(
    fd: int, entry: Entry, runs: list[tuple[int, int]], content: Content, start: int, seen: Seen | None
) -> None:
    """Write only the runs of data; the rest stays a hole."""
    try:
        os.ftruncate(fd, start + entry.size)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in {errno.EFBIG, errno.EINVAL}:
            raise
        raise LimitError(shown(entry.path), "larger than the largest file on this file system") from error
    chunks: Iterable[bytes | memoryview] = content.chunks() if any(length for _, length in runs) else ()
    rest = memoryview(b"")
    source = iter(chunks)
    for offset, length in runs:
        if offset < 0 or length < 0 or offset + length > entry.size:
            raise TarError(shown(entry.path), "its sparse map points outside the file")
        os.lseek(fd, start + offset, os.SEEK_SET)
        while length:
            rest = rest or memoryview(next(source, b""))
            if not rest:
                raise TarError(shown(entry.path), "its sparse map announces more content than there is")
            taken = rest[:length]
            write_all(fd, taken)
            if seen is not None:
                seen(taken)
            rest = rest[len(taken) :]
            length -= len(taken)
