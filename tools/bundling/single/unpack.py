"""The module `arstore_unpack` of the single file: the first start unpacks the modules into a cache directory.

A directory gets its name when it is whole and durable. So processes may unpack at the same time, and may be killed.
"""

import contextlib
import ctypes
import hashlib
import os
import py_compile
import shutil
import signal
import stat
import sys
import tempfile
import time
import zipfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bundling.single import boot
else:
    import arstore as boot

DIGEST = "@DIGEST@"
"""The SHA-256 of the inner archive."""
MACHINE = "@MACHINE@"
LIBC = "@LIBC@"

_ABANDONED = 24 * 3600
"""Seconds after which a directory that is not whole belongs to a process that is dead."""
_UNUSED = ("pygments/",)
"""Not compiled: large, and imported by nothing that arstore does."""
_CLEANED = ("/tmp/", "/var/tmp/")
"""Here, systemd-tmpfiles removes old files, unless they have the sticky bit."""


def unpack(archive: str, version: str, name: str) -> str:
    """Unpack the modules for *version* from *archive*; return the directory *name*, in the best place that works."""
    _check_machine(archive)
    directory, reasons = "", []
    # An interrupt is to remove what is unpacked, and to end the process without a traceback.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    mask = os.umask(0o022)
    try:
        for place in boot.places():
            try:
                directory = _unpack_into(place, archive, version, name)
                break
            except zipfile.BadZipFile:
                boot.fail(archive, "damaged", "copy it again")
            except OSError as error:
                reasons.append(f"{place}: {error.strerror or error}")
    except KeyboardInterrupt:
        os._exit(130)
    finally:
        os.umask(mask)
        signal.signal(signal.SIGINT, before)
    hint = "let ARSTORE_BUNDLE_CACHE name a directory to which only this user can write"
    if not directory:
        boot.fail(archive, f"cannot be unpacked ({', '.join(reasons)})", hint)
    return directory


def _check_machine(archive: str) -> None:
    try:
        libc = "linux" if os.confstr("CS_GNU_LIBC_VERSION") else "musl"
    except (ValueError, OSError):
        libc = "musl"
    here = f"{libc}-{os.uname().machine}" + ("" if sys.maxsize > 2**32 else " with a Python of 32 bits")
    if here != f"{LIBC}-{MACHINE}":
        boot.fail(archive, f"made for {LIBC}-{MACHINE}, and this is {here}", "make one for this platform")


def _unpack_into(place: str, archive: str, version: str, name: str) -> str:
    """Unpack into *place*, which is made if necessary. Raises BadZipFile, OSError."""
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(place, 0o755)
    if not boot.is_safe(place):
        raise OSError("another user can write to it")
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        raise OSError("mounted with noexec")
    _remove_abandoned(place)
    target = f"{place}/{name}"
    new = tempfile.mkdtemp(prefix=".new-", dir=place)
    try:
        _extract(archive, version, new)
        _compile(new, target)
        if place.startswith(_CLEANED):
            _protect(new)
        _synchronise(new)
        os.chmod(new, 0o755)
        try:
            os.rename(new, target)
        except OSError:
            # Another process was faster; or the directory is there, but not safe.
            if not boot.is_safe(target):
                raise OSError(f"another user can write to {name}") from None
        return target
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _remove_abandoned(place: str) -> None:
    for name in os.listdir(place):
        path = f"{place}/{name}"
        if name.startswith(".new-") and os.lstat(path).st_mtime < time.time() - _ABANDONED:
            shutil.rmtree(path, ignore_errors=True)


def _extract(archive: str, version: str, directory: str) -> None:
    """Write the files for all versions, and those for *version*. Raises BadZipFile, OSError."""
    with zipfile.ZipFile(archive) as outer, outer.open("modules.zip") as stream:
        if hashlib.sha256(stream.read()).hexdigest() != DIGEST:
            raise zipfile.BadZipFile
        stream.seek(0)
        with zipfile.ZipFile(stream) as inner:
            for member in inner.infolist():
                top, _, path = member.filename.partition("/")
                if top in ("all", version):
                    target = os.path.join(directory, path)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    with open(target, "wb") as file:
                        file.write(inner.read(member))


def _compile(directory: str, final: str) -> None:
    """Compile the modules, for their *final* directory. They never change, so Python need not look at the source."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)
            below = os.path.relpath(path, directory)
            if name.endswith(".py") and not below.startswith(_UNUSED):
                py_compile.compile(path, dfile=os.path.join(final, below), invalidation_mode=mode, quiet=2)


def _protect(directory: str) -> None:
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)
            os.chmod(path, stat.S_IMODE(os.lstat(path).st_mode) | stat.S_ISVTX)


def _synchronise(directory: str) -> None:
    """Make all files durable: after a power cut, the renamed directory must not have empty files."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(fd)
