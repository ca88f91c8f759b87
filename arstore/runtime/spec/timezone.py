"""`--tz`: the time zone of a container.

Its /etc/localtime becomes a link to the image's description of the zone, as in podman. If the image has none, a copy of
the host's is mounted there; where the image's /etc/localtime is a link, the copy is written to the container instead,
because a mount would cover the link's target.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import HostError, UsageError
from arstore.pattern import pattern
from arstore.runtime.spec.sizes import refused

if TYPE_CHECKING:
    from arstore.runtime.spec.image_files import RootDirectory

LOCAL = "local"
PLACE = "/etc/localtime"

_ZONES = "/usr/share/zoneinfo"
_NAME = pattern(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,3}")
_LARGEST = 1 << 20
_MAGIC = b"TZif"


def check_timezone(name: str) -> str:
    """Return *name* if this host knows the time zone; `local` is the host's. Raises UsageError."""
    if name != LOCAL and (_NAME.fullmatch(name) is None or not os.path.isfile(f"{_ZONES}/{name}")):
        raise refused(name, "not a time zone of this host", f"{_ZONES} has them; local is the host's own")
    return name


def set_timezone(name: str, root: RootDirectory) -> bytes | None:
    """Set the time zone with this checked *name* in *root*; do nothing if it has no /etc.

    Return the content of a file to be mounted at PLACE, if that is necessary. Raises UsageError, HostError, OSError.
    """
    about = root.stat("/etc")
    if about is None or not stat.S_ISDIR(about.st_mode):
        return None
    target = "" if name == LOCAL else f"{_ZONES}/{name}"
    known = root.stat(target) is not None if target else False
    data = b"" if known else zone_file(name)
    directory = root.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not known and not _is_link("localtime", directory):
            return data
        with suppress(FileNotFoundError):
            os.unlink("localtime", dir_fd=directory)
        if known:
            os.symlink(f"..{target}", "localtime", dir_fd=directory)
            return None
        fd = os.open("localtime", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=directory)
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o644)
            file.write(data)
        return None
    finally:
        os.close(directory)


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def zone_file(name: str) -> bytes:
    """Return the content of /etc/localtime for a checked *name*. Raises UsageError, HostError."""
    path = PLACE if name == LOCAL else f"{_ZONES}/{name}"
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST)
    except FileNotFoundError:
        if name == LOCAL:
            # A host without the file has UTC (localtime(5)).
            return zone_file("UTC") if os.path.isfile(f"{_ZONES}/UTC") else b""
        raise UsageError(name, "not a time zone of this host") from None
    except OSError as error:
        raise HostError(path, str(error.strerror)) from error
    if not data.startswith(_MAGIC):
        raise HostError(path, "is not a description of a time zone")
    return data
