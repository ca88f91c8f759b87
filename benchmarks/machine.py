"""The machine of the measurement: processor, memory, kernel, file system, versions. No host names, no paths."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING

from arstore.linux.mounting.mountinfo import mount_id_of, read_mounts
from benchmarks.engine import Arstore, Engine
from benchmarks.measure import MeasurementError
from benchmarks.peers import Containerd, Podman, Skopeo, Umoci
from benchmarks.sampling import meminfo

if TYPE_CHECKING:
    from benchmarks.ground import Ground

_LIBRARIES = ("blake3", "click", "isal", "lmdb", "zlib-ng")


def describe(ground: Ground) -> dict[str, str]:
    """Describe the machine: texts by name."""
    memory = meminfo()["MemTotal"]
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores used",
        "memory": f"{memory / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": _system(),
        "file system": _file_system(ground.work),
    }


def _processor() -> str:
    found: dict[str, str] = {}
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    name = found.get("model name") or platform.machine()
    flags = {*found.get("flags", "").split(), *found.get("Features", "").split()}
    return f"{name} (SHA extensions)" if flags & {"sha_ni", "sha2"} else name


def _system() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    return "unknown"


def _file_system(path: str) -> str:
    """The type of the file system at *path*; for a loop device, also that of the file system with its file."""
    fd = os.open(path, os.O_PATH)
    try:
        identity = mount_id_of(fd)
    finally:
        os.close(fd)
    mounts = read_mounts()
    for info in mounts:
        if info.mount_id == identity:
            return info.fs_type + _backing(info.major, info.minor)
    return "unknown"


def _backing(major: int, minor: int) -> str:
    with suppress(OSError), open(f"/sys/dev/block/{major}:{minor}/loop/backing_file", encoding="utf-8") as file:
        place = os.path.dirname(file.read().strip())
        mounts = sorted(read_mounts(), key=lambda info: len(info.mount_point))
        for info in reversed(mounts):
            if f"{place}/".startswith(info.mount_point.rstrip("/") + "/"):
                return f" on a loop device, whose file is on {info.fs_type}"
    return ""


def versions(ground: Ground) -> dict[str, str]:
    """The version that every program and library reports; programs that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    peers = [peer(ground, peer.program) for peer in (Podman, Skopeo, Umoci, Containerd)]
    for engine in (Arstore(ground, "arstore"), *peers):
        with suppress(MeasurementError, OSError):
            found[engine.program] = _number(engine.version())
    for name, root in (("crun", "/"), ("crun of the peers", ground.peers)):
        with suppress(MeasurementError, OSError):
            found[name] = _number(_Crun(ground, root).version())
    return {name: version for name, version in found.items() if version}


class _Crun(Engine):
    """crun, from the root directory *root*."""

    program = "crun"

    def __init__(self, ground: Ground, root: str) -> None:
        super().__init__(ground, "crun")
        self.peer = root != "/"
        if not root:
            raise MeasurementError("there is no root directory with the peers")

    def version(self) -> str:
        """The version that crun prints."""
        plain = self.plain("--version")
        if not self.peer:
            plain = type(plain)(plain.argv, self.ground.environment())
        return self.ground.execute(plain).stdout.partition("\n")[0]


def _number(text: str) -> str:
    """The first word of *text* that is a version."""
    found = re.search(r"\bv?(\d+(?:\.\d+)+[^\s,]*)", text)
    return found[1] if found else text
