"""Use of the host by a container, as its control groups count it: processor time, memory, blocks, processes.

Kernel documentation: cgroup-v2.rst, "Core Interface Files" of each controller; cgroup-v1/cpuacct.rst, memory.rst,
pids.rst, blkio-controller.rst. Where both versions are mounted, each value comes from the one that has it. Out of
scope: networks, which control groups do not count.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.cgroups import cgroups_path
from arstore.disk.delegation import ROOT, file_text
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_MICROSECOND = 1000
_UNLIMITED = 1 << 60
"""Version 1 has a large number, rounded to pages, for no limit."""
_V1 = ("cpu,cpuacct", "cpuacct", "memory", "pids", "blkio")


class Usage(NamedTuple):
    """Nanoseconds, bytes and processes; None where no control group counts that, or for no limit."""

    cpu: int | None = None
    memory: int | None = None
    """Without the file pages that the kernel can drop, as docker and podman count."""
    memory_limit: int | None = None
    pids: int | None = None
    pids_limit: int | None = None
    read: int | None = None
    written: int | None = None


def usage(directory: str, root: str = ROOT) -> Usage | None:
    """Return what the container in *directory* uses now; None if it has no control groups, or no longer."""
    name = cgroups_path(directory)
    unified = next((path for path in (f"{root}{name}", f"{root}/unified{name}") if _is_v2(path)), "")
    groups = {part: f"{root}/{part}{name}" for part in _V1 if os.path.isdir(f"{root}/{part}{name}")}
    if not unified and not groups:
        return None
    found = _of_v2(unified) if unified else Usage()
    return found._replace(**{key: value for key, value in _of_v1(groups).items() if value is not None})


def host_memory() -> int:
    """Return the bytes of the host's memory; 0 if that is unknown."""
    return _keyed("/proc/meminfo").get("MemTotal:", 0) * 1024


def _is_v2(path: str) -> bool:
    return os.path.exists(f"{path}/cgroup.controllers")


def _of_v2(path: str) -> Usage:
    memory, dropped = _number(f"{path}/memory.current"), _keyed(f"{path}/memory.stat").get("inactive_file", 0)
    time = _keyed(f"{path}/cpu.stat").get("usage_usec")
    read, written = _blocks_v2(f"{path}/io.stat")
    return Usage(
        None if time is None else time * _MICROSECOND,
        None if memory is None else max(0, memory - dropped),
        _number(f"{path}/memory.max"),
        _number(f"{path}/pids.current"),
        _number(f"{path}/pids.max"),
        read,
        written,
    )


def _of_v1(groups: dict[str, str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for part in ("cpu,cpuacct", "cpuacct"):
        if part in groups and found.get("cpu") is None:
            found["cpu"] = _number(f"{groups[part]}/cpuacct.usage")
    if "memory" in groups:
        path = groups["memory"]
        memory, limit = _number(f"{path}/memory.usage_in_bytes"), _number(f"{path}/memory.limit_in_bytes")
        dropped = _keyed(f"{path}/memory.stat").get("total_inactive_file", 0)
        found["memory"] = None if memory is None else max(0, memory - dropped)
        found["memory_limit"] = None if limit is None or limit >= _UNLIMITED else limit
    if "pids" in groups:
        found["pids"] = _number(f"{groups['pids']}/pids.current")
        found["pids_limit"] = _number(f"{groups['pids']}/pids.max")
    if "blkio" in groups:
        found["read"], found["written"] = _blocks_v1(groups["blkio"])
    return found


def _number(path: str) -> int | None:
    """Return the number in the file; None for `max`, and if there is no such file."""
    text = file_text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _keyed(path: str) -> dict[str, int]:
    """Return the numbers in a file of names and numbers."""
    words = map(str.split, file_text(path).splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) >= 2 and line[1].isdigit()}


def _blocks_v2(path: str) -> tuple[int | None, int | None]:
    """Return the bytes read and written of `8:0 rbytes=1 wbytes=2 ...`."""
    if not os.path.exists(path):
        return None, None
    sums = {"rbytes": 0, "wbytes": 0}
    for word in file_text(path).split():
        key, _, value = word.partition("=")
        if key in sums and value.isdigit():
            sums[key] += int(value)
    return sums["rbytes"], sums["wbytes"]


def _blocks_v1(path: str) -> tuple[int | None, int | None]:
    """Return the bytes read and written of lines `8:0 Read 1`; the recursive file counts groups below, too."""
    for name in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"):
        if os.path.exists(f"{path}/{name}"):
            sums = {"Read": 0, "Write": 0}
            for _, kind, count in _triples(f"{path}/{name}"):
                if kind in sums:
                    sums[kind] += count
            return sums["Read"], sums["Write"]
    return None, None


def _triples(path: str) -> Iterator[tuple[str, str, int]]:
    for line in map(str.split, file_text(path).splitlines()):
        if len(line) == 3 and line[2].isdigit():
            yield line[0], line[1], int(line[2])
