"""Programs and permissions of this machine, each looked up once, with the reason if something is missing.

Reasons are for the skip report of a test run: they say what is missing in words that lead to the remedy.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@functools.cache
def program(name: str) -> str | None:
    """The absolute path of a program, looked for in the sbin directories too."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SBIN))


def is_root() -> bool:
    """Whether this process is root."""
    return os.geteuid() == 0


_OVERLAY_PROBE = """
cd "$1" && mkdir lower upper work view && echo there >lower/file &&
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work view && test -e view/file && : >view/new
"""


@functools.cache
def why_no_mounts(directory: str = "") -> str:
    """Why overlay mounts over *directory* (default: the temporary directory) are impossible; "" if possible."""
    if not is_root():
        return "mounting needs root"
    unshare = program("unshare")
    if unshare is None:
        return "unshare (util-linux) is not installed"
    with tempfile.TemporaryDirectory(prefix="arstore-probe-", dir=directory or None) as place:
        command = [unshare, "--mount", "sh", "-c", _OVERLAY_PROBE, "sh", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    return f"the host does not let root mount an overlay: {said[-1].replace(place, 'DIR')}"


@functools.cache
def busybox() -> str | None:
    """The path of a statically linked busybox: its first page names no loader."""
    path = program("busybox")
    if path is None:
        return None
    with open(path, "rb") as file:
        return path if b"/ld-" not in file.read(4096) else None


_RUNTIME_CONFIG = (
    '{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"args":["/true"],"cwd":"/"},'
    '"root":{"path":"rootfs","readonly":true},"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],'
    '"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}'
)


@functools.cache
def runtime() -> tuple[str, str]:
    """An OCI runtime that runs a container here, and ""; or "" and why there is none."""
    if not is_root():
        return "", "running containers needs root"
    box = busybox()
    if box is None:
        return "", "busybox-static is not installed"
    reasons = []
    for name in ("crun", "runc", "youki"):
        path = program(name)
        if path is None:
            continue
        said = _try_runtime(path, box)
        if not said:
            return path, ""
        reasons.append(f"{name}: {said}")
    return "", "; ".join(reasons) or "no OCI runtime (crun, runc) is installed"


def _try_runtime(path: str, box: str) -> str:
    with tempfile.TemporaryDirectory(prefix="arstore-probe-") as place:
        rootfs = Path(place, "rootfs")
        for directory in ("dev", "proc"):
            (rootfs / directory).mkdir(parents=True)
        shutil.copy(box, rootfs / "true")
        Path(place, "config.json").write_text(_RUNTIME_CONFIG)
        name = f"probe-{os.getpid()}-{os.path.basename(place)[-8:]}"
        command = [path, "--root", f"{place}/state", "run", "--bundle", place, name]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
        )
    said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    return "" if done.returncode == 0 else said[-1][:200]
