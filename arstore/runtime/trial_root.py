"""The root file system of a trial container: the host's programs and libraries, in a file system in memory.

A runtime makes mount points and files in the root of a container. Those of a trial must not be made in the directories
of the host, where root would leave them, and an ordinary user may not make them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.linux.mounting.mount import MS_BIND, MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_REC, mount

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = (
    *("bin", "sbin", "usr", "opt", "nix", "gnu"),
    *("lib", "lib32", "lib64", "libx32"),
    # A program may be a symlink to the first; the second says where libraries are that are in no default directory.
    *("etc/alternatives", "etc/ld.so.cache"),
)
"""Directories and files that programs consist of, on the known distributions."""


def mount_trial_root(target: str, host: str = "/", shown: Iterable[str] = _SHOWN) -> None:
    """Mount a new file system at *target*, and in it those of the paths *shown* that *host* has. Raises OSError.

    Nothing else of the host is there. A symlink is made again, as its target may be shown too.
    """
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for name in shown:
        source, place = os.path.join(host, name), os.path.join(target, name)
        if os.path.islink(source):
            os.symlink(os.readlink(source), place)
        elif os.path.isdir(source):
            os.makedirs(place)
            mount(source, place, flags=MS_BIND | MS_REC)
        elif os.path.isfile(source):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb"):
                pass
            mount(source, place, flags=MS_BIND)
    mount("none", target, flags=MS_PRIVATE | MS_REC)
