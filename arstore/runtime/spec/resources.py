"""Limits on what a container may use: memory, processors, processes, devices and their speed.

The syntax is docker's and podman's. Out of scope: `linux.resources` of config.json (`resource_section`).
"""

from __future__ import annotations

import os
import stat

from arstore.errors import NotFoundError, RuntimeFailedError
from arstore.pattern import pattern
from arstore.runtime.spec.sizes import LARGEST, parse_size, refused, shown
from arstore.values import NamedTuple

MOST_PROCESSES = 2048
"""Default limit of processes and threads in a container: podman's number (containers.conf(5))."""
LEAST_MEMORY = 6 << 20
"""Bytes. With less memory, a runtime cannot even start the container's first process."""

_SET = pattern(r"[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?)*")
_RULE = pattern(r"([abc]) (\*|[0-9]{1,10}):(\*|[0-9]{1,10}) ([rwm]{1,3})")
_UNIFIED = pattern(r"[a-z0-9_]+(?:\.[A-Za-z0-9_]+)+")
THROTTLES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}
"""The member of `blockIO` for each option."""


class DeviceNumber(NamedTuple):
    """A block device by its numbers, and a weight or a rate for it; *kind* is a key of THROTTLES, or `weight`."""

    kind: str
    major: int
    minor: int
    value: int


class DeviceRule(NamedTuple):
    """A rule for devices that a container may open; *major* and *minor* are -1 for all of them."""

    kind: str
    major: int
    minor: int
    access: str


class Resources(NamedTuple):
    """Limits in addition to memory, processors and processes. None and "" leave a limit as it is."""

    memory_swap: int | None = None
    """Bytes of memory and swap together, -1 for no limit; by default twice the memory."""
    memory_reservation: int | None = None
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    cpu_shares: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    """Microseconds in each period."""
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    blkio_weight: int | None = None
    block_devices: tuple[DeviceNumber, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    unified: tuple[tuple[str, str], ...] = ()
    """Files of control groups of version 2, and what is written to them."""
    rdt_class: str = ""


def parse_memory(text: str) -> int:
    """Return a memory limit in bytes. Raises UsageError; RuntimeFailedError for one in which no runtime works."""
    size = parse_size(text)
    if size < LEAST_MEMORY:
        raise RuntimeFailedError(shown(text), f"no container runs in less than {LEAST_MEMORY >> 20} MiB")
    return size


def parse_cpus(text: str) -> float:
    """Return a number of processors such as `1.5`, at least 0.01. Raises UsageError."""
    try:
        cpus = float(text)
    except ValueError:
        raise refused(text, "not a number of processors") from None
    if not 0.01 <= cpus <= 100_000:
        raise refused(text, "the number of processors must be from 0.01 to 100000")
    return cpus


def check_pids_limit(number: int) -> int:
    """Return *number*, a limit of processes and threads, -1 for no limit. Raises UsageError for other values."""
    if number != -1 and not 1 <= number <= LARGEST:
        raise refused(str(number), "not a number of processes", "write -1 for no limit")
    return number


def parse_swap(text: str, memory: int | None) -> int:
    """Return `--memory-swap` in bytes, at least *memory*, or -1 for no limit. Raises UsageError."""
    size = -1 if text == "-1" else parse_size(text)
    if memory is None:
        raise refused(text, "--memory-swap needs --memory")
    if size not in {-1, 0} and size < memory:
        raise refused(text, "--memory-swap includes the memory, and cannot be less than --memory")
    return size or 2 * memory


def parse_reservation(text: str, memory: int | None) -> int:
    """Return `--memory-reservation` in bytes, at most *memory*. Raises UsageError."""
    size = parse_size(text)
    if memory is not None and size > memory:
        raise refused(text, "--memory-reservation cannot be more than --memory")
    return size


def parse_set(text: str, what: str, available: str) -> str:
    """Return a list of numbers such as `0-3,5`; *available* is the host's, "" if unknown. Raises UsageError."""
    if _SET.fullmatch(text) is None:
        raise refused(text, f"not a list of {what}", "write for example 0-3 or 0,2")
    missing = _members(text, text, what) - _members(available, text, what) if available else ()
    if missing:
        raise refused(text, f"this host has no such {what}: it has {available}")
    return text


def _members(ranges: str, text: str, what: str) -> set[int]:
    found: set[int] = set()
    for part in ranges.split(","):
        low, _, high = part.partition("-")
        if high and int(high) < int(low):
            raise refused(text, f"not a list of {what}: {part}")
        found.update(range(int(low), int(high or low) + 1))
    return found


def parse_block_device(kind: str, text: str) -> DeviceNumber:
    """Read `DEVICE:NUMBER`; a number of bytes may have a unit. Raises UsageError, NotFoundError."""
    path, _, amount = text.rpartition(":")
    if not path.startswith("/"):
        raise refused(text, "not a device and a number", "write for example /dev/sda:1m")
    value = parse_size(amount) if kind.endswith("bps") else _number(amount, text)
    if kind == "weight" and not 10 <= value <= 1000:
        raise refused(text, "a weight is from 10 to 1000")
    try:
        status = os.stat(path)
    except OSError:
        raise NotFoundError(shown(path), "no such device on this host") from None
    if not stat.S_ISBLK(status.st_mode):
        raise refused(path, "is not a block device")
    return DeviceNumber(kind, os.major(status.st_rdev), os.minor(status.st_rdev), value)


def _number(amount: str, text: str) -> int:
    if not amount.isascii() or not amount.isdigit() or len(amount) > 18:
        raise refused(text, "not a device and a number", "write for example /dev/sda:1000")
    return int(amount)


def parse_device_rule(text: str) -> DeviceRule:
    """Read `TYPE MAJOR:MINOR ACCESS`, such as `c 10:* rwm`. Raises UsageError."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise refused(text, "not a rule for devices", "write TYPE MAJOR:MINOR ACCESS, such as 'c 10:* rwm'")
    major, minor = (-1 if part == "*" else int(part) for part in match.group(2, 3))
    return DeviceRule(match[1], major, minor, match[4])


def parse_unified(text: str) -> tuple[str, str]:
    """Read `FILE=VALUE` of `--cgroup-conf`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or _UNIFIED.fullmatch(name) is None or "\0" in value or name.startswith("cgroup."):
        raise refused(text, "not a file of a control group and its value", "write for example memory.high=512M")
    return name, value
