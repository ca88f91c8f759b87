"""Partial blobs: the bytes of a blob that were fetched from a network, perhaps all, before the work was cut short.

    ingest/<owner>-<random>/fetched-<algorithm>-<hex>-<size>   a blob that is being fetched, as far as it has arrived
    ingest/partial/<algorithm>-<hex>                           the beginning of a blob, for the next fetch of it

When an ingest is removed, by its process or later, the beginnings in it are moved to `partial`, which the clean-up of
dead ingests leaves alone. Their bytes are not verified: they count only when the digest of the whole blob is right. The
collector removes all of them; an import that needs space removes the oldest first.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.disk.rmtree import freed_with
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.digest import Digest

PARTIAL = "partial"
"""The directory of beginnings, in `ingest/`."""
_FETCHED = pattern(rf"fetched-({'|'.join(HEX_LENGTHS)})-([0-9a-f]+)-([0-9]+)")


class Beginning(NamedTuple):
    """The first *size* bytes of a blob, in the open file *fd*."""

    fd: int
    size: int


def fetched_name(digest: Digest, size: int) -> str:
    """Return the name in an ingest of the file of a blob of *size* bytes that is being fetched."""
    return f"fetched-{digest.algorithm}-{digest.hex}-{size}"


def keep_fetched(ingests: str, ingest: str) -> None:
    """Move the beginnings in the directory *ingest* to `partial` in *ingests*. Files that cannot be moved stay."""
    with suppress(OSError):
        for name in os.listdir(ingest):
            match = _FETCHED.fullmatch(name)
            if match is None:
                continue
            place = f"{ingests}/{PARTIAL}/{match[1]}-{match[2]}"
            size = os.lstat(f"{ingest}/{name}").st_size
            if max(_size(place), 0) < size <= int(match[3]):
                with suppress(FileExistsError):
                    os.mkdir(f"{ingests}/{PARTIAL}", 0o700)
                os.rename(f"{ingest}/{name}", place)


def open_beginning(ingests: str, digest: Digest, size: int) -> Beginning | None:
    """Open the beginning of a blob of *size* bytes; the caller closes it. Return None if there is no usable one.

    A beginning that is longer than the blob is removed.
    """
    with suppress(OSError):
        fd = os.open(_place(ingests, digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(fd).st_size
        if 0 < found <= size:
            return Beginning(fd, found)
        os.close(fd)
        if found > size:
            drop_beginning(ingests, digest)
    return None


def drop_beginning(ingests: str, digest: Digest) -> None:
    """Remove the beginning of a blob, if there is one."""
    with suppress(OSError):
        os.unlink(_place(ingests, digest))


def drop_oldest(ingests: str, wanted: int, sparing: Iterable[Digest] = ()) -> int:
    """Remove the oldest beginnings, except *sparing*, until *wanted* bytes are freed; return the bytes freed."""
    freed = 0
    spared = {_place(ingests, digest) for digest in sparing}
    with suppress(OSError):
        for _, path in sorted(_ages(f"{ingests}/{PARTIAL}")):
            if freed >= wanted:
                break
            if path in spared:
                continue
            with suppress(OSError):
                status = os.lstat(path)
                os.unlink(path)
                freed += freed_with(status)
    return freed


def _ages(directory: str) -> Iterator[tuple[int, str]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.stat(follow_symlinks=False).st_mtime_ns, entry.path


def _place(ingests: str, digest: Digest) -> str:
    return f"{ingests}/{PARTIAL}/{digest.algorithm}-{digest.hex}"


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return -1
