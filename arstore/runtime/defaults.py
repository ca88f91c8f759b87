"""The parts of config.json that are the same for every container: docker's well-known defaults.

Sources: OCI runtime-spec config.md and config-linux.md, "Default Filesystems"; the lists of capabilities, devices,
masked and read-only paths are what docker and containerd document. Everything here is JSON in the making; callers
take copies.
"""

from __future__ import annotations

from typing import Any

from arstore.linux import capability

Json = dict[str, Any]

CAPABILITIES = {
    "CAP_AUDIT_WRITE": capability.CAP_AUDIT_WRITE,
    "CAP_CHOWN": capability.CAP_CHOWN,
    "CAP_DAC_OVERRIDE": capability.CAP_DAC_OVERRIDE,
    "CAP_FOWNER": capability.CAP_FOWNER,
    "CAP_FSETID": capability.CAP_FSETID,
    "CAP_KILL": capability.CAP_KILL,
    "CAP_MKNOD": capability.CAP_MKNOD,
    "CAP_NET_BIND_SERVICE": capability.CAP_NET_BIND_SERVICE,
    "CAP_NET_RAW": capability.CAP_NET_RAW,
    "CAP_SETFCAP": capability.CAP_SETFCAP,
    "CAP_SETGID": capability.CAP_SETGID,
    "CAP_SETPCAP": capability.CAP_SETPCAP,
    "CAP_SETUID": capability.CAP_SETUID,
    "CAP_SYS_CHROOT": capability.CAP_SYS_CHROOT,
}
"""The fourteen that docker leaves to a container, with their numbers."""

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
)

READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

MOST_FILES = 1 << 20
"""RLIMIT_NOFILE of a container, where this process's own hard limit is not lower."""

_CHARACTER_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
"""null, zero, full, random, urandom, tty, console, ptmx and the pseudo-terminals."""


def mounts() -> list[Json]:
    """The file systems that every container gets, in the order in which they are mounted."""
    quiet = ["nosuid", "noexec", "nodev"]
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": quiet},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": dev},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*quiet, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*quiet, "relatime", "ro"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": quiet},
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*quiet, "mode=1777", "size=65536k"],
        },
    ]


def device_rules() -> list[Json]:
    """Which devices the container may use: any may be made, few may be opened."""
    rules: list[Json] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    for major, minor in _CHARACTER_DEVICES:
        rule: Json = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else rule | {"minor": minor})
    return rules


def capabilities(uid: int, available: int) -> Json:
    """The `process.capabilities` of a user, no more than the mask *available* (this process's own) has.

    Nothing is inheritable (CVE-2022-24769); a user other than root starts with a bounding set alone, as exec would
    leave it.
    """
    names = [name for name, number in CAPABILITIES.items() if available >> number & 1]
    held = names if uid == 0 else []
    return {"bounding": names, "effective": held, "permitted": held, "inheritable": [], "ambient": []}
