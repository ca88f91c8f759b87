"""Durability of trees: all trees made since boot are synced together, when there is time for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.linux.files.sync import syncfs
from arstore.linux.process import boot_id
from arstore.trace import reached

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph


def sync_trees(directories: Directories, graph: Graph) -> int:
    """Make the trees of this boot durable, so that they outlive it; return their number. Raises OSError."""
    boot = boot_id()
    with graph.read() as snapshot:
        waiting = {key: tree for key, tree in snapshot.trees() if not tree.synced and tree.boot == boot}
    if not waiting:
        return 0
    places = {key: _directory_identity(directories.tree(key)) for key in waiting}
    fd = os.open(directories.trees, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
    reached("collect.synced")
    with graph.write() as change:
        for key, tree in waiting.items():
            # The record alone is not enough: a tree that was removed and made again in between has the same record.
            if change.tree(key) == tree and _directory_identity(directories.tree(key)) == places[key]:
                change.put_tree(key, tree._replace(synced=True))
    reached("collect.settled")
    return len(waiting)


def _directory_identity(path: str) -> tuple[int, int] | None:
    """Return a value that differs if another directory has taken its place; None if it does not exist."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns
