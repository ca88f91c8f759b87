"""The directories of a tree of extracted files, with the bytes of their files on disk."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.linux.files.opening import DIRECTORY
from arstore.trees.folders import Folders

if TYPE_CHECKING:
    from arstore.trees.folders import Folder

_BLOCK = 512


def folders(tree_fd: int, files: str) -> Folder:
    """Return the root directory *files*; files and directories count their allocated blocks. Raises OSError.

    Directories with paths that are too long for the kernel (4 KiB) count nothing.
    """
    found = Folders()
    seen: set[int] = set()
    todo = [(os.fsencode(files), found.root)]
    while todo:
        path, folder = todo.pop()
        try:
            fd = os.open(path, DIRECTORY, dir_fd=tree_fd)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                continue
            raise
        try:
            folder.size += os.fstat(fd).st_blocks * _BLOCK
            for name in map(os.fsencode, os.listdir(fd)):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    todo.append((path + b"/" + name, found.below(folder, name)))
                elif status.st_nlink == 1 or status.st_ino not in seen:
                    seen.add(status.st_ino)
                    folder.size += status.st_blocks * _BLOCK
        finally:
            os.close(fd)
    return found.root
