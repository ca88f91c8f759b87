"""Other tools as witnesses: the tree that umoci unpacks and the mount that buildah makes of the same archive.

Each works in separate directories below the given one, and leaves nothing mounted. A peer that is missing or does not
work on this host skips the test with its message.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import programs

if TYPE_CHECKING:
    from collections.abc import Iterator


class PeerError(Exception):
    """A peer ended with a status other than 0; the text is its message."""


def need(*names: str) -> None:
    """Skip the test if one of the programs is missing."""
    missing = [name for name in names if programs.program(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(*command: str | Path, timeout: float = 600, environment: dict[str, str] | None = None) -> str:
    """Run a peer and return its stdout.

    Raises PeerError with the end of its stderr.
    """
    words = [programs.program(str(command[0])) or str(command[0]), *map(str, command[1:])]
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout, env=variables
    )
    if done.returncode:
        raise PeerError(f"{' '.join(words)}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def skopeo_copy(source: str, target: str, *options: str) -> None:
    """`skopeo copy`, without any policy of the host."""
    need("skopeo")
    run("skopeo", "--insecure-policy", "copy", "--quiet", *options, source, target)


def umoci_unpack(source: str, place: Path) -> Path:
    """Unpack the image at *source* (a skopeo reference) below *place* and return its root file system.

    umoci reads OCI layouts only, so skopeo makes one first; layers keep their diff IDs.
    """
    need("skopeo", "umoci")
    place.mkdir(parents=True, exist_ok=True)
    skopeo_copy(source, f"oci:{place}/layout:image")
    rootless = [] if programs.is_root() else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", f"{place}/layout:image", place / "bundle")
    return place / "bundle" / "rootfs"


@contextmanager
def buildah_mounted(source: str, place: Path, driver: str = "overlay") -> Iterator[Path]:
    """The image at *source*, in a new storage below *place*, mounted by buildah (whose storage is podman's).

    Needs root. The *driver* `overlay` falls back to `vfs`, which copies, where overlay does not work.
    """
    need("buildah")
    storage = ["--root", str(place / "root"), "--runroot", str(place / "run")]
    policy = place / "policy.json"
    place.mkdir(parents=True, exist_ok=True)
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    environment = {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(place)}

    def buildah(*words: str) -> str:
        return run("buildah", *storage, "--storage-driver", driver, *words, environment=environment).strip()

    try:
        try:
            image = buildah("pull", "--quiet", "--signature-policy", str(policy), source)
        except PeerError as error:
            if driver == "vfs":
                pytest.skip(f"buildah does not work here: {str(error)[-200:]}")
            with buildah_mounted(source, place / "vfs", "vfs") as mounted:
                yield mounted
            return
        container = buildah("from", "--pull-never", "--signature-policy", str(policy), image.splitlines()[-1])
        try:
            yield Path(buildah("mount", container))
        finally:
            buildah("umount", container)
            buildah("rm", container)
    finally:
        for point in _mounts_below(place):
            subprocess.run(["umount", "--no-canonicalize", point], check=False)


def _mounts_below(place: Path) -> list[str]:
    prefix = os.fsencode(place.resolve()) + b"/"
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = [re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), line.split(b" ")[4]) for line in lines]
    return [os.fsdecode(point) for point in sorted(points, key=len, reverse=True) if point.startswith(prefix)]
