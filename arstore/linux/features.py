"""What this kernel lets this process mount, found out by trying on detached mounts that nobody sees.

Every function answers, for root, for an ordinary user and inside a container alike; none raises because of a refusal.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from arstore.linux.mounting import mount
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = "/"


class Answer(NamedTuple):
    """Yes, or no with the reason in words."""

    available: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.available


YES = Answer(True)


def takes_lower_append(fs_fd: int) -> bool:
    """Whether the overlay that is being configured there knows `lowerdir+`; costs a microsecond and changes nothing.

    It is set without the value that it needs. A kernel that knows it says that; one that does not (6.5) says so; before
    6.5, anything was taken down unread until the superblock was made.
    """
    try:
        mount.fsconfig_flag(fs_fd, "lowerdir+")
    except OSError:
        return not any("Unknown parameter" in line for line in mount.messages(fs_fd))
    return False


def layers_by_fd() -> Answer:
    """Whether overlayfs takes layers by O_PATH descriptor, and so detached mounts (Linux 6.15)."""
    try:
        with _configured("overlay") as fs_fd:
            root_fd = os.open(_ROOT, os.O_PATH | os.O_DIRECTORY)
            try:
                mount.fsconfig_fd(fs_fd, "lowerdir+", root_fd)
            except OSError:
                return Answer(False, "overlayfs of this kernel takes no O_PATH descriptors (before 6.15)")
            finally:
                os.close(root_fd)
    except OSError as error:
        return _no("overlay", error)
    return YES


@contextlib.contextmanager
def _configured(fs_type: str) -> Iterator[int]:
    fs_fd = mount.fsopen(fs_type)
    try:
        yield fs_fd
    finally:
        os.close(fs_fd)


def _no(fs_type: str, error: OSError) -> Answer:
    if error.errno == errno.ENODEV:
        return Answer(False, f"this kernel has no {fs_type} file system")
    if error.errno == errno.EPERM:
        return Answer(False, "this process may not mount (CAP_SYS_ADMIN is needed, and no filter against it)")
    return Answer(False, (error.strerror or str(error)).lower())
