"""Control groups of containers: their names, and removal of those that a killed launcher left behind.

Every container has the group `/arstore/<id>-<8 hex digits>` in each hierarchy that the runtime uses. The digits
distinguish containers of the same id in different stores. Removal is always safe: the kernel refuses to remove a group
that has a process in it. Not here: creating groups and setting limits, which the runtime does.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from arstore.digest import short_hash
from arstore.disk.delegation import PARENT, ROOT, controllers_file, parent_group
from arstore.linux.files.reading import read_start
from arstore.linux.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARENT_FILE = "cgroup-parent"
"""In a container's directory, if its groups have another parent: written before the groups are made."""
_LONGEST_PARENT = 4096

_ATTEMPTS = 50
_PAUSE = 0.002
_LONGER_PAUSE = 0.02
_DEPTH = 64
_FREEZE, _CONTROLLERS = "cgroup.freeze", "cgroup.controllers"


def cgroups_path(directory: str) -> str:
    """Return `linux.cgroupsPath` of the container in *directory*."""
    place = os.path.realpath(directory)
    mark = short_hash(os.fsencode(place), 4)
    return f"{_parent(place)}/{os.path.basename(place)}-{mark}"


def settle_parent(directory: str, wanted: str = "") -> None:
    """Record where the groups of the container in *directory* are made from now on: below *wanted*, or the usual place.

    Raises OSError.
    """
    parent = wanted or parent_group() or PARENT
    if parent != _parent(directory):
        set_parent(directory, parent)


def set_parent(directory: str, parent: str) -> None:
    """Put the groups of the container in *directory* below *parent*, an absolute path, from now on. Raises OSError."""
    path = f"{directory}/{_PARENT_FILE}"
    replace_file(path, os.fsencode(parent), f"{path}.new")


def _parent(directory: str) -> str:
    try:
        return os.fsdecode(read_start(f"{directory}/{_PARENT_FILE}", _LONGEST_PARENT))
    except OSError:
        return PARENT


def delegated(root: str = ROOT) -> frozenset[str]:
    """Return the resources that groups made here can limit: `pids`, `memory`, and so on.

    `swap` is among them where memory and swap have separate limits, `swappiness` and `oom` where these can be set, and
    `weight` where block devices are shared by weight. Kernel documentation: cgroup-v2.rst, "Enabling and Disabling",
    `memory.swap.max` and `io.weight`; cgroup-v1/memory.rst, "memory.memsw.*"; cgroup-v1/blkio-controller.rst.
    """
    parent = parent_group(root)
    if parent is None:
        return frozenset()
    if os.path.exists(f"{root}/cgroup.controllers"):
        return _delegated_v2(root, controllers_file(parent, root))
    names = {part for path in _hierarchies(root) for part in os.path.basename(path).split(",")}
    files = {"memsw.limit_in_bytes": "swap", "swappiness": "swappiness", "oom_control": "oom"}
    names.update(name for file, name in files.items() if os.path.exists(f"{root}/memory/memory.{file}"))
    # Only groups below the root have weights.
    groups = (f"{root}/blkio", *_children(f"{root}/blkio"))
    if any(os.path.exists(f"{group}/blkio.{name}") for group in groups for name in ("weight", "bfq.weight")):
        names.add("weight")
    return frozenset(names)


def _children(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _delegated_v2(root: str, controllers: str) -> frozenset[str]:
    try:
        with open(controllers, encoding="ascii") as file:
            names = set(file.read().split())
    except (OSError, UnicodeDecodeError):
        return frozenset()
    below = _children(root)
    if any(os.path.exists(f"{path}/memory.swap.max") for path in below):
        names.add("swap")
    if any(os.path.exists(f"{path}/io.{name}") for path in below for name in ("weight", "bfq.weight")):
        names.add("weight")
    return frozenset(names)


def remove_cgroups(directory: str, root: str = ROOT) -> bool:
    """Remove the groups of the container in *directory*, and the groups below them, from every hierarchy.

    Return True if none is left. A process that is ending holds its group for a moment: the removal waits for it.
    """
    name = cgroups_path(directory)
    left = [hierarchy for hierarchy in _hierarchies(root) if not _remove(hierarchy + name, 0)]
    return not left


def is_populated(directory: str, root: str = ROOT) -> bool:
    """Return whether a group of the container in *directory* has a process; one that is ending stays for a moment."""
    name = cgroups_path(directory)
    return any(_has_processes(hierarchy + name) for hierarchy in _hierarchies(root))


def freezer(directory: str, root: str = ROOT) -> str | None:
    """Return the file that freezes the processes of the container in *directory*; None if it has no group for it.

    Kernel documentation: cgroup-v2.rst, `cgroup.freeze` (Linux 5.2); cgroup-v1/freezer-subsystem.rst.
    """
    name = cgroups_path(directory)
    places = (f"{root}{name}/cgroup.freeze", f"{root}/freezer{name}/freezer.state")
    return next((path for path in places if os.path.exists(path)), None)


def freeze(directory: str, frozen: bool = True, root: str = ROOT) -> bool:
    """Freeze, or thaw, the processes of the container in *directory*; return whether that is so now.

    Freezing may take a moment, and takes longer while a process is in an uninterruptible call of the kernel. Raises
    OSError; FileNotFoundError if the container has no group for it.
    """
    path = freezer(directory, root)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), cgroups_path(directory))
    unified = path.endswith(_FREEZE)
    words = ("0", "1") if unified else ("THAWED", "FROZEN")
    with open(path, "w", encoding="ascii") as file:
        file.write(words[frozen])
    for _ in range(_ATTEMPTS):
        if is_frozen(directory, root, settled=True) is frozen:
            return True
        time.sleep(_PAUSE)
    return False


def release(directory: str, root: str = ROOT) -> None:
    """Thaw what a killed launcher has left frozen of the container in *directory*, and wait a moment for its end.

    Frozen processes of cgroup v1 cannot end, although they were killed. Raises OSError.
    """
    if not is_frozen(directory, root):
        return
    freeze(directory, False, root)
    for _ in range(_ATTEMPTS):
        if not is_populated(directory, root):
            return
        time.sleep(_LONGER_PAUSE)


def is_frozen(directory: str, root: str = ROOT, *, settled: bool = False) -> bool:
    """Return whether the processes of the container in *directory* are frozen, or (unless *settled*) about to be."""
    path = freezer(directory, root)
    if path is None:
        return False
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
        if not path.endswith(_FREEZE):
            return text == "FROZEN" or (text == "FREEZING" and not settled)
        if not settled:
            return text == "1"
        with open(path.replace(_FREEZE, "cgroup.events"), encoding="ascii") as file:
            return "frozen 1" in file.read()
    except OSError:
        return False


def oom_kills(directory: str, root: str = ROOT) -> int:
    """Return how often the kernel killed a process of the container in *directory* because memory ran out.

    Kernel documentation: cgroup-v2.rst, `memory.events`; cgroup-v1/memory.rst, `memory.oom_control` (Linux 4.13).
    """
    name = cgroups_path(directory)
    return max((_oom_kills(hierarchy + name) for hierarchy in _hierarchies(root)), default=0)


def _oom_kills(path: str) -> int:
    for name in ("memory.events", "memory.oom_control"):
        try:
            with open(f"{path}/{name}", encoding="ascii") as file:
                return sum(int(words[1]) for words in map(str.split, file) if words[:1] == ["oom_kill"])
        except (OSError, ValueError, IndexError):
            continue
    return 0


def _hierarchies(root: str) -> Iterator[str]:
    """The unified hierarchy; or each v1 hierarchy, and the unified one if it is mounted too."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        yield root
        return
    try:
        names = os.listdir(root)
    except OSError:
        return
    for name in names:
        path = f"{root}/{name}"
        if not os.path.islink(path):
            yield path


def _remove(path: str, depth: int) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOTEMPTY} or depth > _DEPTH:
            return False
    else:
        return True
    with os.scandir(path) as entries:
        below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    if [child for child in below if not _remove(child, depth + 1)]:
        return False
    return _remove_when_empty(path)


def _remove_when_empty(path: str) -> bool:
    for _ in range(_ATTEMPTS):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY or _has_processes(path):
                return False
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _has_processes(path: str) -> bool:
    try:
        with open(f"{path}/cgroup.procs", "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False
