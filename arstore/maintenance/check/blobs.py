"""Checks of blobs: existence, size, and (deep) that the bytes match the digest."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS, Digest, is_digest
from arstore.disk.page_cache import chunks
from arstore.disk.paths import opened
from arstore.errors import reason
from arstore.maintenance.check.findings import Damage, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arstore.disk.paths import Directories
    from arstore.graph.records import BlobRecord

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def glances_at_blobs(directories: Directories, sizes: Iterable[tuple[str, int]]) -> Iterator[Finding]:
    """Yield findings for missing blobs and wrong sizes; *sizes* has digests and recorded bytes."""
    with opened(f"{directories.root}/blobs") as parent:
        for digest, size in sizes:
            try:
                status = os.lstat(digest.replace(":", "/"), dir_fd=parent)
                if status.st_size == size and stat.S_ISREG(status.st_mode):
                    continue
                finding = _seen(digest, size, status)
            except OSError as error:
                finding = Finding(Damage.BLOB_MISSING, digest, reason(error))
            if finding is not None:
                yield finding


def blobs(
    directories: Directories, records: Iterable[tuple[str, BlobRecord | None]], report: Callable[[int], None]
) -> Iterator[Finding]:
    """Read all these blobs, and yield findings; without a record, any size is accepted.

    *report* is called with the number of bytes read.
    """
    for digest, record in records:
        finding = _blob(directories, digest, record, report)
        if finding is not None:
            yield finding


def _blob(
    directories: Directories, digest: str, record: BlobRecord | None, report: Callable[[int], None]
) -> Finding | None:
    try:
        fd = os.open(directories.blob(digest), _OPEN)
    except OSError as error:
        return Finding(Damage.BLOB_MISSING, digest, reason(error))
    try:
        finding = _seen(digest, None if record is None else record.size, os.fstat(fd))
        if finding is None and (found := _digest(fd, Digest(digest), report)) != digest:
            finding = Finding(Damage.BLOB_DIGEST, digest, f"its content has the digest {found}")
        return finding
    except OSError as error:
        return Finding(Damage.BLOB_DIGEST, digest, f"cannot be read: {reason(error)}")
    finally:
        os.close(fd)


def _seen(digest: str, size: int | None, status: os.stat_result) -> Finding | None:
    if not stat.S_ISREG(status.st_mode):
        return Finding(Damage.BLOB_MISSING, digest, "is not a regular file")
    if size is not None and status.st_size != size:
        return Finding(Damage.BLOB_SIZE, digest, f"has {status.st_size} bytes, {size} are recorded")
    return None


def _digest(fd: int, digest: Digest, report: Callable[[int], None]) -> str:
    hasher = digest.new_hash()
    for data in chunks(fd):
        hasher.update(data)
        report(len(data))
    return Digest.finished(digest.algorithm, hasher)


def present(directories: Directories) -> Iterator[str]:
    """Yield the digests in the names of blob files, recorded or not. Raises OSError."""
    for algorithm in HEX_LENGTHS:
        for name in sorted(os.listdir(f"{directories.root}/blobs/{algorithm}")):
            if is_digest(f"{algorithm}:{name}"):
                yield f"{algorithm}:{name}"
