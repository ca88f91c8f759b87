"""Where a store is at home: an empty file beside the graph's own tells the store's files from a copy of them.

Copies may lack what files had, and look well: times, owners, attributes, links. Whoever opens a store that was copied
since somebody last opened it distrusts those trees whose form does not survive a copy. Which forms do, the graph does
not know: its caller passes *survives_copy*, a function of a form's name.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import lmdb

from arstore.errors import StoreVersionError
from arstore.graph.newer import refuse_unknown_tables
from arstore.graph.snapshot import HOME, Snapshot
from arstore.graph.write import Change
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable


def detect_copy(environment: lmdb.Environment, path: str, survives_copy: Callable[[str], bool]) -> None:
    """Find out whether the store with the graph in *path* was copied, and if so, distrust what copies may lack.

    A full disk is no reason to refuse, nor are records of a newer arstore: the next process tries again.
    """
    if is_at_home(environment, path):
        return
    unwritable = (lmdb.DiskError, lmdb.MapFullError, OSError, StoreVersionError)
    with suppress(*unwritable), environment.begin(write=True) as transaction:
        refuse_unknown_tables(transaction)
        _settle(Change(transaction, lenient=True), path, survives_copy)


def is_at_home(environment: lmdb.Environment, path: str) -> bool:
    """Whether the store with the graph in *path* is known not to have been copied since it was last opened."""
    with environment.begin() as transaction:
        recorded = Snapshot(transaction).home()
    return bool(recorded) and recorded == _sign(path)


def _settle(change: Change, path: str, survives_copy: Callable[[str], bool]) -> None:
    """Take the store as being at home where it is; unless it is new, trees that no copy survives are distrusted."""
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
    """What tells the files of this very store from a copy: the inode number of one, and the time of its last change,
    which no copier can set; "" while it is missing.
    """
    try:
        status = os.stat(f"{path}/{HOME}", follow_symlinks=False)
    except FileNotFoundError:
        return ""
    return f"{status.st_ino} {status.st_ctime_ns}"
