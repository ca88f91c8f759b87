"""Detection of copied stores: an empty file next to the graph's data shows whether the store's files were copied.

Copies may lack times, owners, attributes and links without any visible sign. If a store was copied since it was last
opened, trees are distrusted whose form does not survive a copy. The graph does not know which forms do: the caller
passes *survives_copy*, a function of a form's name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import lmdb

from arstore.builtin import suppress
from arstore.errors import StoreVersionError
from arstore.graph.newer import refuse_unknown_tables
from arstore.graph.snapshot import HOME, Snapshot
from arstore.graph.write import Change
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable


def detect_copy(environment: lmdb.Environment, path: str, survives_copy: Callable[[str], bool]) -> None:
    """Find out whether the store with the graph in *path* was copied; if so, distrust trees that may be incomplete.

    A full disk or records of a newer arstore are not errors here: the next process tries again.
    """
    if is_at_home(environment, path):
        return
    unwritable = (lmdb.DiskError, lmdb.MapFullError, OSError, StoreVersionError)
    with suppress(*unwritable), environment.begin(write=True) as transaction:
        refuse_unknown_tables(transaction)
        _settle(Change(transaction, lenient=True), path, survives_copy)


def is_at_home(environment: lmdb.Environment, path: str) -> bool:
    """Return whether the store with the graph in *path* was certainly not copied since it was last opened."""
    with environment.begin() as transaction:
        recorded = Snapshot(transaction).home()
    return bool(recorded) and recorded == _sign(path)


def _settle(change: Change, path: str, survives_copy: Callable[[str], bool]) -> None:
    """Record the present place of the store; unless it is new, distrust trees that do not survive a copy."""
    recorded = change.home()
    if recorded and recorded == _sign(path):
        # Another process was first.
        return
    fd = os.open(f"{path}/{HOME}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.close(fd)
    reached("store.home-made")
    if recorded:
        for key, tree in list(change.trees()):
            if not survives_copy(tree.form):
                change.put_tree(key, tree._replace(synced=False, boot=""))
    change.put_own(HOME, _sign(path))


def _sign(path: str) -> str:
    """Return a mark of the store's original files: the inode number of one, and the time of its last change.

    A copy cannot have the same time. "" if the file is missing.
    """
    try:
        status = os.stat(f"{path}/{HOME}", follow_symlinks=False)
    except FileNotFoundError:
        return ""
    return f"{status.st_ino} {status.st_ctime_ns}"
