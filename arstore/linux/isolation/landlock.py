"""Landlock, landlock(7): a thread gives up reaching files for good, with all that it starts afterwards.

A ruleset names kinds of access that are denied everywhere but below the directories that a rule allows them for; what
is open already stays usable. The system calls have the same numbers on every architecture. The kernel does not ask
Landlock about chmod(2), chown(2), setxattr(2), utime(2) and stat(2).
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
"""The version of the interface that has all that is used here."""
_KINDS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}
"""How many kinds of access to files each version knows."""
_BIND, _CONNECT = 0b01, 0b10
"""TCP (version 4)."""
_SCOPES = 0b11
"""Abstract Unix sockets and signals, of and to processes outside (version 6)."""


def version() -> int:
    """The version of the interface that this kernel has; 0 where it has none, or a filter hides it (Linux 5.13)."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def known(access: int, newest: int) -> int:
    """*access* without the kinds that version *newest* of the interface does not know."""
    return access & ((1 << _KINDS[min(newest, _NEWEST)]) - 1)


def create_ruleset(newest: int, *, connects: bool = False) -> int:
    """A descriptor of a ruleset that denies all that version *newest* can deny, as no rule is in it yet.

    Unless it *connects*: TCP connections may be made then.
    Raises OSError: ENOSYS, EOPNOTSUPP where the kernel has it switched off.
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
    """Allow *access* to what *path_fd* has open (O_PATH will do) and, when it is a directory, to all below it."""
    rule = struct.pack("=Qi", access, path_fd)
    syscall(_ADD_RULE, ruleset_fd, _PATH_BENEATH, rule, 0)


def restrict_self(ruleset_fd: int) -> None:
    """Put the ruleset in force for this thread. It must have no_new_privs, or CAP_SYS_ADMIN. Raises OSError."""
    syscall(_RESTRICT_SELF, ruleset_fd, 0)


def allow_path(ruleset_fd: int, path: str, access: int) -> None:
    """`allow_below` for *path*. Raises OSError when it cannot be opened."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allow_below(ruleset_fd, fd, access)
    finally:
        os.close(fd)
