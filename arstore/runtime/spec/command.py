"""The command of a container: entrypoint and command combined, and looked up before anything is started.

The runtime does the real lookup and the kernel the real exec. The lookup here gives a missing command its own exit
status and error line, the same with every runtime. Files that a mount will cover cannot be checked here, and are left
to the runtime.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

from arstore.errors import CommandNotExecutableError, CommandNotFoundError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.oci.config import ImageConfig
    from arstore.runtime.spec.image_files import RootDirectory
    from arstore.runtime.spec.options import RunOptions

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_RUNTIME_MOUNTS = ("/proc", "/sys", "/dev")
_HEADER = 256
_INTERPRETER = 3
_LONGEST_PATH = 4096
_BINFMT = "/proc/sys/fs/binfmt_misc"
_MACHINES = {"x86_64": {62, 3}, "i686": {3}, "aarch64": {183, 40}, "armv7l": {40}, "riscv64": {243}, "s390x": {22}}
"""`e_machine` values of elf(5) that a kernel of each architecture may run."""


def container_args(config: ImageConfig, options: RunOptions) -> tuple[str, ...]:
    """Return the argument vector: entrypoint, then arguments or CMD.

    As in docker, an entrypoint in *options* clears the image's CMD, and an image's entrypoint of one empty word is
    ignored. Raises CommandNotFoundError if nothing is left, ImageConfigError if the image's part cannot be read.
    """
    if options.entrypoint is not None:
        args = tuple(options.entrypoint) + options.args
    else:
        for name in ("Entrypoint",) if options.args else ("Entrypoint", "Cmd"):
            config.require(name)
        entrypoint = () if config.entrypoint == ("",) else config.entrypoint
        args = tuple(entrypoint) + (options.args or tuple(config.cmd))
    if not args:
        why = "neither the image nor the command line names one"
        raise CommandNotFoundError("command", why, "add it after the image")
    return args


class Lookup(NamedTuple):
    """Where to look for a command: *search_path* in the form of PATH, *mounts* the paths that mounts cover."""

    root: RootDirectory
    search_path: str
    cwd: str
    mounts: tuple[str, ...] = ()

    def covered(self, path: str) -> bool:
        """Whether a mount may replace the image's file at *path*."""
        places = [*_RUNTIME_MOUNTS, *self.mounts, *(self.root.canonical(m) for m in self.mounts)]
        return _is_below(os.path.normpath(path), places) or _is_below(self.root.canonical(path), places)


def check_command(name: str, lookup: Lookup) -> None:
    """Require that *name*, the first of the arguments, can be executed.

    Raises CommandNotFoundError, also if the interpreter of a script or program is missing, and
    CommandNotExecutableError.
    """
    if not name:
        raise CommandNotFoundError("''", "the command's name is empty")
    refused: CommandNotExecutableError | None = None
    for path in _candidates(name, lookup):
        try:
            if lookup.covered(path):
                return
            about = lookup.root.stat(path)
        except OSError:
            continue
        if about is None:
            continue
        if stat.S_ISREG(about.st_mode) and about.st_mode & 0o111:
            _check_format(path, lookup)
            return
        why = "is a directory" if stat.S_ISDIR(about.st_mode) else "is not an executable file"
        refused = refused or CommandNotExecutableError(path, why)
    if refused is not None:
        raise refused
    where = "does not exist in the container" if "/" in name else "not found in the container's PATH"
    raise CommandNotFoundError(name, where)


def _candidates(name: str, lookup: Lookup) -> list[str]:
    if "/" in name:
        return [os.path.join(lookup.cwd, name)]
    if not lookup.search_path:
        return []
    return [os.path.join(lookup.cwd, directory, name) for directory in lookup.search_path.split(":")]


def _is_below(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(place.rstrip("/") + "/") for place in places)


def _check_format(path: str, lookup: Lookup) -> None:
    fd = lookup.root.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        head = os.pread(fd, _HEADER, 0)
        if head.startswith(b"#!"):
            words = head[2:].partition(b"\n")[0].split()
            interpreter = os.fsdecode(words[0]) if words else ""
        elif head.startswith(b"\x7fELF"):
            interpreter = _check_elf(path, fd, head)
        elif _foreign_formats():
            return
        else:
            raise CommandNotExecutableError(path, "is neither a program nor a script that begins with #!")
    finally:
        os.close(fd)
    if interpreter.startswith("/") and "\0" not in interpreter:
        _check_interpreter(path, interpreter, lookup)


def _check_interpreter(path: str, interpreter: str, lookup: Lookup) -> None:
    if not lookup.covered(interpreter) and lookup.root.stat(interpreter) is None:
        raise CommandNotFoundError(path, f"its interpreter {interpreter} does not exist in the container")


def _check_elf(path: str, fd: int, head: bytes) -> str:
    """Return the program's dynamic linker, "" if it has none or is damaged, which the kernel will report."""
    if len(head) < 64 or head[4] not in {1, 2} or head[5] not in {1, 2}:
        return ""
    order, wide = "<" if head[5] == 1 else ">", head[4] == 2
    machine = struct.unpack_from(order + "H", head, 18)[0]
    known = _MACHINES.get(_machine())
    if known is not None and machine not in known and not _foreign_formats():
        raise CommandNotExecutableError(path, "is a program for another kind of processor")
    if wide:
        offset, size, count = (*struct.unpack_from(order + "Q", head, 32), *struct.unpack_from(order + "HH", head, 54))
    else:
        offset, size, count = (*struct.unpack_from(order + "I", head, 28), *struct.unpack_from(order + "HH", head, 42))
    if not offset < 1 << 40:
        return ""
    headers = os.pread(fd, size * min(count, 128), offset)
    return _interpreter(fd, headers, size, order, wide)


def _interpreter(fd: int, headers: bytes, size: int, order: str, wide: bool) -> str:
    form, least = (order + "IIQQQQ", 40) if wide else (order + "IIIII", 20)
    if size < least:
        return ""
    for start in range(0, len(headers) - least + 1, size):
        fields: Sequence[int] = struct.unpack_from(form, headers, start)
        offset, length = (fields[2], fields[5]) if wide else (fields[1], fields[4])
        if fields[0] == _INTERPRETER and offset < 1 << 40 and length <= _LONGEST_PATH:
            return os.fsdecode(os.pread(fd, length, offset).partition(b"\0")[0])
    return ""


def _machine() -> str:
    return os.uname().machine


def _foreign_formats() -> bool:
    """Whether binfmt_misc may run programs that the kernel alone would not."""
    try:
        return bool(set(os.listdir(_BINFMT)) - {"register", "status"})
    except OSError:
        return False
