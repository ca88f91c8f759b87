"""Faults: signals that the kernel sends because an instruction cannot go on, and the file that was being read.

Memory that maps a file (mmap) is read without a system call, so a failure there has no errno. It is a signal: SIGBUS
when the file ends too early, or its disk fails or is full; SIGSEGV when damaged bytes were taken for an address;
SIGABRT when the reading code found the damage itself. Python's `signal` cannot handle these: its handlers wait for the
instruction to end. Here the kernel calls the handler, through libffi, in the middle of the instruction. The interrupted
C code must therefore hold no lock that Python needs, which is true of code that only reads memory.

`_ctypes` is used without `ctypes`, whose import takes 2 ms in every command that opens a store.
"""

from __future__ import annotations

import _ctypes
import os
from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SIGABRT, SIGBUS, SIGFPE, SIGSEGV = 6, 7, 8, 11
_NUMBERS = (SIGABRT, SIGBUS, SIGFPE, SIGSEGV)

_MACHINES = frozenset({"x86_64", "aarch64", "ppc64le", "riscv64", "loongarch64"})
"""Machines whose `struct sigaction` is as below, in glibc and musl: handler, 128 bytes of mask, flags, restorer."""

_ACTION_SIZE, _FLAGS_AT = 152, 136
_SA_SIGINFO = 4
_FULLY_BUFFERED = 0
"""_IOFBF."""
_CODE_AT, _ADDRESS_AT = 8, 16
"""Offsets in `siginfo_t` of si_code, and of si_addr or the sender's pid, in bytes on 64-bit machines."""


class Fault(NamedTuple):
    """A fault: signal number, address, the file mapped there ("" for none), and the offset in that file in bytes."""

    number: int
    address: int
    file: str
    offset: int


if TYPE_CHECKING:
    _Simple = _ctypes._SimpleCData[int]
    _Array = _ctypes.Array[_ctypes._SimpleCData[int]]
else:
    _Simple, _Array = _ctypes._SimpleCData, _ctypes.Array


class _Int(_Simple):
    _type_ = "i"


class _Address(_Simple):
    _type_ = "P"


class _Word(_Simple):
    _type_ = "L"


class _Buffer(_Array):
    _type_ = _Word
    _length_ = 512


class _Handler(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _argtypes_ = (_Int, _Address, _Address)
    _restype_ = None


class _Call(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Int


_buffer = _Buffer()
"""Buffer of C's stderr while the handler is installed."""

_act: Callable[[Fault], None] | None = None
_installed: tuple[_Handler, Callable[[int, bytes | None], int]] | None = None
"""The handler, which must live as long as the kernel knows it, and a caller of sigaction(2)."""


def handle(act: Callable[[Fault], None]) -> bool:
    """Call *act* at the next fault of this process, or of a process that it forks.

    Return False where this machine does not permit that. *act* ends the process. When it returns, or faults itself, the
    signal ends the process as usual; so does a signal that was sent by kill(2).
    """
    global _act, _installed
    if _installed is None:
        if os.uname().machine not in _MACHINES:
            return False
        try:
            _installed = _install()
        except (AttributeError, OSError, MemoryError):  # memory that is both writable and executable is forbidden here
            return False
    _act = act
    return True


def _install() -> tuple[_Handler, Callable[[int, bytes | None], int]]:
    program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None is the program
    function = _Call(_ctypes.dlsym(program, "sigaction"))
    # A C assertion writes a message before it aborts. It stays in this buffer and is lost: we report the error instead.
    stream = _Word.from_address(_ctypes.dlsym(program, "stderr"))
    setvbuf = _Call(_ctypes.dlsym(program, "setvbuf"))
    setvbuf(_Address(stream.value), _buffer, _FULLY_BUFFERED, _Word(_ctypes.sizeof(_buffer)))

    def sigaction(number: int, action: bytes | None) -> int:
        result: int = function(number, action or bytes(_ACTION_SIZE), None)
        return result

    handler = _Handler(_caught)
    action = bytearray(_ACTION_SIZE)
    action[:8] = _Word.from_buffer(handler).value.to_bytes(8, "little")
    action[_FLAGS_AT : _FLAGS_AT + 4] = _SA_SIGINFO.to_bytes(4, "little")
    for number in _NUMBERS:
        sigaction(number, bytes(action))
    return handler, sigaction


def _caught(number: int, information: int, _context: int) -> None:
    """Handle a signal. A return goes back to the instruction that faulted, which then faults again."""
    global _act
    act, _act = _act, None
    code = _Int.from_address(information + _CODE_AT).value
    address = _Word.from_address(information + _ADDRESS_AT).value
    # abort(3) also sends its signal, but to its own process.
    sent = code <= 0 and (number != SIGABRT or address & 0xFFFFFFFF != os.getpid())
    try:
        if act is not None and not sent:
            act(Fault(number, address, *_mapped(address)))
    except BaseException:  # no caller could catch it
        pass
    if _installed is not None:
        _installed[1](number, None)
    if sent:
        os.kill(os.getpid(), number)


def _mapped(address: int) -> tuple[str, int]:
    """Return the file that is mapped at *address* and the offset in it; "" for none, or where /proc is missing."""
    try:
        with open("/proc/self/maps", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return "", 0
    for line in lines:
        fields = line.split(None, 5)
        start, _, end = fields[0].partition(b"-")
        if int(start, 16) <= address < int(end, 16):
            path = os.fsdecode(fields[5]) if len(fields) == 6 else ""
            return path, int(fields[2], 16) + address - int(start, 16)
    return "", 0
