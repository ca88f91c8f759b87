"""Priority of a process: how much of the machine it gets while other processes are busy."""

from __future__ import annotations

import os
import platform

from arstore.linux.syscall import syscall

_NUMBERS = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
"""ioprio_set(2), for which no libc has a function, by architecture."""
_WHO_PROCESS, _CLASS_IDLE, _CLASS_SHIFT = 1, 3, 13
_LOWEST = 19


def claim_idle_only() -> None:
    """Let this thread use the disk and the processor only when they are idle; for good.

    The disk part (I/O class idle) is skipped on architectures for which the number of ioprio_set is unknown. Raises
    OSError.
    """
    os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)
    number = _NUMBERS.get(platform.machine())
    if number is not None:
        syscall(number, _WHO_PROCESS, 0, _CLASS_IDLE << _CLASS_SHIFT)
