"""Landlock, landlock(7): a thread, and everything that it starts afterwards, gives up access to files for good.

A ruleset names kinds of access that are denied everywhere except below the directories for which a rule allows them.
Open files stay usable. The system calls have the same numbers on every architecture. Landlock does not control
chmod(2), chown(2), setxattr(2), utime(2) and stat(2).
"""

from __future__ import annotations

import os
import struct

from arstore.linux.syscall import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

_NEWEST = 6
"""The version of the interface that has everything used here."""
_KINDS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}
"""How many kinds of file access each version knows."""
_BIND, _CONNECT = 0b01, 0b10
"""TCP (version 4)."""
_SCOPES = 0b11
"""Abstract Unix sockets and signals, from and to processes outside (version 6)."""


def version() -> int:
    """Return the version of the kernel's interface; 0 if it has none, or a filter hides it (Linux 5.13)."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def known(access: int, newest: int) -> int:
    """Return *access* without the kinds that version *newest* of the interface does not know."""
    return access & ((1 << _KINDS[min(newest, _NEWEST)]) - 1)


def create_ruleset(newest: int, *, connects: bool = False) -> int:
    """Return a descriptor of a new ruleset that denies everything that version *newest* can deny.

    With *connects*, TCP connections may be made. Raises OSError: ENOSYS; EOPNOTSUPP if the kernel has it switched off.
    """
    newest = min(newest, _NEWEST)
    words = [known(-1, newest)]
    if newest >= 4:
        words.append(_BIND if connects else _BIND | _CONNECT)
    if newest >= 6:
        words.append(_SCOPES)
    attributes = struct.pack(f"={len(words)}Q", *words)
    return syscall(_CREATE_RULESET, attributes, len(attributes), 0)


def allow_below(ruleset_fd: int, path_fd: int, access: int) -> None:
    """Allow *access* to the open *path_fd* (O_PATH will do) and, if it is a directory, to everything below it."""
    rule = struct.pack("=Qi", access, path_fd)
    syscall(_ADD_RULE, ruleset_fd, _PATH_BENEATH, rule, 0)


def restrict_self(ruleset_fd: int) -> None:
    """Enforce the ruleset on this thread, which must have no_new_privs, or CAP_SYS_ADMIN. Raises OSError."""
    syscall(_RESTRICT_SELF, ruleset_fd, 0)


def allow_path(ruleset_fd: int, path: str, access: int) -> None:
    """Call `allow_below` for *path*. Raises OSError when it cannot be opened."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allow_below(ruleset_fd, fd, access)
    finally:
        os.close(fd)
