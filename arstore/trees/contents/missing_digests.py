"""Digests of the files of a tree that were not computed while its layer was read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.trees.contents.row import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trees.contents.file_digests import FileDigests
    from arstore.trees.format import FileRange, TreeFormat


def add_missing(form: TreeFormat, fd: int, digests: FileDigests) -> None:
    """Hash the files of the tree in the open directory *fd* that have no digest in *digests*, each once.

    After an import, these are files of lower layers that an adapted tree has because a hard link names them; without
    one, all files. Raises StoreDamagedError, OSError.
    """
    missing: dict[int, tuple[bytes, int]] = {}
    for row in form.rows(fd):
        if row.kind == FILE and row.size and not digests.of(row.inode, row.size)[0]:
            missing.setdefault(row.inode, (row.path, row.size))
    for inode, (path, size) in missing.items():
        with form.open_file(fd, path) as file:
            if not _is_sparse(file):
                digests.add(inode, size, _Content(file))


def _is_sparse(file: FileRange) -> bool:
    """Whether an extracted file has holes, which an import does not hash either."""
    status = os.fstat(file.fd)
    return stat.S_ISREG(status.st_mode) and file.start == 0 and status.st_blocks * 512 < status.st_size


class _Content:
    def __init__(self, file: FileRange) -> None:
        self._file = file

    def chunks(self) -> Iterator[bytes]:
        place = 0
        while data := self._file.read(CHUNK, place):
            place += len(data)
            yield data
