"""Where it is measured: a directory on the user's file system, in namespaces of our own, and the peers' root.

`Ground` expects to be the first process of new mount and PID namespaces (`__main__` sees to that). So every mount and
every process that a contender leaves goes when we go, however we end. In there the control groups' v2 hierarchy is
hidden where it stands beside v1 hierarchies, because crun refuses such a hybrid; arstore and its peers see the same.

Peers from another root directory see our work directory as /mnt, the archives as /media, and an empty /run.
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
    """The places of a run: *work* is an empty directory of ours, *images* has the archives, *peers* is a root or ""."""

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
        """End what still runs, and empty the work directory. Raises MeasurementError."""
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
        """*path* as peers have to be told it. Raises MeasurementError for one that they cannot see."""
        if not self.peers:
            return path
        for ours, theirs in ((self.work, "/mnt"), (self.images, "/media")):
            if path == ours or path.startswith(f"{ours}/"):
                return theirs + path[len(ours) :]
        raise MeasurementError("the peers cannot see this file")

    def unseen(self, path: str) -> str:
        """Where we see what a peer calls *path*."""
        return self.peers + path

    def archive(self, name: str) -> str:
        """The path of the sample archive *name*. Raises UnavailableError."""
        path = f"{self.images}/{name}.tar"
        if not os.path.isfile(path):
            raise UnavailableError(f"no {name}.tar among the images")
        return path

    def fresh(self, name: str) -> str:
        """An empty directory *name* in the work directory; what was there is removed."""
        path = f"{self.work}/{name}"
        self.remove(path)
        os.makedirs(path)
        return path

    def remove(self, path: str) -> None:
        """Unmount all below *path*, and delete it; what somebody still cleans up himself is waited for a little."""
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
        """The environment that commands get: nothing of the user's own."""
        place = self.seen if peer else str
        return {
            "PATH": PATH,
            "HOME": place(f"{self.work}/home"),
            "TMPDIR": place(f"{self.work}/tmp"),
            "LC_ALL": "C.UTF-8",
        }

    def python(self, *arguments: str) -> tuple[str, ...]:
        """The command line of our Python; `environment` has to go with PYTHONPATH."""
        return (sys.executable, *arguments)

    def execute(self, command: Command, watch: Callable[[int], None] | None = None) -> Done:
        """Run *command*, which has to succeed. Raises MeasurementError."""
        return execute(command, watch)

    def settle(self) -> float:
        """Have everything written that is to be written to the file system; the seconds it took."""
        start = time.perf_counter()
        fd = os.open(self.work, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(fd)
        finally:
            os.close(fd)
        return time.perf_counter() - start

    def warm(self, path: str) -> None:
        """Have all of the file *path* in the page cache."""
        buffer = bytearray(4 << 20)
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def drop_caches(self) -> None:
        """Forget the page cache, entries and inodes."""
        self.settle()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")


def _mounts_below(path: str) -> Iterator[str]:
    prefix = path.rstrip("/") + "/"
    for info in sorted(read_mounts(), key=lambda info: -len(info.mount_point)):
        if info.mount_point.startswith(prefix):
            yield info.mount_point


def _hide_unified(cgroups: str) -> None:
    """Unmount the v2 hierarchy where it stands beside v1 hierarchies."""
    place = f"{cgroups}/unified"
    if any(info.mount_point == place and info.fs_type == "cgroup2" for info in read_mounts()):
        umount(place, MNT_DETACH | UMOUNT_NOFOLLOW)


def podman_groups() -> set[str]:
    """The control groups that podman makes for all its containers, and leaves, in every hierarchy."""
    places = [_CGROUPS, *(f"{_CGROUPS}/{name}" for name in (os.listdir(_CGROUPS) if os.path.isdir(_CGROUPS) else ()))]
    return {path for place in places if os.path.isdir(path := f"{place}/{_LEFT_BY_PODMAN}")}


def remove_groups(groups: Iterable[str]) -> None:
    """Remove control groups, with those below them, that have no processes."""
    for group in groups:
        for directory, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)
