"""One run of a pipeline at a time: a lock in the pipeline's own directory.

    <root>/<image name>/.load      {"pid": …, "owner": …, "since": …}, while a `load` is at work there

A `load` holds flock(2) on the file while it works. The kernel releases the lock when the process and the workers that
it has forked end. So a killed `load` leaves an unlocked file, and the next one takes it. The file is in the parent of
the container's directory, so a container cannot reach it. Components of image names never begin with a dot, so no other
pipeline's directory has this path.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.errors import InUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = ".load"
_LARGEST = 4096
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def only_load(directory_fd: int, label: str) -> Iterator[None]:
    """Be the only `load` in the directory *directory_fd* during the context.

    Raises InUseError, which names *label* and the process that works there; OSError.
    """
    fd = _locked(directory_fd, label)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "owner": Owner.current().boot, "since": time.time()}).encode(), 0)
        yield
    finally:
        # While the lock is held: a process that waits for it checks that the file still has its name.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(NAME, dir_fd=directory_fd)
        os.close(fd)


def _locked(directory_fd: int, label: str) -> int:
    while True:
        fd = os.open(NAME, _FLAGS, 0o600, dir_fd=directory_fd)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUseError(f"pipeline {label}", _who(fd), "wait until it has finished") from None
            if _is_named(fd, directory_fd):
                stack.pop_all()
                return fd


def _is_named(fd: int, directory_fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(NAME, dir_fd=directory_fd, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _who(fd: int) -> str:
    """Return a text about the lock's holder, from the file."""
    try:
        about = json.loads(os.pread(fd, _LARGEST, 0))
        pid, owner = int(about["pid"]), str(about["owner"])
        since = time.strftime("%H:%M:%S", time.localtime(float(about["since"])))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "is being loaded by another process"
    where = "" if owner == Owner.current().boot else " of another pid namespace"
    return f"is being loaded by process {pid}{where} since {since}"
