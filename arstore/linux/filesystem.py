"""What a path lies on: the kind of its file system, and whether anybody can write there.

statfs(2) tells a number and mountinfo a name; the name is used, because file systems in user space share one number.
Device numbers with a major number of 0 belong to file systems without a block device, so only for these it is looked up
whether they are of a kind that needs care: that keeps the ordinary case at one stat(2).
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

from arstore.linux.mountinfo import mount_below

if TYPE_CHECKING:
    from arstore.linux.mountinfo import MountInfo

_OVER_NETWORKS = frozenset(
    """nfs nfs4 cifs smb3 smbfs ncpfs afs coda ceph lustre gfs2 ocfs2 beegfs gpfs orangefs pvfs2 9p glusterfs acfs
    fuse.sshfs fuse.glusterfs fuse.ceph fuse.ceph-fuse fuse.s3fs fuse.rclone fuse.gcsfuse fuse.goofys fuse.juicefs
    fuse.davfs fuse.curlftpfs fuse.smbnetfs fuse.moosefs fuse.mfs fuse.lizardfs fuse.cvmfs2 fuse.blobfuse
    fuse.blobfuse2 fuse.vmhgfs-fuse fuse.fuse-nfs fuse.nfs fuse.afp fuse.seaweedfs fuse.mount-s3 davfs""".split()
)
"""Types of file systems that several hosts can have mounted at once."""

_STACKED = ("overlay", "ecryptfs", "fuse", "virtiofs", "unionfs", "aufs")
"""What the types begin with of file systems that are read-only themselves while what they show is not."""

_GET_FLAGS = 0x80089419
"""BTRFS_IOC_SUBVOL_GETFLAGS of linux/btrfs.h."""
_SUBVOLUME_READ_ONLY = 2


def is_overlay(path: str) -> bool:
    """Whether *path* lies on an overlay. Raises OSError when it cannot be opened."""
    found = _unusual(path)
    return found is not None and found.fs_type == "overlay"


def network_type(path: str) -> str:
    """The type of the network file system that *path* lies on; "" for any other. Raises OSError."""
    found = _unusual(path)
    return found.fs_type if found is not None and found.fs_type in _OVER_NETWORKS else ""


def is_read_only(path: str) -> bool:
    """Whether nothing can be written at *path*, whoever asks: its mount, its file system or its subvolume forbids it."""
    try:
        return not os.access(path, os.W_OK) and bool(os.statvfs(path).f_flag & os.ST_RDONLY or _says_read_only(path))
    except OSError:
        return False


def nobody_can_write(path: str) -> bool:
    """Whether what lies at *path* can change for nobody, by whatever way it is reached.

    That is so where the file system itself is mounted read-only, and does not show files of another one, and in a
    read-only subvolume of btrfs. A mount that is read-only may be one of several. Raises OSError.
    """
    if _says_read_only(path):
        return True
    found = mount_below(path)
    if found is None or found.fs_type in _OVER_NETWORKS or found.fs_type.startswith(_STACKED):
        return False
    return "ro" in found.super_options.split(",")


def _says_read_only(path: str) -> bool:
    """Whether *path* lies in a subvolume of btrfs that is read-only."""
    import fcntl

    # Only the top of a subvolume answers, always inode 256.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(fd, _GET_FLAGS, bytes(8))
    except OSError as error:
        if error.errno in {errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}:
            return False
        raise
    finally:
        os.close(fd)
    return bool(struct.unpack("=Q", answer)[0] & _SUBVOLUME_READ_ONLY)


def _unusual(path: str) -> MountInfo | None:
    """The mount of *path* when its file system has no block device; None for others, and where there is no /proc."""
    if os.major(os.stat(path).st_dev):
        return None
    return mount_below(path)
