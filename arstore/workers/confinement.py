"""What a worker may still do while it reads bytes that a stranger has made.

A worker opens what it reads from, imports what it needs, enters its confinement, and only then reads. Afterwards it has
what is open, one directory to work in, and the kernel's permission for little else:

                            index form                              directory form
    capabilities            none                                    those that set owners, modes, devices, attributes
    root directory          as before                               the ingest, on a mount without devices and set-ID
    Landlock                writes files in the ingest, reads it     makes anything in the ingest
    seccomp                 no programs, processes, sockets, mounts, signals, keys, ...
                            no modes, owners, links, removals       -

Work that only reads, to inflate an archive or to check the store, is like the first without a place to write in. Work
that fetches has sockets besides, no file that was open before, and of the others those that connections need.

Each layer is taken where the kernel has it and left out where it has not: Landlock from Linux 5.13 on, the change of
root where attributes can be set without /proc (6.13) by somebody who may mount and chroot, seccomp on the
architectures that `linux.isolation.seccomp` knows. What is asked for and not permitted ends the worker (SIGSYS) or is
an error of its own; either way the import fails in one line. Everything is per thread: it is entered before threads are
started.

Out of scope: limits on memory and time, and whatever the parent does with what a worker answers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.linux.files.xattr import has_calls_by_descriptor
from arstore.linux.isolation import capability, landlock, seccomp
from arstore.linux.mounting import mount
from arstore.linux.process import set_no_new_privileges
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAKING = capability.mask(
    capability.CAP_CHOWN,
    capability.CAP_DAC_OVERRIDE,
    capability.CAP_FOWNER,
    capability.CAP_FSETID,
    capability.CAP_MKNOD,
    capability.CAP_SETFCAP,
    capability.CAP_SYS_ADMIN,
)
"""What extracting files takes; CAP_SYS_ADMIN for the attributes `trusted.*`, opaque marks above all."""

_CALLS = frozenset(seccomp.names())
_NEVER = _CALLS - seccomp.MODIFYING
"""What neither kind of work asks for."""

_SOCKETS = frozenset({"bind", "connect", "recvmsg", "sendmsg", "socket", "socketpair"})
"""What connections and name resolution (a netlink socket among them) take."""
_RESOLVING = (
    *(f"/etc/{name}" for name in ("resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "services")),
    *(f"/etc/{name}" for name in ("ssl", "pki", "ca-certificates", "crypto-policies", "localtime", "ld.so.cache")),
    *("/run/systemd/resolve", "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"),
    *("/usr/share/ca-certificates", "/usr/share/zoneinfo", "/dev/urandom", "/dev/null"),
)
"""Files and directories that libc's resolver (which loads libraries), TLS and the standard library read."""

_NOT_HERE = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})

_READ = landlock.READ_FILE | landlock.READ_DIR
_WRITE = _READ | landlock.WRITE_FILE | landlock.MAKE_REG | landlock.TRUNCATE
_MAKE = (
    _WRITE
    | landlock.MAKE_DIR
    | landlock.MAKE_SYM
    | landlock.MAKE_FIFO
    | landlock.MAKE_CHAR
    | landlock.MAKE_BLOCK
    | landlock.REMOVE_FILE
    | landlock.REMOVE_DIR
    | landlock.REFER
)


class Confinement(NamedTuple):
    """A place to work in ("" for none), and the rights that the work takes. Made by `reading`, `writing`, `making` and
    `fetching`.

    `readable` holds the files and directories besides *directory* that may be opened for reading; `capabilities` is a
    bit mask; `sockets` lets connections be made.
    """

    directory: str
    capabilities: int
    readable: tuple[str, ...] = ()
    change_root: bool = False
    sockets: bool = False

    @property
    def making_files(self) -> bool:
        """Whether it takes more than to write plain files."""
        return self.capabilities == MAKING

    def inside(self, path: str) -> str:
        """What *path*, which lies below the directory, is called after `enter`: the way to it may be closed then."""
        return os.path.relpath(path, self.directory)

    def shed(self) -> None:
        """Close every directory that is open, through which names outside could be reached; before fetching, files too.

        Only where the root directory changes: elsewhere Landlock watches over them. Raises OSError.
        """
        if not (self.change_root or self.sockets):
            return
        for fd in map(int, os.listdir("/proc/self/fd")):
            with contextlib.suppress(OSError):
                mode = os.fstat(fd).st_mode
                if stat.S_ISDIR(mode) or (self.sockets and stat.S_ISREG(mode) and fd > 2):
                    os.close(fd)

    def enter(self) -> None:
        """Give up the rest, for good; the directory, if there is one, is the working directory then.

        What a filter around a container forbids is left out. Raises OSError.
        """
        # Asked now: /proc may be gone in a moment.
        filtered = seccomp.supported()
        set_no_new_privileges()
        if self.directory:
            os.chdir(self.directory)
        if self.change_root:
            _permitted(_change_root)
        _permitted(self._restrict_paths)
        _permitted(lambda: capability.keep_only(self.capabilities))
        if filtered:
            denied = _NEVER if self.making_files else _CALLS - _SOCKETS if self.sockets else _CALLS
            _permitted(lambda: seccomp.install(seccomp.program(denied)))

    def _restrict_paths(self) -> None:
        version = landlock.version()
        if not version:
            return
        ruleset = landlock.create_ruleset(version, connects=self.sockets)
        try:
            if self.directory:
                access = landlock.known(_MAKE if self.making_files else _WRITE, version)
                landlock.allow_path(ruleset, ".", access)
            for path in () if self.change_root else self.readable:
                # What is not there, like the library of a program that brings its own, needs no permission.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    access = _READ if os.path.isdir(path) else landlock.READ_FILE
                    landlock.allow_path(ruleset, path, access)
            landlock.restrict_self(ruleset)
        finally:
            os.close(ruleset)


def reading(*readable: str, attributes: bool = False) -> Confinement:
    """For work that reads what is open or below *readable*, whoever owns it, and writes to what is open.

    With *attributes* it sees those that only root does, `trusted.*`. Modules of arstore itself may be imported then.
    """
    kept = capability.mask(capability.CAP_DAC_READ_SEARCH) if readable else 0
    if attributes:
        kept |= capability.mask(capability.CAP_SYS_ADMIN)
    return Confinement("", kept, (*readable, _library(), os.path.dirname(os.path.dirname(__file__))))


def writing(directory: str, *readable: str) -> Confinement:
    """For work that writes plain files in *directory*, and reads what is open or below *readable*."""
    return Confinement(directory, 0, (*readable, _library()))


def making(directory: str, *readable: str) -> Confinement:
    """For work that makes files of every kind below *directory*; with *readable* it keeps its root directory."""
    return Confinement(directory, MAKING, (*readable, _library()), not readable and _may_change_root())


def fetching(*readable: str) -> Confinement:
    """For work that reads from connections which it makes itself, and writes to pipes; it also reads *readable*."""
    own = os.path.dirname(os.path.dirname(__file__))
    return Confinement("", 0, (*readable, *_RESOLVING, _library(), own), sockets=True)


def means() -> str:
    """What there is to confine workers with here, for people; "" when there is nothing."""
    version = landlock.version()
    found = [
        "fewer capabilities" if capability.effective() else "",
        "another root directory" if _may_change_root() else "",
        f"Landlock {version}" if version else "",
        "seccomp" if seccomp.supported() else "",
    ]
    return ", ".join(filter(None, found))


def _may_change_root() -> bool:
    needed = (capability.CAP_SYS_CHROOT, capability.CAP_SYS_ADMIN)
    return all(map(capability.has, needed)) and has_calls_by_descriptor()


def _permitted(action: Callable[[], None]) -> bool:
    """Do *action*; False when the kernel, or a filter, does not have it or does not let us. Raises OSError."""
    try:
        action()
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        return False
    return True


def _change_root() -> None:
    """Make the working directory the root, on a mount of it where no device can be opened and no program raises.

    Where mounting is forbidden (a filter around a container), it is the directory's own mount.
    """
    fd = -1
    try:
        fd = mount.open_tree(".")
        mount.mount_setattr(fd, add=mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    if fd < 0:
        fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chroot(f"/proc/self/fd/{fd}")
    os.chdir("/")
    os.close(fd)


def _library() -> str:
    """The standard library, whose modules are in part imported only when something rare is met."""
    return os.path.dirname(os.__file__)
