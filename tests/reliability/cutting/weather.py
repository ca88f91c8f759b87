"""Other activity of a host during work on a store, which decides what is on the disk when the power fails.

Another process syncs a file, which commits the whole journal; the kernel writes back the pages of some files, in any
order. Both may happen at any moment, and each alone leaves a disk that only an exact protocol survives.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import time
from typing import NoReturn

_WRITE_AND_WAIT = 1 | 2 | 4


def rage(disk: str, seed: str) -> NoReturn:
    """Until this process is killed: from time to time, sync an unrelated file on *disk*, or write back some files."""
    chance = random.Random(seed)
    calm = chance.choice([0.05, 0.2, 0.6, 3.0])
    syncs = chance.choice([0.0, 0.5, 1.0])
    part = chance.choice([0.1, 0.5, 0.9])
    while True:
        time.sleep(chance.uniform(0, calm))
        with contextlib.suppress(OSError):
            if chance.random() < syncs:
                sync_own_file(disk)
            else:
                write_back(disk, chance, part)


def sync_own_file(disk: str) -> None:
    """Make a file and fsync it."""
    path = f"{disk}/somebody-elses"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.write(fd, os.urandom(16))
        os.fsync(fd)
    finally:
        os.close(fd)
        os.unlink(path)


def write_back(disk: str, chance: random.Random, part: float) -> None:
    """Call sync_file_range(2) on a *part* of all files: their data reaches the disk, but not their metadata."""
    library = ctypes.CDLL(None, use_errno=True)
    for directory, _, names in os.walk(disk):
        for name in names:
            if chance.random() < part:
                with contextlib.suppress(OSError):
                    fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                    library.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(_WRITE_AND_WAIT))
                    os.close(fd)
