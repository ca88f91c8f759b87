"""Content: the bytes of a regular file, from an archive onto a place in an open file, holes left as holes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from arstore.errors import LimitError, TarError
from arstore.tar.entry import Entry, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.store.tree import Content


def write_content(fd: int, entry: Entry, content: Content, start: int = 0) -> None:
    """Write *entry*'s content from byte *start* of *fd* on; *fd* stands at 0, and nothing lies behind *start*.

    The file position is anywhere afterwards. Raises TarError when there is less or more than announced, LimitError for
    what no file can hold, OSError.
    """
    if entry.sparse is not None:
        _write_sparse(fd, entry, entry.sparse, content, start)
        return
    if start:
        os.lseek(fd, start, os.SEEK_SET)
    written = 0
    if entry.size:
        for chunk in content.chunks():
            written += _write_all(fd, chunk)
    if written != entry.size:
        raise TarError(shown(entry.path), f"has {written} bytes of content, {entry.size} were announced")


def _write_sparse(fd: int, entry: Entry, runs: list[tuple[int, int]], content: Content, start: int) -> None:
    """Write only the runs that hold data; what lies between them stays a hole."""
    try:
        os.ftruncate(fd, start + entry.size)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in {errno.EFBIG, errno.EINVAL}:
            raise
        raise LimitError(shown(entry.path), "larger than a file can be here") from error
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
                raise TarError(shown(entry.path), "its sparse map promises more content than there is")
            taken = rest[:length]
            _write_all(fd, taken)
            rest = rest[len(taken) :]
            length -= len(taken)


def _write_all(fd: int, data: bytes | memoryview) -> int:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
    return written
