"""A trial of what an ordinary user may do in a user namespace: a child process enters one, tries, and ends."""

from __future__ import annotations

import errno
import json
import os

from arstore.linux.isolation import rootless
from arstore.linux.mounting import mount
from arstore.values import NamedTuple

_PLACE = "/tmp"
"""A directory for a file system that only the child sees."""


class Inside(NamedTuple):
    """Whether a namespace is *possible*, and *why* not; the numbers of user and group ids in it.

    *single* says why these are 1, with a *hint*. *overlay* is the reason why overlayfs cannot be mounted there; "" if
    it can.
    """

    possible: bool
    why: str = ""
    uids: int = 0
    gids: int = 0
    single: str = ""
    hint: str = ""
    overlay: str = ""


def inside() -> Inside:
    """Return what this ordinary user may do. Forks. Raises OSError."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(_tried()._asdict()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    os.waitpid(child, 0)
    return Inside(**json.loads(said)) if said else Inside(False, "the trial ended without an answer")


def _tried() -> Inside:
    try:
        ids = rootless.enter()
    except rootless.RefusedError as error:
        return Inside(False, error.why)
    uids, gids = (sum(one.length for one in ranges) for ranges in ids.maps)
    return Inside(True, "", uids, gids, ids.why, ids.hint, _overlay())


def _overlay() -> str:
    """Mount an overlay as in a user namespace; return why that fails, or ""."""
    try:
        mount.mount("tmpfs", _PLACE, "tmpfs", 0, "")
        for name in ("one", "two", "both"):
            os.mkdir(f"{_PLACE}/{name}")
        mount.mount("overlay", f"{_PLACE}/both", "overlay", 0, f"lowerdir={_PLACE}/one:{_PLACE}/two,userxattr")
    except OSError as error:
        if error.errno == errno.ENODEV:
            return "this kernel has no overlay file system"
        if error.errno in {errno.EPERM, errno.EINVAL}:
            return f"Linux {os.uname().release} does not mount overlayfs in a user namespace (5.11 does)"
        return (error.strerror or str(error)).lower()
    return ""
