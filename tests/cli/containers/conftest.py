"""A store with an image that has busybox, and containers of it by a real runtime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import images, programs
from support.cli import Arstore

APPLETS = "sh true false cat ls id grep touch stat env hostname sleep rm mkdir ln wc echo chown find"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    box = programs.busybox()
    if box is None:
        pytest.skip("needs busybox")
    members = [
        images.directory("./"),
        images.directory("bin"),
        images.file("bin/busybox", Path(box).read_bytes(), 0o755),
    ]
    members += [images.symlink(f"bin/{name}", "busybox") for name in APPLETS.split()]
    members += [images.directory(name) for name in ("dev", "etc", "proc", "sys", "data", "data/below", "empty")]
    members += [images.file("data/file", b"image\n"), images.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")]
    members += [images.symlink("way", "data"), images.symlink("out", "/../../../etc")]
    path = tmp_path_factory.mktemp("volumes") / "box.tar"
    return images.write_oci_archive(path, images.image(images.layer(members), names=["box:1"]))


@pytest.fixture
def program(tmp_path, archive):
    made = Arstore(tmp_path / "root", tmp_path / "run")
    assert made.run("import", archive).status == 0
    if made.run("run", "box:1", "true").status in {125, 126}:
        pytest.skip("containers do not run here")
    yield made
    for one in made.run("ps", "--all", "--json").json:
        made.run("container", "rm", "--force", one["id"])


@pytest.fixture
def box(arstore, tmp_path, busybox):
    """The program on a store with a busybox image, box:1."""
    members = [images.directory(name) for name in ("bin", "tmp", "etc")]
    members.append(images.file("bin/busybox", Path(busybox).read_bytes(), mode=0o755))
    members += [images.symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "echo", "sleep", "true", "id")]
    members.append(images.file("etc/passwd", b"root:x:0:0::/:/bin/sh\nuser:x:7:8::/:/bin/sh\n"))
    one = images.image(images.layer(members), names=["box:1"], config={"Cmd": ["echo", "default"]})
    arstore.ok("-q", "import", images.write_oci_archive(tmp_path / "box.tar", one))
    (tmp_path / "box.layer").write_bytes(one.layers[0].tar)
    return arstore
