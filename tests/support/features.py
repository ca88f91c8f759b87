"""Mounts that this kernel allows this process, found by trying: for tests that need them, or report on a host."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from arstore.linux.features import YES, Answer, _configured, _no, layers_by_fd, takes_lower_append
from arstore.linux.mounting import mount

if TYPE_CHECKING:
    from collections.abc import Iterator


class Features(NamedTuple):
    """All results together."""

    mount_api: Answer
    lower_append: Answer
    layers_by_fd: Answer
    overlay: Answer
    erofs_file: Answer
    detached_clones: Answer


def probe(directory: str | None = None) -> Features:
    """Try everything; overlay and EROFS with small files in a temporary directory below *directory*."""
    detached = detached_clones()
    return Features(mount_api(), lower_append(), layers_by_fd(), overlay(directory), erofs_file(directory), detached)


def mount_api() -> Answer:
    """Whether fsopen(2) and its companions are there (Linux 5.2); needs no privilege."""
    if mount.fsconfig_known():
        return YES
    return Answer(False, "the kernel is older than 5.2, or a filter hides its mount calls")


def lower_append() -> Answer:
    """Whether overlayfs takes its layers one per call, as `lowerdir+` (Linux 6.7)."""
    try:
        with _configured("overlay") as fs_fd:
            if takes_lower_append(fs_fd):
                return YES
            return Answer(False, "overlayfs of this kernel has no lowerdir+ (before 6.7)")
    except OSError as error:
        return _no("overlay", error)


def detached_clones() -> Answer:
    """Whether a detached mount can be cloned, also one that another process holds (Linux 6.15)."""
    try:
        mount_fd = mount.open_tree("/")
    except OSError as error:
        return _no("bind", error)
    try:
        os.close(mount.open_tree("", mount_fd, mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH))
    except OSError:
        return Answer(False, "this kernel clones no mount that is not attached (before 6.15)")
    finally:
        os.close(mount_fd)
    return YES


def overlay(directory: str | None = None, *, writable: bool = False, userxattr: bool = False) -> Answer:
    """Whether this process can mount an overlay of directories below *directory* (the usual temporary one), at all.

    *writable*: with an upper directory too, which not every file system can be.
    """
    try:
        with _scratch(directory) as scratch:
            for name in ("0", "1", "u", "w"):
                os.mkdir(f"{scratch}/{name}")
            options = {"lowerdir": "0:1"} | ({"upperdir": "u", "workdir": "w"} if writable else {})
            try:
                _try_new_api(scratch, options, userxattr)
            except OSError as error:
                if error.errno not in {errno.ENOSYS, errno.EPERM}:
                    raise
                _try_old_api(scratch, options, userxattr)
    except OSError as error:
        return _no("overlay", error)
    return YES


def erofs_file(directory: str | None = None) -> Answer:
    """Whether an EROFS image that is a plain file below *directory* can be mounted without a loop device (Linux 6.12).

    The tried file is not an image: a kernel that opens it reports EINVAL, one that wants a block device ENOTBLK.
    """
    try:
        with _scratch(directory) as scratch:
            path = f"{scratch}/0"
            with open(path, "wb") as file:
                file.truncate(1 << 16)
            with _configured("erofs") as fs_fd:
                mount.fsconfig_string(fs_fd, "source", path)
                mount.fsconfig_create(fs_fd)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return YES
        if error.errno == errno.ENOTBLK:
            return Answer(False, "erofs wants a block device here (before 6.12, or a file system without support)")
        return _no("erofs", error)
    return YES


def _try_new_api(scratch: str, options: dict[str, str], userxattr: bool) -> None:
    """Make the overlay and close it again: a detached mount ends with its descriptor."""
    scratch_fd = os.open(scratch, os.O_PATH)
    try:
        with _configured("overlay") as fs_fd:
            for key, names in options.items():
                # Paths through the descriptor are short and contain no colon.
                value = ":".join(f"/proc/self/fd/{scratch_fd}/{name}" for name in names.split(":"))
                mount.fsconfig_string(fs_fd, key, value)
            if userxattr:
                mount.fsconfig_flag(fs_fd, "userxattr")
            mount.fsconfig_create(fs_fd)
            os.close(mount.fsmount(fs_fd))
    finally:
        os.close(scratch_fd)


def _try_old_api(scratch: str, options: dict[str, str], userxattr: bool) -> None:
    """Without detached mounts: make a real one inside the scratch directory, for a moment only."""
    scratch_fd = os.open(scratch, os.O_PATH)
    try:
        words = [
            f"{key}=" + ":".join(f"/proc/self/fd/{scratch_fd}/{name}" for name in names.split(":"))
            for key, names in options.items()
        ]
        mount.mount("overlay", scratch, "overlay", 0, ",".join([*words, "userxattr"] if userxattr else words))
        mount.umount(scratch, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
    finally:
        os.close(scratch_fd)


@contextlib.contextmanager
def _scratch(directory: str | None) -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="features.", dir=directory) as path:
        yield path
