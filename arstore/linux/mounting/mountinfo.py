"""/proc/PID/mountinfo, proc_pid_mountinfo(5): what is mounted where, as this process sees it.

The kernel lets mounts come and go while the file is read, so a listing may miss one; `mount_at` asks for one place and
is exact.
"""

from __future__ import annotations

import os
import re

from arstore.values import NamedTuple

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_MOUNT_ID = re.compile(rb"^mnt_id:\s*(\d+)", re.MULTILINE)
_CHUNK = 1 << 16


class MountInfo(NamedTuple):
    """One line. Text is decoded as file names are; options are as the kernel writes them, comma-separated."""

    mount_id: int
    parent_id: int
    major: int
    minor: int
    root: str
    mount_point: str
    options: str
    propagation: tuple[str, ...]
    fs_type: str
    source: str
    super_options: str

    @property
    def read_only(self) -> bool:
        """Whether the mount or its superblock is read-only."""
        return "ro" in self.options.split(",") or "ro" in self.super_options.split(",")


def read_mounts(pid: int | None = None) -> list[MountInfo]:
    """All mounts that this process, or process *pid*, can reach, in the kernel's order.

    Raises OSError: ENOENT when there is no such process, EACCES when it is not ours to read.
    """
    return [parse(line) for line in _read_whole(f"/proc/{'self' if pid is None else pid}/mountinfo").splitlines()]


def find_mounts(source: str, pid: int | None = None) -> list[MountInfo]:
    """The mounts whose device is called *source*, out of those of `read_mounts`; others are not even decoded.

    *source* must hold nothing that the kernel escapes: blanks, backslashes, newlines. Raises as `read_mounts`.
    """
    wanted = b" " + os.fsencode(source) + b" "
    lines = _read_whole(f"/proc/{'self' if pid is None else pid}/mountinfo").splitlines()
    return [found for line in lines if wanted in line and (found := parse(line)).source == source]


def mount_at(path: str) -> MountInfo | None:
    """The mount whose root *path* leads to, the topmost where several are stacked; None when it is no mount point.

    Raises OSError when *path* cannot be opened.
    """
    fd = os.open(path, os.O_PATH)
    try:
        mount_id = mount_id_of(fd)
        place = os.fsencode(os.readlink(f"/proc/self/fd/{fd}"))
        for line in _read_whole("/proc/self/mountinfo").splitlines():
            if line.startswith(b"%d " % mount_id):
                found = parse(line)
                return found if os.fsencode(found.mount_point) == place else None
    finally:
        os.close(fd)
    return None


def mount_below(path: str | int) -> MountInfo | None:
    """The mount that *path* (or an open descriptor) lies on; None when the table does not have it.

    Raises OSError when *path* cannot be opened, or there is no /proc.
    """
    fd = path if isinstance(path, int) else os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        beginning = b"%d " % mount_id_of(fd)
    finally:
        if fd != path:
            os.close(fd)
    for line in _read_whole("/proc/self/mountinfo").splitlines():
        if line.startswith(beginning):
            return parse(line)
    return None


def mount_id_at(path: str) -> int:
    """The id of the mount that *path* leads to, whether its root or not; the topmost where several are stacked.

    Raises OSError when *path* cannot be opened.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return mount_id_of(fd)
    finally:
        os.close(fd)


def mount_id_of(fd: int) -> int:
    """The id of the mount that *fd* was opened on; the table has none of a detached mount, or one elsewhere."""
    found = _MOUNT_ID.search(_read_whole(f"/proc/self/fdinfo/{fd}"))
    return int(found[1]) if found else -1


def parse(line: bytes) -> MountInfo:
    """One line of the file.

    Raises ValueError for what no kernel writes.
    """
    # Blanks within fields are escaped, so a blank and a hyphen end the optional fields; a source may be empty.
    left, _, right = line.rstrip(b"\n").partition(b" - ")
    mount_id, parent_id, device, root, point, options, *propagation = left.split(b" ")
    major, _, minor = device.partition(b":")
    fs_type, source, super_options = right.split(b" ", 2)
    return MountInfo(
        mount_id=int(mount_id),
        parent_id=int(parent_id),
        major=int(major),
        minor=int(minor),
        root=_unescaped(root),
        mount_point=_unescaped(point),
        options=_unescaped(options),
        propagation=tuple(_unescaped(p) for p in propagation if p),
        fs_type=_unescaped(fs_type),
        source=_unescaped(source),
        super_options=_unescaped(super_options),
    )


def _unescaped(field: bytes) -> str:
    if b"\\" not in field:
        return os.fsdecode(field)
    return os.fsdecode(_ESCAPE.sub(lambda m: bytes([int(m[1], 8) & 0xFF]), field))


def _read_whole(path: str) -> bytes:
    """The whole file, unbuffered: the less time passes between the calls, the less the table changes."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts: list[bytes] = []
        while data := os.read(fd, _CHUNK):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(fd)
