"""Mount features of this kernel that this process may use, found by trying them on detached mounts.

No function raises on a refusal: each returns an answer, for root, for an ordinary user and inside a container.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.linux.mounting import mount
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = "/"


class Answer(NamedTuple):
    """Yes; or no, with the reason in words."""

    available: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.available


YES = Answer(True)


def takes_lower_append(fs_fd: int) -> bool:
    """Return whether the overlay being configured on *fs_fd* knows `lowerdir+`. Takes a microsecond, changes nothing.

    The option is set without the value that it needs. A kernel that knows the option complains about the missing value;
    Linux 6.5 says that the option is unknown; earlier kernels accept any option until the superblock is made.
    """
    try:
        mount.fsconfig_flag(fs_fd, "lowerdir+")
    except OSError:
        return not any("Unknown parameter" in line for line in mount.messages(fs_fd))
    return False


def layers_by_fd() -> Answer:
    """Return whether overlayfs takes layers as O_PATH descriptors, and so detached mounts (Linux 6.15)."""
    try:
        with _configured("overlay") as fs_fd:
            root_fd = os.open(_ROOT, os.O_PATH | os.O_DIRECTORY)
            try:
                mount.fsconfig_fd(fs_fd, "lowerdir+", root_fd)
            except OSError:
                return Answer(False, "overlayfs of this kernel does not take O_PATH descriptors (Linux 6.15 does)")
            finally:
                os.close(root_fd)
    except OSError as error:
        return _no("overlay", error)
    return YES


@contextmanager
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
        return Answer(False, "this process may not mount: it needs CAP_SYS_ADMIN, and no filter that forbids mounting")
    return Answer(False, (error.strerror or str(error)).lower())
