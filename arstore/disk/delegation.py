"""Delegation of control groups: where this process may make the groups of containers, and which limits they can have.

Root makes them below `/arstore`. In the user namespace of an ordinary user that is impossible with version 1. With
version 2, a group and everything below it can be delegated to a user, for example by systemd to each user's service
manager (cgroup-v2.rst, "Delegation"). A group that has processes itself cannot limit groups below it. So containers
are placed next to the group of this process, below the group above it, if that belongs to the user.
"""

from __future__ import annotations

import os

from arstore.linux.isolation import user_namespace

PARENT = "/arstore"
ROOT = "/sys/fs/cgroup"


def parent_group(root: str = ROOT, process: str = "/proc/self/cgroup") -> str | None:
    """Return the group below which this process may make those of containers; None if there is none.

    The answer of an ordinary user is the same in a user namespace and outside.
    """
    if os.geteuid() == 0 and user_namespace.is_initial():
        return PARENT
    if is_version_1(root):
        return PARENT if _are_writable(root) else None
    above = _above(process)
    if above is None:
        return None
    place = root + above.rstrip("/")
    may = os.access(place, os.W_OK | os.X_OK) and os.access(f"{place}/cgroup.procs", os.W_OK)
    return above.rstrip("/") + PARENT if may else None


def controllers_file(parent: str, root: str = ROOT) -> str:
    """Return the file that lists the controllers which groups below *parent* can have, with version 2."""
    above = root + os.path.dirname(parent).rstrip("/")
    # The runtime enables what is available, unless the group has processes itself; the first group may have some.
    is_free = above != root and not file_text(f"{above}/cgroup.procs")
    return f"{above}/cgroup.controllers" if is_free else f"{above}/cgroup.subtree_control"


def is_version_1(root: str = ROOT) -> bool:
    """Whether control groups are not those of version 2 alone."""
    return not os.path.exists(f"{root}/cgroup.controllers")


def why_none(root: str = ROOT) -> tuple[str, str]:
    """Return why there is no parent group, and what can be done about it."""
    if is_version_1(root):
        return "this host's control groups are of version 1, which only root can use", ""
    why = "the control group of this process is not delegated to this user"
    return why, "start it with `systemd-run --user --scope`"


def _above(process: str) -> str | None:
    for line in file_text(process).splitlines():
        if line.startswith("0::/") and ".." not in line.split("/"):
            return os.path.dirname(line[3:])
    return None


def _are_writable(root: str) -> bool:
    """Whether every hierarchy of version 1 permits new groups, as in a container with its own."""
    try:
        with os.scandir(root) as entries:
            found = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return False
    return bool(found) and all(os.access(path, os.W_OK | os.X_OK) for path in found)


def file_text(path: str) -> str:
    """Return the content of a file of the kernel's; "" if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
