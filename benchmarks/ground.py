"""The place of the measurements: a directory on the user's file system, in new namespaces, and the peers' root.

`Ground` expects to be the first process of new mount and PID namespaces (`__main__` sees to that). So every mount and
every process that a contender leaves ends with this process, however it ends. On a host with v1 hierarchies of control
groups, the v2 hierarchy is hidden, because crun refuses the hybrid; arstore and its peers see the same.
Peers from another root directory see the work directory as /mnt, the archives as /media, and an empty /run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from arstore.linux.files.sync import syncfs
from arstore.linux.mounting.mount import MNT_DETACH, MS_BIND, MS_REC, UMOUNT_NOFOLLOW, mount, umount
from arstore.linux.mounting.mountinfo import read_mounts
from benchmarks.measure import MeasurementError, UnavailableError
from benchmarks.process import end_orphans, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks.process import Command, Done

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHECKOUT = Path(__file__).resolve().parent.parent
_CGROUPS = "/sys/fs/cgroup"
_LEFT_BY_PODMAN = "libpod_parent"
_ATTEMPTS, _PAUSE = 10, 0.3


class Ground:
    """The directories of a run: *work* is empty and ours, *images* has the archives, *peers* is a root or ""."""

    def __init__(self, work: str, images: str, peers: str = "") -> None:
        self.work, self.images, self.peers = (os.path.realpath(path) if path else "" for path in (work, images, peers))

    def enter(self) -> None:
        """Make the mounts. Raises OSError."""
        mount("proc", "/proc", "proc")
        _hide_unified(_CGROUPS)
        self._make_places()
        if not self.peers:
            return
        mount(self.peers, self.peers, flags=MS_BIND)
        mount("proc", f"{self.peers}/proc", "proc")
        mount("tmpfs", f"{self.peers}/run", "tmpfs")
        mount("/dev", f"{self.peers}/dev", flags=MS_BIND | MS_REC)
        mount("/sys", f"{self.peers}/sys", flags=MS_BIND | MS_REC)
        mount(self.work, f"{self.peers}/mnt", flags=MS_BIND)
        mount(self.images, f"{self.peers}/media", flags=MS_BIND)

    def clear(self) -> None:
        """End the processes that still run, and empty the work directory. Raises MeasurementError."""
        end_orphans()
        for name in os.listdir(self.work):
            self.remove(f"{self.work}/{name}")
        self._make_places()

    def _make_places(self) -> None:
        for name in ("home", "tmp"):
            os.makedirs(f"{self.work}/{name}", exist_ok=True)

    # --- places -----------------------------------------------------------------------------------------------------

    @property
    def peers_root(self) -> str:
        """The root directory of the peers."""
        return self.peers or "/"

    def seen(self, path: str) -> str:
        """The path by which peers see *path*. Raises MeasurementError if they cannot see it."""
        if not self.peers:
            return path
        for ours, theirs in ((self.work, "/mnt"), (self.images, "/media")):
            if path == ours or path.startswith(f"{ours}/"):
                return theirs + path[len(ours) :]
        raise MeasurementError("the peers cannot see this file")

    def unseen(self, path: str) -> str:
        """The path by which this process sees the peers' *path*."""
        return self.peers + path

    def archive(self, name: str) -> str:
        """The path of the sample archive *name*. Raises UnavailableError."""
        path = f"{self.images}/{name}.tar"
        if not os.path.isfile(path):
            raise UnavailableError(f"no {name}.tar among the images")
        return path

    def fresh(self, name: str) -> str:
        """Make an empty directory *name* in the work directory; its former content is removed."""
        path = f"{self.work}/{name}"
        self.remove(path)
        os.makedirs(path)
        return path

    def remove(self, path: str) -> None:
        """Unmount all below *path* and delete it. Waits a little for processes that still clean up there."""
        for _ in range(_ATTEMPTS):
            if not os.path.lexists(path):
                return
            for place in (path, self.unseen(self.seen(path))):
                for point in _mounts_below(place):
                    with suppress(OSError):
                        umount(point, MNT_DETACH | UMOUNT_NOFOLLOW)
            done = subprocess.run(["rm", "-rf", "--one-file-system", path], capture_output=True, check=False)
            if done.returncode == 0:
                return
            time.sleep(_PAUSE)
        raise MeasurementError(f"cannot be removed: {done.stderr.decode('utf-8', 'replace').strip()[-200:]}")

    # --- state of the machine ---------------------------------------------------------------------------------------

    def environment(self, peer: bool = False) -> dict[str, str]:
        """The environment of commands: none of the user's variables."""
        place = self.seen if peer else str
        return {
            "PATH": PATH,
            "HOME": place(f"{self.work}/home"),
            "TMPDIR": place(f"{self.work}/tmp"),
            "LC_ALL": "C.UTF-8",
        }

    def python(self, *arguments: str) -> tuple[str, ...]:
        """The command line of our Python; pass it `environment`, which has PYTHONPATH."""
        return (sys.executable, *arguments)

    def execute(self, command: Command, watch: Callable[[int], None] | None = None) -> Done:
        """Run *command*. Raises MeasurementError if it fails."""
        return execute(command, watch)

    def settle(self) -> float:
        """Write all dirty pages to the file system; return the seconds it took."""
        start = time.perf_counter()
        fd = os.open(self.work, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(fd)
        finally:
            os.close(fd)
        return time.perf_counter() - start

    def warm(self, path: str) -> None:
        """Read all of the file *path* into the page cache."""
        buffer = bytearray(4 << 20)
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def drop_caches(self) -> None:
        """Drop the page cache, entries and inodes."""
        self.settle()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")


def _mounts_below(path: str) -> Iterator[str]:
    prefix = path.rstrip("/") + "/"
    for info in sorted(read_mounts(), key=lambda info: -len(info.mount_point)):
        if info.mount_point.startswith(prefix):
            yield info.mount_point


def _hide_unified(cgroups: str) -> None:
    """Unmount the v2 hierarchy on a host that has v1 hierarchies too."""
    place = f"{cgroups}/unified"
    if any(info.mount_point == place and info.fs_type == "cgroup2" for info in read_mounts()):
        umount(place, MNT_DETACH | UMOUNT_NOFOLLOW)


def podman_groups() -> set[str]:
    """The control groups, in every hierarchy, that podman makes for all its containers and leaves behind."""
    places = [_CGROUPS, *(f"{_CGROUPS}/{name}" for name in (os.listdir(_CGROUPS) if os.path.isdir(_CGROUPS) else ()))]
    return {path for place in places if os.path.isdir(path := f"{place}/{_LEFT_BY_PODMAN}")}


def remove_groups(groups: Iterable[str]) -> None:
    """Remove the control groups without processes, with those below them."""
    for group in groups:
        for directory, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)
