"""The file system of a path: its type, and whether it can be written to.

statfs(2) returns a number and mountinfo has a name; the name is used, because file systems in user space share one
number. A major device number of 0 belongs to a file system without a block device. Only then the type is looked up, so
that the usual case takes one stat(2).
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from arstore.linux.mounting.mountinfo import mount_below

if TYPE_CHECKING:
    from arstore.linux.mounting.mountinfo import MountInfo

_OVER_NETWORKS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre", "beegfs", "gpfs"),
        *("orangefs", "pvfs2", "9p", "glusterfs", "davfs"),
    }
)
"""Types of file systems that several hosts can mount at once; without those on a shared disk (GFS2, OCFS2)."""
_OF_PROGRAMS = frozenset(
    {
        *("sshfs", "glusterfs", "ceph", "ceph-fuse", "s3fs", "rclone", "gcsfuse", "goofys", "juicefs", "curlftpfs"),
        *("smbnetfs", "moosefs", "mfs", "mfsmount", "lizardfs", "cvmfs2", "blobfuse", "blobfuse2", "vmhgfs-fuse"),
        *("fuse-nfs", "nfs", "afp", "afpfs", "seaweedfs", "mount-s3", "davfs", "kio-fuse", "gvfsd-fuse"),
    }
)
"""The same in user space (FUSE), where the type is `fuse.` and one of these."""

_STACKED = ("overlay", "ecryptfs", "fuse", "virtiofs", "unionfs", "aufs")
"""Prefixes of the types of file systems that may be read-only while their content can change."""

_SUBVOLUME_INFO, _INFO_SIZE, _FLAGS_AT = 0x81F8943C, 504, 288
"""BTRFS_IOC_GET_SUBVOL_INFO (Linux 4.18), the size of its structure and the offset of its flags (linux/btrfs.h)."""
_SUBVOLUME_READ_ONLY = 1


def is_overlay(path: str) -> bool:
    """Return whether *path* is on an overlay. Raises OSError when it cannot be opened."""
    found = _unusual(path)
    return found is not None and found.fs_type == "overlay"


def network_type(path: str) -> str:
    """Return the type of the network file system of *path*; "" for other file systems. Raises OSError."""
    found = _unusual(path)
    return found.fs_type if found is not None and _is_over_network(found.fs_type) else ""


def _is_over_network(fs_type: str) -> bool:
    return fs_type in _OVER_NETWORKS or (fs_type.startswith("fuse.") and fs_type[len("fuse.") :] in _OF_PROGRAMS)


def is_read_only(path: str) -> bool:
    """Return whether no user can write at *path*: the mount, the file system or the subvolume is read-only."""
    try:
        return not os.access(path, os.W_OK) and bool(os.statvfs(path).f_flag & os.ST_RDONLY or _says_read_only(path))
    except OSError:
        return False


def nobody_can_write(path: str) -> bool:
    """Return whether *path* cannot be changed by any process, through any mount.

    True if the file system itself is mounted read-only and does not show files of another one, and in a read-only
    subvolume of btrfs. A read-only mount is not enough, because there may be others. Raises OSError.
    """
    if _says_read_only(path):
        return True
    found = mount_below(path)
    if found is None or _is_over_network(found.fs_type) or found.fs_type.startswith(_STACKED):
        return False
    return "ro" in found.super_options.split(",")


def _says_read_only(path: str) -> bool:
    """Return whether *path* is in a read-only subvolume of btrfs."""
    found = _unusual(path)
    if found is None or found.fs_type != "btrfs":
        return False
    import fcntl

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(fd, _SUBVOLUME_INFO, bytes(_INFO_SIZE))
    except OSError:
        return False  # an older kernel
    finally:
        os.close(fd)
    return bool(struct.unpack_from("=Q", answer, _FLAGS_AT)[0] & _SUBVOLUME_READ_ONLY)


def _unusual(path: str) -> MountInfo | None:
    """Return the mount of *path* if its file system has no block device; None otherwise, and without /proc."""
    if os.major(os.stat(path).st_dev):
        return None
    return mount_below(path)
