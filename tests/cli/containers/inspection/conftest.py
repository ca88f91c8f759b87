"""A store with a busybox image, and two containers of it: `web`, which runs, and `made`, which never did."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import images


@pytest.fixture
def box(arstore, tmp_path, busybox):
    """The program on a store with a busybox image, box:1."""
    members = [images.directory(name) for name in ("bin", "tmp", "etc")]
    members.append(images.file("bin/busybox", Path(busybox).read_bytes(), mode=0o755))
    members += [images.symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "sleep", "true", "ln", "rm")]
    members.append(images.file("etc/passwd", b"root:x:0:0::/:/bin/sh\nuser:x:7:8::/:/bin/sh\n"))
    members.append(images.file("etc/group", b"root:x:0:\nstaff:x:8:user\n"))
    config = {"Cmd": ["sleep", "1000"], "Labels": {"from": "image"}, "Env": ["B=image"]}
    one = images.image(images.layer(members), names=["box:1"], config=config)
    arstore.ok("-q", "import", images.write_oci_archive(tmp_path / "box.tar", one))
    return arstore


@pytest.fixture
def busy(box, tmp_path):
    """The store with containers, which are removed at the end."""
    (tmp_path / "vol").mkdir()
    words = ("-e", "A=1", "-l", "x=y", "--memory", "64m", "-v", f"{tmp_path}/vol:/mnt", "--restart", "on-failure:3")
    box.ok("run", "-d", "--name", "web", *words, "box:1")
    box.ok("create", "--name", "made", "-u", "user", "box:1", "true")
    yield box
    for one in box.ok("ps", "-a", "--json").json:
        box.ok("container", "rm", "-f", "-t", "0", one["id"])
