"""seccomp(2) filters: a process is killed when it makes a system call that it has declared it never makes.

A filter is a program for the kernel's BPF machine, assembled here for the few architectures whose call numbers are in
the table. Calls since Linux 5.1 have the same number everywhere. Of these only known harmless ones are permitted; all
others fail with ENOSYS, as they would on an older kernel. Not here: which calls to deny.
"""

from __future__ import annotations

import errno
import os
import struct
from functools import cache
from typing import TYPE_CHECKING

from arstore.linux.syscall import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_SECCOMP, _FILTER = 22, 2
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""BPF: load a word, jump if equal / not less / a bit is set, return."""
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data; of an argument, its lower half (all of these architectures are little-endian)."""

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
_X32 = 0x40000000
_SHARED_FROM = 424
_SHARED_HARMLESS = frozenset({435, 436, 437, 439, 441, 449, 452, 454, 455, 456, 462, 463, 464, 465, 466, 468})
"""clone3 close_range openat2 faccessat2 epoll_pwait2 futex_waitv fchmodat2 futex_* mseal *xattrat file_getattr"""
_CLONE3 = 435
_CLONE_THREAD = 0x10000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

# Name: number on x86-64, number in the kernel's generic table; -1 if it does not exist there.
_NUMBERS: dict[str, tuple[int, int]] = {
    "accept": (43, 202), "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171),
    "bind": (49, 200), "bpf": (321, 280), "capset": (126, 91), "chmod": (90, -1), "chown": (92, -1),
    "chroot": (161, 51), "clock_adjtime": (305, 266), "clock_settime": (227, 112), "clone": (56, 220),
    "connect": (42, 203), "delete_module": (176, 106), "execve": (59, 221), "execveat": (322, 281),
    "fanotify_init": (300, 262), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "fchown": (93, 55), "fchownat": (260, 54), "finit_module": (313, 273), "fork": (57, -1),
    "fremovexattr": (199, 16), "fsetxattr": (190, 7), "futimesat": (261, -1), "init_module": (175, 105),
    "ioctl": (16, 29), "ioperm": (173, -1), "iopl": (172, -1), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "kill": (62, 129), "lchown": (94, -1), "link": (86, -1),
    "linkat": (265, 37), "listen": (50, 201), "lookup_dcookie": (212, 18), "lremovexattr": (198, 15),
    "lsetxattr": (189, 6), "migrate_pages": (256, 238), "mkdir": (83, -1), "mkdirat": (258, 34), "mknod": (133, -1),
    "mknodat": (259, 33), "modify_ldt": (154, -1), "mount": (165, 40), "move_pages": (279, 239),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "perf_event_open": (298, 241),
    "personality": (135, 92), "pivot_root": (155, 41), "prlimit64": (302, 261), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "reboot": (169, 142),
    "recvmsg": (47, 212), "removexattr": (197, 14), "removexattrat": (466, 466), "rename": (82, -1),
    "renameat": (264, 38), "renameat2": (316, 276), "request_key": (249, 218), "rmdir": (84, -1),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "seccomp": (317, 277), "sendmsg": (46, 211),
    "setdomainname": (171, 162), "setfsgid": (123, 152), "setfsuid": (122, 151), "setgid": (106, 144),
    "setgroups": (116, 159), "sethostname": (170, 161), "setns": (308, 268), "setregid": (114, 143),
    "setresgid": (119, 149), "setresuid": (117, 147), "setreuid": (113, 145), "settimeofday": (164, 170),
    "setuid": (105, 146), "setxattr": (188, 5), "setxattrat": (463, 463), "socket": (41, 198), "socketpair": (53, 199),
    "swapoff": (168, 225), "swapon": (167, 224), "symlink": (88, -1), "symlinkat": (266, 36), "syslog": (103, 116),
    "tgkill": (234, 131), "tkill": (200, 130), "truncate": (76, 45), "umount2": (166, 39), "unlink": (87, -1),
    "unlinkat": (263, 35), "unshare": (272, 97), "userfaultfd": (323, 282), "utime": (132, -1),
    "utimensat": (280, 88), "utimes": (235, -1), "vfork": (58, -1), "vhangup": (153, 58),
}  # fmt: skip

_ARGUMENT_RULES = ("clone", "ioctl", "prlimit64")
"""Calls that every filter permits with some arguments only."""


MODIFYING = frozenset({
    "chmod", "chown", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fremovexattr", "fsetxattr", "futimesat",
    "lchown", "link", "linkat", "lremovexattr", "lsetxattr", "mkdir", "mkdirat", "mknod", "mknodat", "removexattr",
    "removexattrat", "rename", "renameat", "renameat2", "rmdir", "setxattr", "setxattrat", "symlink", "symlinkat",
    "truncate", "unlink", "unlinkat", "utime", "utimensat", "utimes",
})  # fmt: skip
"""Calls that change names and attributes of files, in all their variants."""


def supported() -> bool:
    """Return whether filters can be made for this machine, and its kernel supports them."""
    return os.uname().machine in _AUDIT and os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


@cache
def program(denied: frozenset[str], machine: str = "") -> bytes:
    """Return a filter under which each of the calls *denied* kills the process (SIGSYS).

    So do calls of another architecture's table, new processes (threads are permitted), characters pushed into a
    terminal, and other processes' limits. Raises KeyError for a machine or a name that is not in the table.
    """
    machine = machine or os.uname().machine
    column = 0 if machine == "x86_64" else 1
    numbers = sorted({_NUMBERS[name][column] for name in denied} - {-1})
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        *_unless_equal(_AUDIT[machine], _KILL_PROCESS),
        _line(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        lines += [_line(_AT_LEAST, _X32, 0, 1), _line(_RETURN, _KILL_PROCESS)]
    for number in numbers:
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _KILL_PROCESS)]
    lines += _arguments(column)
    lines += [_line(_AT_LEAST, _SHARED_FROM, 1, 0), _line(_RETURN, _ALLOW)]
    # Without clone3, libc falls back to clone, whose flags the filter can see.
    for number in sorted(_SHARED_HARMLESS - {_CLONE3}):
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _ALLOW)]
    lines.append(_line(_RETURN, _ERRNO | errno.ENOSYS))
    return b"".join(lines)


def install(code: bytes) -> None:
    """Enforce a filter on this thread and everything that it starts. It must have no_new_privs. Raises OSError."""

    import ctypes

    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    libc("prctl", _PR_SET_SECCOMP, _FILTER, header, 0, 0)


def names() -> Iterable[str]:
    """Return the calls that `program` can deny."""
    return _NUMBERS.keys() - set(_ARGUMENT_RULES)


def _arguments(column: int) -> list[bytes]:
    """Return the rules for calls that are bad with some arguments only; they leave the call's number loaded."""
    clone, ioctl, prlimit = (_NUMBERS[name][column] for name in _ARGUMENT_RULES)
    return [
        _line(_EQUAL, clone, 0, 4),
        _line(_LOAD, _ARGUMENTS),
        _line(_ANY_BIT, _CLONE_THREAD, 0, 1),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _KILL_PROCESS),
        _line(_EQUAL, ioctl, 0, 5),
        _line(_LOAD, _ARGUMENTS + 8),
        _line(_EQUAL, _TIOCSTI, 2, 0),
        _line(_EQUAL, _TIOCLINUX, 1, 0),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _KILL_PROCESS),
        _line(_EQUAL, prlimit, 0, 4),
        _line(_LOAD, _ARGUMENTS),
        _line(_EQUAL, 0, 0, 1),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _KILL_PROCESS),
    ]


def _unless_equal(value: int, action: int) -> list[bytes]:
    return [_line(_EQUAL, value, 1, 0), _line(_RETURN, action)]


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one instruction, struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
