"""Blobs that were being fetched when their import ended: kept, so that the next one fetches only what is missing.

    <root>/ingest/partial/<algorithm>-<hex>     the beginning of a blob, or all of it; nothing in it is verified

An import names a file that it fetches a blob into `fetched-<algorithm>-<hex>`, and a beginning that it goes on from
`prefix-<algorithm>-<hex>`. When its process dies or is interrupted, or the registry is not reached any more, the longer
of these is moved here. An import that wants the blob moves it into its own ingest, so that it has one user. The digest
of the whole blob decides, as of any other. `gc` deletes this directory as it deletes an ingest of a dead process. When
space is scarce, an import deletes the oldest files first.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.rmtree import freed_with, remove
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "partial"
"""The directory's name, among the ingests."""
FETCHED, PREFIX = "fetched-", "prefix-"
"""What the names of files in an ingest begin with."""


class Beginning(NamedTuple):
    """The first *size* bytes of a blob, in the file *path*."""

    path: str
    size: int


def file_name(digest: str) -> str:
    """The part of these names that tells the blob."""
    parsed = Digest(digest)
    return f"{parsed.algorithm}-{parsed.hex}"


def keep_partial(ingests: str, ingest: str) -> None:
    """Move what was fetched in the directory *ingest* to the partial blobs below *ingests*. Raises nothing."""
    with suppress(OSError):
        found: dict[str, Beginning] = {}
        for name in os.listdir(ingest):
            start = next((one for one in (FETCHED, PREFIX) if name.startswith(one)), "")
            path = f"{ingest}/{name}"
            size = _size_of(path) if start else 0
            if size > found.get(name.removeprefix(start), Beginning("", 0)).size:
                found[name.removeprefix(start)] = Beginning(path, size)
        if found:
            with suppress(FileExistsError):
                os.mkdir(f"{ingests}/{NAME}", 0o700)
        for name, beginning in found.items():
            target = f"{ingests}/{NAME}/{name}"
            if beginning.size > _size_of(target):
                os.rename(beginning.path, target)


def take_partial(ingests: str, ingest: str, digest: str, size: int) -> Beginning | None:
    """Move the beginning of the blob *digest*, of *size* bytes, into the directory *ingest*; None when there is none.

    One that is too long to be this blob's is deleted. Raises OSError.
    """
    name = file_name(digest)
    path = f"{ingest}/{PREFIX}{name}"
    try:
        os.rename(f"{ingests}/{NAME}/{name}", path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = _size_of(path)
    if 0 < found <= size:
        return Beginning(path, found)
    remove(path)
    return None


def drop_oldest(ingests: str, is_scarce: Callable[[], bool]) -> int:
    """Delete partial blobs, the oldest first, while space *is_scarce*; return the bytes that this freed."""
    freed = 0
    with suppress(OSError):
        place = f"{ingests}/{NAME}"
        paths = sorted((f"{place}/{name}" for name in os.listdir(place)), key=lambda one: os.lstat(one).st_mtime)
        for path in paths:
            if not is_scarce():
                break
            with suppress(OSError):
                status = os.lstat(path)
                os.unlink(path)
                freed += freed_with(status)
    return freed


def _size_of(path: str) -> int:
    """The size of a regular file; 0 for anything else, which a worker that was taken over may have made."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
