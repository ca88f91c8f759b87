"""Observing a command while it runs: the memory of its processes, and its disk space.

Memory is sampled from /proc: the sum over the process and all its descendants of the resident set (VmRSS, which counts
a shared page once for each process) and of the proportional set (Pss, which divides it). A peak between two samples
can be missed. The kernel keeps each process's high-water mark (VmHWM), which bounds what was missed: the sum of the
high-water marks of the processes alive at the time is recorded too. A control group's counter is not used, because it
counts page cache, which the kernel takes back on demand.

Space is what du counts: blocks allocated below a directory, hard links once.
"""

from __future__ import annotations

import contextlib
import os

from benchmarks.process import descendants


class Memory:
    """Peaks over a command's life, in bytes."""

    def __init__(self) -> None:
        self.rss = 0
        self.pss = 0
        self.high_water = 0

    def __call__(self, pid: int) -> None:
        """Take one sample."""
        rss = pss = high = 0
        for process in descendants(pid):
            with contextlib.suppress(OSError, ValueError):
                fields = _fields(f"/proc/{process}/status", (b"VmRSS:", b"VmHWM:"))
                rss += fields[b"VmRSS:"]
                high += fields[b"VmHWM:"]
                pss += _fields(f"/proc/{process}/smaps_rollup", (b"Pss:",))[b"Pss:"]
        self.rss, self.pss, self.high_water = max(self.rss, rss), max(self.pss, pss), max(self.high_water, high)


def _fields(path: str, names: tuple[bytes, ...]) -> dict[bytes, int]:
    found = dict.fromkeys(names, 0)
    with open(path, "rb") as file:
        for line in file:
            name = line.split(b"\t")[0].split(b" ")[0]
            if name in found:
                found[name] = int(line.split()[1]) * 1024
    return found


class Space:
    """The peak of the space below each of some directories, in bytes allocated."""

    def __init__(self, *directories: str) -> None:
        self.directories = directories
        self.peaks = [0] * len(directories)

    def __call__(self, _pid: int) -> None:
        """Take one sample."""
        self.peaks = [
            max(peak, allocated(directory)) for peak, directory in zip(self.peaks, self.directories, strict=True)
        ]


def allocated(directory: str) -> int:
    """The bytes allocated below *directory*, itself included.

    Files that vanish meanwhile do not count, and files that are renamed meanwhile count once.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    waiting = [directory]
    with contextlib.suppress(OSError):
        total += os.lstat(directory).st_blocks * 512
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total


def meminfo() -> dict[str, int]:
    """/proc/meminfo, in bytes."""
    found = {}
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) * (1024 if rest.rstrip().endswith("kB") else 1)
    return found
