"""The bundle: what an OCI runtime is pointed at, and everything it keeps meanwhile.

`<container>/bundle` is an empty directory on disk. In the launcher's mount namespace a tmpfs of its own lies over it:
```
bundle/            tmpfs, 0700
  config.json      the description (`document`)
  hosts hostname resolv.conf    files that the container sees in /etc
  rootfs/          the container's root file system, mounted by the caller's callable
  home-is-given    an empty file, where image or user name HOME
  run/             the runtime's own state, its log, pid files and console sockets
```
No other process sees any of it, and with the last process of the namespace the kernel removes it all. Out of scope:
what is in rootfs.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import HostError
from arstore.linux.isolation.namespace import CLONE_NEWNS, unshare
from arstore.linux.mounting.mount import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE, mount
from arstore.runtime.driver import StatePlace
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.image_files import RootDirectory

HOME_IS_GIVEN = "home-is-given"
"""An empty file in the bundle of a container whose HOME the image or the user has named: `exec` keeps it then."""

_TMPFS = "mode=0700,size=64m"
_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_FILE_LIMIT = 1 << 20


class Bundle(NamedTuple):
    """The paths of one container's bundle. *directory* is the container's own, absolute."""

    directory: str

    @property
    def path(self) -> str:
        """The bundle itself."""
        return os.path.join(self.directory, "bundle")

    @property
    def rootfs(self) -> str:
        """Where the root file system is mounted."""
        return os.path.join(self.path, "rootfs")

    @property
    def run(self) -> str:
        """Where the runtime keeps its things."""
        return os.path.join(self.path, "run")

    @property
    def place(self) -> StatePlace:
        """The same, as a runtime wants it."""
        return StatePlace(os.path.join(self.run, "state"), os.path.join(self.run, "runtime.log"))

    def enter(self, mount_rootfs: Callable[[str], None]) -> None:
        """Make this process's mounts private, lay the tmpfs and mount the root file system; the working directory is
        the bundle then.

        Needs a fresh pid namespace, whose /proc is mounted as well. Raises what *mount_rootfs* raises, and OSError.
        """
        unshare(CLONE_NEWNS)
        # Slave, not private: what the host unmounts must not stay busy because of us, and nothing of ours goes out.
        mount("none", "/", flags=MS_REC | MS_SLAVE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        mount("tmpfs", self.path, "tmpfs", MS_NOSUID | MS_NODEV, _TMPFS)
        os.chdir(self.path)
        os.mkdir("rootfs", 0o755)
        os.makedirs("run/state", 0o700)
        mount_rootfs(self.rootfs)

    def write(self, name: str, text: str) -> str:
        """Write one file, readable to all as files in /etc are; its path."""
        path = os.path.join(self.path, name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        return path

    def has(self, name: str) -> bool:
        """Whether a file of this name has been written."""
        return os.path.exists(os.path.join(self.path, name))

    def write_spec(self, spec: Json, name: str = "config.json") -> str:
        """Write a JSON document for the runtime; its path."""
        return self.write(name, json.dumps(spec))

    def etc_files(self, root: RootDirectory, hostname: str, *, host_network: bool) -> dict[str, str]:
        """Write the files that the container sees in /etc; by the container's path, without those an image has a
        directory for.
        """
        texts = {
            "hosts": _hosts(hostname, host_network=host_network),
            "hostname": hostname + "\n",
            "resolv.conf": _host_file("/etc/resolv.conf") if host_network else "",
        }
        found: dict[str, str] = {}
        for name, text in texts.items():
            about = root.stat(f"/etc/{name}")
            if about is None or not stat.S_ISDIR(about.st_mode):
                found[f"/etc/{name}"] = self.write(name, text)
        return found

    def spec(self) -> Json:
        """The container's config.json, read again by a process that has joined the namespace.

        Raises HostError when the container is just ending.
        """
        try:
            with open(os.path.join(self.path, "config.json"), encoding="utf-8") as file:
                found: Json = json.load(file)
        except FileNotFoundError as error:
            raise HostError(os.path.basename(self.directory), "the container has no bundle any more") from error
        return found


def require_text(path: str) -> None:
    """Raise HostError for a path that is not UTF-8: config.json cannot carry it, and runtimes would use another one."""
    try:
        path.encode()
    except UnicodeEncodeError:
        why = "is not valid UTF-8, and OCI runtimes take no other paths"
        hint = "mount it with --bind at a path that is, and use that one"
        raise HostError(path, why, hint) from None


def _hosts(hostname: str, *, host_network: bool) -> str:
    text = _host_file("/etc/hosts") if host_network else ""
    return (text or _HOSTS).rstrip("\n") + f"\n127.0.1.1\t{hostname}\n"


def _host_file(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_FILE_LIMIT)
    return ""
