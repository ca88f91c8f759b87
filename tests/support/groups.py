"""The control groups of the containers of one store, seen from outside."""

from __future__ import annotations

import os
from glob import glob
from typing import TYPE_CHECKING

from arstore.disk.cgroups import cgroups_path

if TYPE_CHECKING:
    from pathlib import Path

_DIGITS = 9
"""Characters after the container's name in that of its group."""


def groups_below(*parents: Path) -> dict[str, str]:
    """The groups of containers (or trials of runtimes) with directories in *parents*, now or before: those directories,
    by the groups' paths.
    """
    tops = ["/sys/fs/cgroup/arstore", *glob("/sys/fs/cgroup/*/arstore")]
    found = {}
    for top in tops:
        for name in next(os.walk(top), (top, [], []))[1]:
            for parent in parents:
                directory = str(parent / name[:-_DIGITS])
                if cgroups_path(directory).endswith(f"/{name}"):
                    found[f"{top}/{name}"] = directory
    return found
