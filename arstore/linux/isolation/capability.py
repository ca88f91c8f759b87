"""Capabilities of this thread: capabilities(7)."""

from __future__ import annotations

import struct

from arstore.linux.syscall import libc

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID = range(5)
CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 18, 19, 21, 24
CAP_MKNOD, CAP_SETFCAP = 27, 31

NAMES = {
    "CAP_CHOWN": CAP_CHOWN,
    "CAP_DAC_OVERRIDE": CAP_DAC_OVERRIDE,
    "CAP_FOWNER": CAP_FOWNER,
    "CAP_MKNOD": CAP_MKNOD,
    "CAP_SETFCAP": CAP_SETFCAP,
    "CAP_SYS_ADMIN": CAP_SYS_ADMIN,
}
"""The capabilities that trees and mounts need, by their names."""
MAKES_ANY_FILE = tuple(NAMES.values())
"""Those for files of every kind, owner and attribute."""

_STATUS = "/proc/thread-self/status"
_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3: sets of 64 bits, in two halves."""


def effective() -> int:
    """Return the effective set as a bit mask: bit N is capability N. Valid in this process's user namespace only."""
    with open(_STATUS, "rb") as file:
        for line in file:
            if line.startswith(b"CapEff:"):
                return int(line.split()[1], 16)
    return 0


def has(capability: int) -> bool:
    """Return whether this thread has *capability* in its user namespace."""
    return bool(effective() >> capability & 1)


def mask(*capabilities: int) -> int:
    """Return the set of these capabilities as a bit mask."""
    return sum(1 << number for number in set(capabilities))


def keep_only(wanted: int) -> None:
    """Drop, in this thread and for good, every capability that is not in the bit mask *wanted*; capset(2).

    Kept capabilities are effective; none is inheritable or ambient. Raises OSError.
    """
    kept = _permitted() & wanted
    low, high = kept & 0xFFFFFFFF, kept >> 32
    libc("capset", struct.pack("=Ii", _VERSION, 0), struct.pack("=6I", low, low, 0, high, high, 0))


def _permitted() -> int:
    """Return the permitted set, by capget(2): /proc may be out of reach."""
    import ctypes

    sets = ctypes.create_string_buffer(24)
    libc("capget", struct.pack("=Ii", _VERSION, 0), ctypes.addressof(sets))
    words = struct.unpack("=6I", sets.raw)
    return int(words[1] | words[4] << 32)


def may_make_any_file() -> bool:
    """Return whether this thread can make files of every kind, owner and attribute, as the trees of layers need."""
    return all(has(number) for number in MAKES_ANY_FILE)
