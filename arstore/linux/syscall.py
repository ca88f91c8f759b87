"""Calls into libc: system calls by number, libc functions by name.

A failure becomes an OSError with its errno and the file name that the caller gave. System calls from 424 up have the
same numbers on every architecture, and only those are called by number, because glibc before 2.36 has no wrappers for
them. ctypes releases the GIL during the call.
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
"""Instead of a directory descriptor: relative names start from the working directory."""


def syscall(number: int, *arguments: Argument, what: str | bytes | None = None) -> int:
    """Make system call *number*; return its result, never negative. A call that a signal interrupted is repeated.

    Raises OSError, with *what* as its file name.
    """
    return _call("syscall", (number, *arguments), what)


def libc(name: str, *arguments: Argument, what: str | bytes | None = None) -> int:
    """Call the libc function *name*, which must return -1 and set errno when it fails.

    Raises OSError, with *what* as its file name; ENOSYS where this libc lacks the function.
    """
    return _call(name, arguments, what)


def c_string(text: str | bytes) -> bytes:
    """Return *text* as the kernel expects it, in the file system's encoding.

    Raises OSError (EINVAL) when it contains NUL, where the kernel would cut it short silently.
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
    """Return the libc function *name* for *count* arguments, and a function that returns errno after a call.

    Arguments are declared as void pointers: a whole machine word each, for which ctypes takes integers, bytes and None.
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
    """Replacement for a function that this libc lacks."""
    return -1


@functools.cache
def _library() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)
