"""The host, the user, and the kernel's features."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.access import name_of_user
from arstore.disk.cgroups import delegated
from arstore.disk.delegation import parent_group, why_none
from arstore.linux import features, kernel
from arstore.linux.isolation import landlock
from arstore.runtime.spec.rights import seccomp
from arstore.workers import confinement

if TYPE_CHECKING:
    from typing import Any

    from arstore.linux.features import Answer

_NOT_LIMITS = frozenset({"systemd", "unified"})
"""Hierarchies of version 1 that limit nothing."""
_FROM_FILES = (6, 12)
"""The first Linux in which EROFS reads files without loop devices."""


def host() -> dict[str, object]:
    """Return the kernel, the machine and the user."""
    about, uid = os.uname(), os.geteuid()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "kernel": f"{about.sysname} {about.release}",
        "architecture": about.machine,
        "cpus": os.cpu_count(),
        "memory": memory,
        "uid": uid,
        "user": name_of_user(uid),
        "user_namespace": _is_in_user_namespace(),
    }


def kernel_features() -> dict[str, dict[str, Any]]:
    """Return the features, each with `available` (None: unknown) and a `detail`. Forks."""
    mounting, overlay, erofs = kernel.mounting(), kernel.file_system("overlay"), kernel.file_system("erofs")
    loops, version = kernel.loop_devices(), landlock.version()
    return {
        "mounting": _feature(mounting),
        "overlay": _feature(overlay),
        "overlay_detached_layers": _detached_layers(mounting, overlay),
        "erofs": _feature(erofs),
        "erofs_from_files": _from_files(erofs),
        "loop_devices": _feature(loops),
        "user_namespaces": _feature(kernel.user_namespaces()),
        "cgroups": _cgroups(),
        "seccomp": {"available": seccomp.supported_by_kernel(), "detail": ""},
        "landlock": {"available": bool(version), "detail": f"version {version}" if version else ""},
        "fsverity": _feature(kernel.verity()),
        "confinement": {"available": bool(confinement.means()), "detail": confinement.means()},
    }


def _cgroups() -> dict[str, Any]:
    """`limits` are the resources that this user's containers can have limits for."""
    groups, detail = kernel.cgroups()
    limits = sorted(delegated() - _NOT_LIMITS) if groups else []
    if groups and parent_group() is None:
        detail = "; ".join(filter(None, (f"version {groups}; no limits: {why_none()[0]}", why_none()[1])))
    elif groups:
        detail = f"version {groups}; limits for {', '.join(limits) or 'nothing'}"
    return {"available": bool(groups), "version": groups, "limits": limits, "detail": detail}


def _feature(answer: Answer) -> dict[str, Any]:
    return {"available": answer.available, "detail": answer.reason}


def _detached_layers(mounting: Answer, overlay: Answer) -> dict[str, Any]:
    if not mounting or not overlay:
        return {"available": None, "detail": "this process may not mount" if overlay else overlay.reason}
    if overlay.reason:
        return {"available": None, "detail": "unknown until the module is loaded"}
    return _feature(features.layers_by_fd())


def _from_files(erofs: Answer) -> dict[str, Any]:
    """By the version alone: only a mount can show it (`mounts.probe`), and that is done by the first import."""
    if not erofs:
        return {"available": False, "detail": erofs.reason}
    is_new = linux_version(os.uname().release) >= _FROM_FILES
    return {"available": None if is_new else False, "detail": "expected, by the version" if is_new else "needs 6.12"}


def linux_version(release: str) -> tuple[int, int]:
    """Return major and minor number of a kernel's release, such as 6.12.3-amd64; (0, 0) for another text."""
    numbers = release.replace("-", ".").split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(str.isdigit, numbers)) else (0, 0)


def _is_in_user_namespace() -> bool | None:
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return None
