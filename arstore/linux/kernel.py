"""Features that this kernel offers to this process, found without a change: no module is loaded, nothing is mounted.

Each function returns an `Answer`, with the reason for a no, or a detail of a yes. Not here: what a mount really does
(`mounts.probe` tries one), and what the OCI runtime needs.
"""

from __future__ import annotations

import errno
import os

from arstore.linux.features import Answer
from arstore.linux.isolation import capability
from arstore.linux.isolation.namespace import CLONE_NEWUSER, unshare
from arstore.linux.mounting import mount

_SYSCTLS_OF_USER_NAMESPACES = (
    ("kernel.unprivileged_userns_clone", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ("user.max_user_namespaces", "0"),
)
"""Settings that forbid user namespaces to ordinary users, with the value that forbids them."""


def file_system(name: str, root: str = "") -> Answer:
    """Return whether the kernel has the file system *name*, or a module for it. *root* is for tests."""
    try:
        with open(f"{root}/proc/filesystems", encoding="ascii") as file:
            if any(line.split()[-1:] == [name] for line in file):
                return Answer(True)
        release = os.uname().release
        for list_ in ("modules.builtin", "modules.dep"):
            if _is_in(f"{root}/lib/modules/{release}/{list_}", f"/{name}.ko"):
                return Answer(True, "as a module that is not loaded yet")
    except (OSError, UnicodeDecodeError):
        return Answer(False, "/proc/filesystems cannot be read")
    return Answer(False, f"this kernel has no {name} file system, and no module for it in /lib/modules")


def _is_in(path: str, word: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any(word in line.partition(":")[0] for line in file)
    except OSError:
        return False


def mounting() -> Answer:
    """Return whether this process may mount file systems, asked with a tmpfs that is never mounted."""
    if not capability.has(capability.CAP_SYS_ADMIN):
        return Answer(False, lacking(capability.CAP_SYS_ADMIN))
    try:
        os.close(mount.fsopen("tmpfs"))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return Answer(False, "this kernel is older than Linux 5.2, or a filter (seccomp) hides fsopen(2)")
        return Answer(False, f"fsopen(2) is forbidden, probably by a filter (seccomp): {error.strerror}")
    return Answer(True)


def lacking(*wanted: int) -> str:
    """Return which of these capabilities this process lacks, in words; "" if it has all."""
    names = [name for name, number in capability.NAMES.items() if number in wanted and not capability.has(number)]
    if not names:
        return ""
    who = "this user is not root" if os.geteuid() else "this process is root without all rights, as in a container"
    return f"needs {', '.join(names)}: {who}"


def loop_devices(control: str = "/dev/loop-control") -> Answer:
    """Return whether this process may make loop devices."""
    if not os.path.exists(control):
        return Answer(False, f"{control} does not exist: the module loop is not loaded, or this is a container")
    if not os.access(control, os.R_OK | os.W_OK):
        return Answer(False, f"this user may not open {control}")
    return Answer(True)


def user_namespaces(root: str = "/proc/sys") -> Answer:
    """Return whether this process may make a user namespace; a child process tries it, and ends."""
    child = os.fork()
    if child == 0:
        try:
            unshare(CLONE_NEWUSER)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    restricted = [f"sysctl {name} is {value}" for name, value in _SYSCTLS_OF_USER_NAMESPACES if _is(root, name, value)]
    if status == 0:
        return Answer(True, f"without privileges in them: {restricted[0]}" if restricted and os.geteuid() else "")
    return Answer(False, restricted[0] if restricted else os.strerror(abs(status)).lower())


def _is(root: str, name: str, value: str) -> bool:
    try:
        with open(f"{root}/{name.replace('.', '/')}", encoding="ascii") as file:
            return file.read().strip() == value
    except (OSError, UnicodeDecodeError):
        return False


def verity(root: str = "/sys/fs") -> Answer:
    """Return whether file systems of this kernel have fs-verity; arstore does not use it."""
    found = [name for name in ("ext4", "f2fs", "btrfs") if os.path.exists(f"{root}/{name}/features/verity")]
    return Answer(True, f"on {', '.join(found)}") if found else Answer(False, "no file system in use here has it")


def cgroups(root: str = "/sys/fs/cgroup") -> tuple[str, str]:
    """Return the version of the control groups that are mounted: "2", "1", "1 and 2"; or "" and why there are none."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return "2", ""
    has_old = os.path.isdir(f"{root}/memory") or os.path.isdir(f"{root}/pids")
    if not has_old:
        return "", f"nothing is mounted on {root}"
    return ("1 and 2", "") if os.path.exists(f"{root}/unified/cgroup.controllers") else ("1", "")
