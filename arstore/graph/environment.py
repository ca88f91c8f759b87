"""Opening LMDB's environment: the size of its map, and waiting for other processes.

The map is reserved once at its full size and never grown: it costs only addresses. If the address space of a process is
limited (RLIMIT_AS, `ulimit -v`), its map is smaller; LMDB permits different sizes in different processes. A process
that finds the file larger than its own map reopens the environment. Sizes are MAP_SIZE divided by powers of two, so
that no single flipped bit in a meta page turns one into another.
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
"""A map takes at most one part in so many of a limited address space."""

_PATIENCE, _PAUSE = 10.0, 0.02
"""Seconds to wait for another process with this one's pid, and seconds between two attempts."""


def opened(path: str, frozen: bool = False) -> lmdb.Environment:
    """Open the environment in the directory *path*. Raises InUseError, HostError, lmdb.Error.

    A *frozen* one, which no process can write to, is opened without a lock.

    LMDB distinguishes readers by their pids. If a process in another pid namespace has the same pid as this process,
    wait for it for a while: processes close the graph while they move data.
    """
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            return _mapped(path, frozen)
        except lmdb.LockError as error:
            if os.strerror(errno.EAGAIN) not in str(error):
                raise
            if time.monotonic() > patience:
                why = f"a process in another pid namespace with the same pid {os.getpid()} uses the store"
                raise InUseError(path, why, "wait until it has ended, or use another pid namespace") from error
        time.sleep(_PAUSE)


def _mapped(path: str, frozen: bool) -> lmdb.Environment:
    """Open the environment with the largest map for which there are addresses."""
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
    """Return the sizes to try, largest first: all hold the file, and if possible leave space for it to grow."""
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
    """Return the limit on this process's address space in bytes, if it is too small for the usual map, else None."""
    from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

    soft, _ = getrlimit(RLIMIT_AS)
    return None if soft == RLIM_INFINITY or soft >= _SHARE * MAP_SIZE else soft


def no_addresses(path: str) -> ArstoreError:
    """Return the error for an address space that is too small for the graph in *path*.

    A damaged meta page may ask for any amount; then the error is about the damage.
    """
    limit = address_limit()
    told = "" if limit is None else f" ({limit >> 20} MiB)"
    return damage_of_pages(path) or HostError(
        path, f"the limit on address space{told} is too small to map it", LIMIT_HINT
    )
