"""The bundle: the directory for an OCI runtime, with all its working files.

`<container>/bundle` is an empty directory on disk. In the launcher's mount namespace, a tmpfs is mounted over it:
```
bundle/            tmpfs, 0700
  config.json      the description (`document`)
  hosts hostname resolv.conf    files that the container sees in /etc
  rootfs/          the container's root file system, mounted by the caller's callable
  home-is-given    an empty file, if image or user set HOME
  run/             the runtime's own state, its log, pid files and console sockets
```
No other process sees any of it, and the kernel removes it all with the last process of the namespace. Out of scope: the
content of rootfs.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import HostError
from arstore.linux.isolation.namespace import CLONE_NEWNS, unshare
from arstore.linux.mounting.mount import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE, mount
from arstore.runtime.driver import StatePlace
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.image_files import RootDirectory

HOME_IS_GIVEN = "home-is-given"
"""An empty file in the bundle of a container whose HOME is set by the image or the user; `exec` then keeps HOME."""

_TMPFS = "mode=0700,size=64m"
_PLACES = ("/mnt", "/media", "/srv", "/opt", "/home")


class Bundle(NamedTuple):
    """The paths of one container's bundle. *directory* is the container's directory, absolute."""

    directory: str

    @property
    def path(self) -> str:
        """The directory of the bundle."""
        return os.path.join(self.directory, "bundle")

    @property
    def rootfs(self) -> str:
        """The mount point of the root file system."""
        return os.path.join(self.path, "rootfs")

    @property
    def run(self) -> str:
        """The directory of the runtime's files."""
        return os.path.join(self.path, "run")

    @property
    def place(self) -> StatePlace:
        """The directory and the log file for the runtime."""
        return StatePlace(os.path.join(self.run, "state"), os.path.join(self.run, "runtime.log"))

    def enter(self, mount_rootfs: Callable[[str], None]) -> None:
        """Make this process's mounts private, mount the tmpfs and the root file system, and change to the bundle.

        Needs a new pid namespace, whose /proc is mounted too. Raises OSError, and the errors of *mount_rootfs*.
        """
        unshare(CLONE_NEWNS)
        # Slave, not private: host unmounts must reach us, or they would stay busy. Our mounts do not propagate.
        mount("none", "/", flags=MS_REC | MS_SLAVE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        mount("tmpfs", self.path, "tmpfs", MS_NOSUID | MS_NODEV, _TMPFS)
        os.chdir(self.path)
        os.mkdir("rootfs", 0o755)
        os.makedirs("run/state", 0o700)
        mount_rootfs(self.rootfs)

    def make_reachable(self, sources: Sequence[str]) -> None:
        """Mount the bundle a second time, for a container whose ids are mapped: its root may enter few directories.

        The place is a directory of the host that every user may enter, and that none of the *sources* of volumes is in;
        it is covered in this mount namespace only. Raises HostError if there is none, OSError.
        """
        os.chmod(self.path, 0o711)
        for place in _PLACES:
            if _is_open(place) and not any(_overlap(place, source) for source in sources):
                mount(self.path, place, flags=MS_BIND | MS_REC)
                os.symlink(place, os.path.join(self.run, "reachable"))
                return
        raise HostError(self.directory, f"its ids cannot be mapped: none of {', '.join(_PLACES)} can be used")

    @property
    def reachable_rootfs(self) -> str:
        """The root file system at the place that `make_reachable` has chosen."""
        return os.path.join(os.readlink(os.path.join(self.run, "reachable")), "rootfs")

    def write(self, name: str, text: str | bytes) -> str:
        """Write one file, readable by everyone like files in /etc; return its path."""
        path = os.path.join(self.path, name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with open(fd, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
        return path

    def has(self, name: str) -> bool:
        """Whether a file of this name has been written."""
        return os.path.exists(os.path.join(self.path, name))

    def write_spec(self, spec: Json, name: str = "config.json") -> str:
        """Write a JSON document for the runtime; return its path."""
        return self.write(name, json.dumps(spec))

    @property
    def network(self) -> str:
        """The place of the network namespace that the container joins, if it is not a new one."""
        return os.path.join(self.run, "network")

    def etc_files(self, root: RootDirectory, texts: Mapping[str, str]) -> dict[str, str]:
        """Write the files that the container sees in /etc, by their names; return them by the container's path.

        A file is left out if the image has a directory in its place.
        """
        found: dict[str, str] = {}
        for name, text in texts.items():
            about = root.stat(f"/etc/{name}")
            if about is None or not stat.S_ISDIR(about.st_mode):
                found[f"/etc/{name}"] = self.write(name, text)
        return found

    def spec(self) -> Json:
        """Return the container's config.json, for a process that has joined the namespace.

        Raises HostError if the container is just ending.
        """
        try:
            with open(os.path.join(self.path, "config.json"), encoding="utf-8") as file:
                found: Json = json.load(file)
        except FileNotFoundError as error:
            raise HostError(os.path.basename(self.directory), "the container no longer has a bundle") from error
        return found


def require_text(path: str) -> None:
    """Raise HostError for a path that is not UTF-8, because config.json cannot contain it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        why = "is not valid UTF-8, which OCI runtimes require of paths"
        hint = "bind-mount it at a path that is, and use that path"
        raise HostError(path, why, hint) from None


def _is_open(place: str) -> bool:
    """Whether *place* is a directory, not a symlink, that every user may enter."""
    try:
        about = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_mode & 0o001 != 0


def _overlap(place: str, path: str) -> bool:
    return os.path.commonpath([place, os.path.realpath(path)]) in {place, os.path.realpath(path)}
