"""Reading a graph that other processes may write to, without any trace: a copy of its file in memory, of one moment.

LMDB protects the pages of readers by a table in its lock file, which readers write to. A process that reads another
user's store, on a read-only mount or on another host's disk, cannot write there, and must not. But pages that a
committed transaction freed are reused at the earliest by the next transaction but one (lmdb.h, "MDB_env": two meta
pages, used in turn). So a copy during which no meta page has changed is the complete graph of one moment.

The store's owner may remove blobs and trees a moment later: a result from such a copy is only a hint where something
is.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import lmdb

from arstore.errors import InUseError, StoreDamagedError
from arstore.graph.datafile import DATA, MAP_SIZE
from arstore.graph.lmdb_pages import cut_short, moment, walk_open
from arstore.linux.mounting.filesystem import network_type

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAUSES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds before each attempt."""
_CHUNK = 1 << 20
_SMALL = 1 << 20
"""Bytes of a graph up to which all pages are checked: takes some milliseconds."""


def opened_copy(path: str) -> lmdb.Environment:
    """Open a copy of the graph in the directory *path*; it does not depend on the file any more.

    Raises InUseError if it is changed all the time, StoreDamagedError, OSError, lmdb.Error.
    """
    file = f"{path}/{DATA}"
    fd = _copied(file)
    try:
        length = os.fstat(fd).st_size
        fault = cut_short(fd, MAP_SIZE)
        # LMDB detects most damage of pages; the rest would crash the process. On a network file system, one read of a
        # file does not certainly show a single moment.
        if not fault and (length <= _SMALL or network_type(path)):
            fault = next(iter(walk_open(fd, MAP_SIZE, lambda _key, _value: None).faults), "")
        if fault:
            raise StoreDamagedError(file, fault, "its owner's `arstore check` shows more")
        size = max(length, _CHUNK)
        place = f"/proc/self/fd/{fd}"
        return lmdb.open(place, map_size=size, subdir=False, readonly=True, lock=False, create=False, readahead=False)
    finally:
        os.close(fd)


def opened_empty(rows: Iterable[tuple[bytes, bytes]]) -> lmdb.Environment:
    """Open a graph in memory that has only these *rows*, keys and values. Raises OSError, lmdb.Error."""
    fd = os.memfd_create("arstore-graph", os.MFD_CLOEXEC)
    try:
        environment = lmdb.open(f"/proc/self/fd/{fd}", map_size=_CHUNK, subdir=False, lock=False)
        with environment.begin(write=True) as transaction:
            for key, value in rows:
                transaction.put(key, value)
        return environment
    finally:
        os.close(fd)


def _copied(file: str) -> int:
    """Return a file in memory with the content of *file* at one moment."""
    for pause in _PAUSES:
        time.sleep(pause)
        before = moment(file)
        fd = os.memfd_create("arstore-graph", os.MFD_CLOEXEC)
        try:
            _copy(file, fd)
            if moment(file) == before:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise InUseError(file, "is being written to all the time", "try again when its owner is done")


def _copy(file: str, target: int) -> None:
    source = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        while data := os.read(source, _CHUNK):
            os.write(target, data)
    finally:
        os.close(source)
