"""The memory of a process that forks often: what is there already costs its children as little as possible.

A worker has 300 MB when it has collected the tests, and forks for each layer that a test imports. A fork copies the
entries of all pages, and the child's end removes them: 0.1 ms for each MB. A page of 2 MB has one entry, until it is
written to while a child shares it.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

_HUGE = 2 << 20
_MADV_COLLAPSE = 25
"""Linux 6.1: puts what is in a range into one huge page, wherever the kernel has these; else it fails."""
_FORKS = 50
"""After so many forks a fifth of the huge pages is in pieces."""
_forks = 0


def _forked() -> None:
    global _forks
    _forks += 1


def settle() -> int:
    """Keep the collector from what exists, and put it into huge pages; return how many there are now.

    The collector writes into each object that it looks at, and a child would copy these pages.
    """
    gc.collect()
    gc.freeze()
    os.register_at_fork(after_in_parent=_forked)
    return collapse()


def settle_again() -> None:
    """Put the memory into huge pages again, after enough forks."""
    if _forks >= _FORKS:
        collapse()


def collapse() -> int:
    """Put the memory into huge pages; return how many there are now."""
    global _forks
    _forks = 0
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(advise(start, _HUGE, _MADV_COLLAPSE) == 0 for start in _blocks())


def _blocks() -> list[int]:
    """The addresses of all aligned blocks of 2 MB of this process's own memory that is not of a file."""
    found: list[int] = []
    for line in Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines():
        addresses, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights.startswith("rw-p") and (not name or name[0] == "[heap]"):
            first, last = (int(address, 16) for address in addresses.split("-"))
            found += range(-(-first // _HUGE) * _HUGE, last // _HUGE * _HUGE, _HUGE)
    return found
