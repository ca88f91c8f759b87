"""The parts of config.json that are the same for every container: docker's well-known defaults.

Sources: OCI runtime-spec config.md and config-linux.md, "Default Filesystems"; the lists of devices, masked and
read-only paths are documented by docker and containerd. The values are JSON; callers make copies.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]


MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)

READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

MOST_FILES = 1 << 20
"""RLIMIT_NOFILE of a container, unless this process's own hard limit is lower."""

_CHARACTER_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
"""null, zero, full, random, urandom, tty, console, ptmx and the pseudo-terminals."""


TTY_GROUP = 5
"""The group `tty`, to which terminals belong."""

SHM_SIZE = 64_000 << 10
"""Bytes of /dev/shm: podman's number."""

MARKER = "/run/.containerenv"
"""An empty file that marks a container, as podman and buildah write it."""
VARIABLES = ("container=oci",)
"""Variables that mark it too: systemd's Container Interface has this word for a runtime of the OCI."""

_PING_GROUPS = "net.ipv4.ping_group_range"


def mounts(shm_size: int = SHM_SIZE, privileged: bool = False) -> list[Json]:
    """Return the file systems that every container gets, in mount order."""
    access = "rw" if privileged else "ro"
    quiet = ["nosuid", "noexec", "nodev"]
    groups = [*quiet, "relatime", access]
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", f"gid={TTY_GROUP}"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": quiet},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": dev},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*quiet, access]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": groups},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": quiet},
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*quiet, "mode=1777", f"size={shm_size}"],
        },
    ]


def sysctls() -> dict[str, str]:
    """Return the kernel parameters of a container with its own network: its root can send echo requests, as in podman.

    Empty if the kernel does not have it.
    """
    return {_PING_GROUPS: "0 0"} if os.path.exists(f"/proc/sys/{_PING_GROUPS.replace('.', '/')}") else {}


def device_rules() -> list[Json]:
    """Return the rules for devices: any may be made, few may be opened."""
    rules: list[Json] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    for major, minor in _CHARACTER_DEVICES:
        rule: Json = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else rule | {"minor": minor})
    return rules
