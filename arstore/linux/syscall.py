"""The one door to libc: system calls by number, libc functions by name.

A failure becomes an OSError with its errno and the file name that the caller gave. Numbers from 424 up are the same on
every architecture, and those are the only ones used by number: glibc before 2.36 has no wrapper for them. ctypes
releases the GIL during the call.
"""

from __future__ import annotations

import errno
import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

Argument = int | bytes | None
"""An integer or flag word, a NUL-free string or packed structure that the kernel only reads, or a null pointer."""

AT_FDCWD = -100
"""In place of a directory descriptor: relative names start from the working directory."""


def syscall(number: int, *arguments: Argument, what: str | bytes | None = None) -> int:
    """System call *number*; its result, never negative.

    Raises OSError, with *what* as its file name. A call that a signal interrupted is made again.
    """
    return _call("syscall", (number, *arguments), what)


def libc(name: str, *arguments: Argument, what: str | bytes | None = None) -> int:
    """The libc function *name*, which must return -1 and set errno when it fails.

    Raises OSError, with *what* as its file name; ENOSYS where this libc has no such function.
    """
    return _call(name, arguments, what)


def c_string(text: str | bytes) -> bytes:
    """*text* as the kernel wants it, in the file system's encoding.

    Raises OSError (EINVAL) when it contains NUL, which would silently cut it short.
    """
    data = os.fsencode(text)
    if b"\0" in data:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), text)
    return data


def _call(name: str, arguments: tuple[Argument, ...], what: str | bytes | None) -> int:
    function, get_errno = _function(name, len(arguments))
    while True:
        result = function(*arguments)
        if result >= 0:
            return result
        code = get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), what)


@functools.cache
def _function(name: str, count: int) -> tuple[Callable[..., int], Callable[[], int]]:
    """The libc function *name* for so many arguments, and what tells errno after it.

    A void pointer is a whole word of the machine, and ctypes takes integers, bytes and None for one.
    """
    import ctypes

    try:
        function = _library()[name]
    except AttributeError:
        return _missing, lambda: errno.ENOSYS
    function.argtypes = [ctypes.c_void_p] * count
    function.restype = ctypes.c_long if name == "syscall" else ctypes.c_int
    return function, ctypes.get_errno


def _missing(*_: Argument) -> int:
    """In place of a function that this libc does not have."""
    return -1


@functools.cache
def _library() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)
