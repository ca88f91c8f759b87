"""Calls into libc: system calls by number, libc functions by name.

A failure becomes an OSError with its errno and the file name that the caller gave. System calls from 424 up have the
same numbers on every architecture, and only those are called by number, because glibc before 2.36 has no wrappers for
them. ctypes releases the GIL during the call. `_ctypes` is used without `ctypes`, as in `faults`.
"""

from __future__ import annotations

import _ctypes
import errno
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Simple = _ctypes._SimpleCData[int]
else:
    _Simple = _ctypes._SimpleCData

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


class _Word(_Simple):
    _type_ = "P"


class _Long(_Simple):
    _type_ = "l"


class _Int(_Simple):
    _type_ = "i"


class _Char(_Simple):
    _type_ = "c"


LONG_SIZE = _ctypes.sizeof(_Long)
"""Bytes of a C long."""


class Buffer:
    """*size* bytes at `address`, zero at first, for the kernel to write to."""

    def __init__(self, size: int) -> None:
        self._array = _array(size)()
        self.address = _ctypes.addressof(self._array)

    @property
    def raw(self) -> bytes:
        """The bytes."""
        return bytes(memoryview(self._array))


@cache
def _array(size: int) -> type[_ctypes.Array[Any]]:
    return type(f"_Bytes{size}", (_ctypes.Array,), {"_type_": _Char, "_length_": size})


class _Call(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _LongCall(_ctypes.CFuncPtr):
    _flags_ = _Call._flags_
    _restype_ = _Long


@cache
def _function(name: str, count: int) -> tuple[Callable[..., int], Callable[[], int]]:
    """Return the libc function *name* for *count* arguments, and a function that returns errno after a call.

    Arguments are declared as void pointers: a whole machine word each, for which ctypes takes integers, bytes and None.
    """
    try:
        address = _ctypes.dlsym(_program(), name)
    except OSError:
        return _missing, lambda: errno.ENOSYS
    function = (_LongCall if name == "syscall" else _Call)(address)
    function.argtypes = [_Word] * count
    return function, _ctypes.get_errno


def _missing(*_: Argument) -> int:
    """Replacement for a function that this libc lacks."""
    return -1


@cache
def _program() -> int:
    """A handle to all symbols of this process."""
    return _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None is this process; typeshed lacks it
