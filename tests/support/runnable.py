"""Images that run: a small one with busybox, and a pipeline image."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from support import images, programs
from support.cli import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ("sh", "true", "cp", "dd", "mkdir")
"""Files of the image box:1 besides busybox itself."""
PIPELINE_NAMES = ("pipeline:latest", "greeter:1", "counter:1")
"""Images in a store after loading the pipeline's archive: itself, and those that it makes."""


def write_runnable(place: Path) -> dict[str, Path]:
    """Write archives of both to the directory *place*, as `box` and `pipeline`; none without busybox."""
    box = programs.busybox()
    if box is None:
        return {}
    with open(box, "rb") as file:
        tools = [images.directory("bin"), images.file("bin/busybox", file.read(), 0o755)]
    links = [images.symlink(f"bin/{name}", "busybox") for name in PROGRAMS]
    # It has every mount point of a runtime, so a runtime makes nothing in containers that `commit` would leave out.
    places = [images.directory(name) for name in ("dev", "etc", "proc", "sys")]
    places += [images.file(f"etc/{name}") for name in ("hostname", "hosts", "resolv.conf")]
    members = [images.directory("./"), *tools, *links, *places]
    images.write_oci_archive(place / "box.tar", images.image(images.layer(members), names=["box:1"]))
    pipeline = place / "pipeline.tar.gz"
    subprocess.run([sys.executable, REPOSITORY / "tools" / "pipeline_image.py", pipeline], check=True)
    return {"box": place / "box.tar", "pipeline": pipeline}
