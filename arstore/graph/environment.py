"""LMDB's environment, opened: how large its map is, and who is waited for.

The map is reserved once at its full size and never grown: it costs nothing but addresses. Where a process may have only
so many (RLIMIT_AS, `ulimit -v`), it takes a smaller one, which LMDB lets differ from process to process: one that meets
a file which others have made larger than its own map opens it anew. Sizes are MAP_SIZE divided by powers of two, so
that no single flipped bit in a meta page makes one of another.
"""

from __future__ import annotations

import errno
import os
import time

import lmdb

from arstore.errors import ArstoreError, HostError, InUseError
from arstore.graph.datafile import DATA, HALVINGS, MAP_SIZE
from arstore.graph.faults import damage_of_pages
from arstore.graph.lockfile import READERS

_SIZES = tuple(MAP_SIZE >> shift for shift in range(HALVINGS + 1))

LIMIT_HINT = "raise the limit on address space (RLIMIT_AS, `ulimit -v`)"

_SHARE = 4
"""The part of all addresses that a map takes, where these are limited: one of so many."""

_PATIENCE, _PAUSE = 10.0, 0.02
"""Seconds that another process with this one's pid is waited for, and seconds between two tries."""


def opened(path: str, frozen: bool = False) -> lmdb.Environment:
    """The environment in the directory *path*, open. Raises InUseError, HostError, lmdb.Error.

    A *frozen* one, which nobody can write to, is opened without a lock.

    LMDB keeps readers apart by their pids. One in another pid namespace that has the pid which this process has is
    waited for, as long as that can be expected to help: processes close the graph while bytes move.
    """
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            return _mapped(path, frozen)
        except lmdb.LockError as error:
            if os.strerror(errno.EAGAIN) not in str(error):
                raise
            if time.monotonic() > patience:
                why = f"a process in another pid namespace that also has the pid {os.getpid()} uses the store"
                raise InUseError(path, why, "wait until it has ended, or use another pid namespace") from error
        time.sleep(_PAUSE)


def _mapped(path: str, frozen: bool) -> lmdb.Environment:
    """The environment with the largest map that there are addresses for."""
    for size in _sizes(path):
        try:
            place = os.fsencode(path)
            if frozen:
                return lmdb.open(place, map_size=size, readonly=True, lock=False, create=False, readahead=False)
            return lmdb.open(place, map_size=size, mode=0o600, readahead=False, max_readers=READERS)
        except (lmdb.Error, MemoryError) as error:
            if not isinstance(error, MemoryError) and os.strerror(errno.ENOMEM) not in str(error):
                raise
    raise no_addresses(path)


def _sizes(path: str) -> list[int]:
    """The sizes to try, the largest first: all hold the file, and leave room for it to grow if possible."""
    limit = address_limit()
    if limit is None:
        return [MAP_SIZE]
    try:
        used = os.stat(f"{path}/{DATA}").st_size
    except FileNotFoundError:
        used = 0
    able = [size for size in _SIZES if size >= used]
    fitting = [size for size in able if size <= limit // _SHARE]
    return fitting or able[-1:]


def address_limit() -> int | None:
    """The bytes of addresses that this process may have, where that is too few for the usual map."""
    from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

    soft, _ = getrlimit(RLIMIT_AS)
    return None if soft == RLIM_INFINITY or soft >= _SHARE * MAP_SIZE else soft


def no_addresses(path: str) -> ArstoreError:
    """What to raise when the addresses that this process may have do not suffice for the graph in *path*.

    A damaged meta page may ask for any number of them.
    """
    limit = address_limit()
    told = "" if limit is None else f" ({limit >> 20} MiB)"
    return damage_of_pages(path) or HostError(
        path, f"this process may not have enough address space{told} to map it", LIMIT_HINT
    )
