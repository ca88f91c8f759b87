"""Confinement: the privileges that a worker keeps while it reads untrusted bytes.

A worker opens its inputs, imports the modules that it needs, enters its confinement, and only then reads. From then on
it has its open files and one directory to work in; the kernel permits little else:

                            index form                              directory form
    capabilities            none                                    those that set owners, modes, devices, attributes
    root directory          unchanged                               the ingest, on a mount without devices and set-ID
    Landlock                writes files in the ingest, reads it     makes anything in the ingest
    seccomp                 no programs, processes, sockets, mounts, signals, keys, ...
                            no modes, owners, links, removals       -

Work that only reads, to inflate an archive or to check the store, is confined like the first column, without a place to
write in. Work that fetches may also use sockets; it keeps no open regular files, and may open only the files that
connections need.

Each layer is used where the kernel has it and skipped where it does not: Landlock from Linux 5.13 on; the change of
root where attributes can be set without /proc (6.13) and the process may mount and chroot; seccomp on the architectures
that `linux.isolation.seccomp` knows. A forbidden call ends the worker (SIGSYS) or fails with an error; either way the
import fails with a one-line error. All of it is per thread, so it is entered before threads are started.

Not here: limits on memory and time, and what the parent does with a worker's answers.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
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
"""Capabilities that extracting files needs; CAP_SYS_ADMIN is for the attributes `trusted.*`, above all opaque marks."""

_CALLS = frozenset(seccomp.names())
_NEVER = _CALLS - seccomp.MODIFYING
"""Calls that neither kind of work needs."""

_SOCKETS = frozenset({"bind", "connect", "recvmsg", "sendmsg", "socket", "socketpair"})
"""Calls that connections and name resolution (a netlink socket among them) need."""
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
    """A directory to work in ("" for none), and the privileges of the work.

    Made by `reading`, `writing`, `making` and `fetching`. `readable` lists other files and directories that may be
    opened for reading; `capabilities` is a bit mask; `sockets` permits connections.
    """

    directory: str
    capabilities: int
    readable: tuple[str, ...] = ()
    change_root: bool = False
    sockets: bool = False

    @property
    def making_files(self) -> bool:
        """Whether the work does more than write plain files."""
        return self.capabilities == MAKING

    def inside(self, path: str) -> str:
        """Return the name of *path*, which is below the directory, after `enter`, which may close the way to it."""
        return os.path.relpath(path, self.directory)

    def shed(self) -> None:
        """Close every open directory, because names outside could be reached through it; for fetching, files too.

        Done only where the root directory changes: elsewhere Landlock guards them. Raises OSError.
        """
        if not (self.change_root or self.sockets):
            return
        for fd in map(int, os.listdir("/proc/self/fd")):
            with suppress(OSError):
                mode = os.fstat(fd).st_mode
                if stat.S_ISDIR(mode) or (self.sockets and stat.S_ISREG(mode) and fd > 2):
                    os.close(fd)

    def enter(self) -> None:
        """Give up all other privileges for good, and change to the directory, if there is one.

        Steps that a filter around a container forbids are skipped. Raises OSError.
        """
        # Ask now: /proc may be out of reach after the next steps.
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
                # A missing path, such as the library of a program that bundles its own, needs no permission.
                with suppress(FileNotFoundError, NotADirectoryError):
                    access = _READ if os.path.isdir(path) else landlock.READ_FILE
                    landlock.allow_path(ruleset, path, access)
            landlock.restrict_self(ruleset)
        finally:
            os.close(ruleset)


def reading(*readable: str, attributes: bool = False) -> Confinement:
    """Return a confinement for work that reads open files, and files below *readable*, and writes to open files.

    It reads the files of all owners. With *attributes* it sees `trusted.*` attributes, which only root can. Modules of
    arstore can still be imported.
    """
    kept = capability.mask(capability.CAP_DAC_READ_SEARCH) if readable else 0
    if attributes:
        kept |= capability.mask(capability.CAP_SYS_ADMIN)
    return Confinement("", kept, (*readable, _library(), os.path.dirname(os.path.dirname(__file__))))


def writing(directory: str, *readable: str) -> Confinement:
    """Return a confinement for work that writes plain files in *directory*, and reads *readable* and open files."""
    return Confinement(directory, 0, (*readable, _library()))


def making(directory: str, *readable: str) -> Confinement:
    """Return a confinement for work that makes all kinds of files in *directory*; *readable* keeps the old root."""
    return Confinement(directory, MAKING, (*readable, _library()), not readable and _may_change_root())


def fetching(*readable: str) -> Confinement:
    """Return a confinement for work that reads from its own connections and *readable*, and writes to pipes."""
    own = os.path.dirname(os.path.dirname(__file__))
    return Confinement("", 0, (*readable, *_RESOLVING, _library(), own), sockets=True)


def means() -> str:
    """Return the means of confinement that this host has, for people; "" for none."""
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
    """Run *action*; return False when the kernel lacks it, or the kernel or a filter forbids it. Raises OSError."""
    try:
        action()
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        return False
    return True


def _change_root() -> None:
    """Make the working directory the root, on a bind mount of it without devices, set-ID bits and execution.

    Where mounting is forbidden (by a filter around a container), the root is on the directory's own mount.
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
    """The standard library: some of its modules are imported only in rare cases."""
    return os.path.dirname(os.__file__)
