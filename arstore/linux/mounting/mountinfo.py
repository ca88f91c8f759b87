"""/proc/PID/mountinfo, proc_pid_mountinfo(5): what is mounted where, as this process sees it.

Mounts may be added and removed while the file is read, so a listing may miss one. `mount_at` asks for one place and is
exact.
"""

from __future__ import annotations

import os

from arstore.pattern import pattern
from arstore.values import NamedTuple

_ESCAPE = pattern(rb"\\([0-7]{3})")
_CHUNK = 1 << 16


class MountInfo(NamedTuple):
    """One line. Text is decoded like file names; options are as the kernel writes them, comma-separated."""

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
    """Return all mounts that this process, or process *pid*, can reach, in the kernel's order.

    Raises OSError: ENOENT when the process does not exist, EACCES when we may not read it.
    """
    return [parse(line) for line in _read_whole(f"/proc/{'self' if pid is None else pid}/mountinfo").splitlines()]


def find_mounts(source: str, pid: int | None = None) -> list[MountInfo]:
    """Return the mounts of `read_mounts` whose device is called *source*; others are not even decoded.

    *source* must not contain characters that the kernel escapes: blanks, backslashes, newlines. Raises OSError.
    """
    wanted = b" " + os.fsencode(source) + b" "
    lines = _read_whole(f"/proc/{'self' if pid is None else pid}/mountinfo").splitlines()
    return [found for line in lines if wanted in line and (found := parse(line)).source == source]


def mount_at(path: str) -> MountInfo | None:
    """Return the mount whose root is *path*, the topmost if several are stacked; None if it is not a mount point.

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
    """Return the mount that *path* (or an open descriptor) is on; None if the table does not have it.

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
    """Return the id of the mount that *path* leads to; the topmost where several are stacked.

    Raises OSError when *path* cannot be opened.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return mount_id_of(fd)
    finally:
        os.close(fd)


def mount_id_of(fd: int) -> int:
    """Return the id of the mount of *fd*; -1 if unknown. The table lacks detached mounts, and those elsewhere."""
    for line in _read_whole(f"/proc/self/fdinfo/{fd}").splitlines():
        name, _, number = line.partition(b":")
        if name == b"mnt_id":
            return int(number)
    return -1


def parse(line: bytes) -> MountInfo:
    """Parse one line of the file.

    Raises ValueError for a line that no kernel writes.
    """
    # Blanks in fields are escaped, so a blank and a hyphen end the optional fields. A source may be empty.
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
    """Read the whole file, unbuffered: the faster the reads, the fewer changes of the table between them."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts: list[bytes] = []
        while data := os.read(fd, _CHUNK):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(fd)
