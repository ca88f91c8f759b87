"""Faults in the graph: LMDB reads its file as memory, so read errors there are signals.

SIGBUS: the file was cut short, the disk cannot read a page, or a full disk has no space for the lock file. Damaged
pages: LMDB detects most damage; the rest is SIGSEGV or SIGABRT. Python cannot continue after such a signal, so the
signal handler writes the error, and the process ends with the error's own exit status. It leaves behind what a killed
process leaves.

The program decides how an error is written (`workers.fatal`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import suppress
from arstore.errors import ArstoreError, NoSpaceError, StoreDamagedError
from arstore.graph.datafile import DAMAGE_HINT, DATA, MAP_SIZE
from arstore.graph.lockfile import FILE as LOCK
from arstore.graph.lockfile import SIZE as LOCK_SIZE
from arstore.linux.faults import SIGBUS, handle
from arstore.workers import fatal

if TYPE_CHECKING:
    from arstore.linux.faults import Fault

_watched: tuple[int, tuple[str, ...]] = (0, ())
"""The process that has graphs open, and their directories, the most recently opened last."""


def watch(path: str) -> None:
    """Attribute faults of this process to the graph in the directory *path*, from now on."""
    global _watched
    _watched = (os.getpid(), (*_others(path), path))
    if fatal.report is not None:
        handle(_ended)


def unwatch(path: str) -> None:
    """Stop attributing faults to the graph in *path*, which is closed."""
    global _watched
    left = _others(path)
    _watched = (os.getpid(), left) if left else (0, ())


def _others(path: str) -> tuple[str, ...]:
    pid, paths = _watched
    return tuple(one for one in paths if one != path) if pid == os.getpid() else ()


def _ended(fault: Fault) -> None:
    pid, paths = _watched
    if fatal.report is None or pid != os.getpid() or not paths:
        return
    # With several graphs open, the faulting file shows which one it is; it may be an additional store's.
    path = next((one for one in paths if fault.file.startswith(f"{one}/")), paths[-1])
    os._exit(fatal.report(explained(fault, path)))


def explained(fault: Fault, path: str) -> ArstoreError:
    """Return the error that *fault* means for the graph in the directory *path*."""
    name = os.path.basename(fault.file)
    if fault.number == SIGBUS and name == LOCK:
        lock = f"{path}/{LOCK}"
        if os.stat(lock).st_size < LOCK_SIZE:
            return StoreDamagedError(lock, "was cut short while it was in use", "try again")
        return NoSpaceError(lock, "its file system has no space to change it, or fails", "free some space")
    data = f"{path}/{DATA}"
    if fault.number == SIGBUS and name == DATA:
        size = os.stat(data).st_size
        if fault.offset >= size:
            return StoreDamagedError(data, f"ends after {size} bytes, before a page that is in use", DAMAGE_HINT)
        return StoreDamagedError(data, f"its disk cannot read it at byte {fault.offset}", DAMAGE_HINT)
    return damage_of_pages(path) or StoreDamagedError(data, "LMDB cannot read its pages", DAMAGE_HINT)


def damage_of_pages(path: str) -> StoreDamagedError | None:
    """Find damage of the pages of the graph in the directory *path* without LMDB; return None if there is none."""
    from arstore.graph.lmdb_pages import walk

    data = f"{path}/{DATA}"
    with suppress(OSError, ValueError, MemoryError):
        found = walk(data, MAP_SIZE, lambda _key, _value: None).faults
        if found:
            return StoreDamagedError(data, found[0], DAMAGE_HINT)
    return None
