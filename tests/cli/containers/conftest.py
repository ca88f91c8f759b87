"""A store with an image that has busybox, and containers of it by a real runtime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import images, programs
from support.cli import Arstore
from support.copying import copy_store

APPLETS = "sh true false cat ls id grep touch stat env hostname sleep rm mkdir ln wc echo chown find"


def volume_members():
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
    return members


@pytest.fixture(scope="module")
def volume_box():
    """An image with busybox and some files to mount over, box:1."""
    return images.image(images.layer(volume_members()), names=["box:1"])


@pytest.fixture(scope="module")
def running(tmp_path_factory, volume_box):
    """Skip where containers do not run."""
    place = tmp_path_factory.mktemp("running")
    copy_store(tmp_path_factory, volume_box, place / "root", place / "run")
    if Arstore(place / "root", place / "run").run("run", "box:1", "true").status in {125, 126}:
        pytest.skip("containers do not run here")


@pytest.fixture
def program(tmp_path, tmp_path_factory, volume_box, running):
    made = Arstore(tmp_path / "root", tmp_path / "run")
    copy_store(tmp_path_factory, volume_box, made.root, made.runroot)
    yield made
    for one in made.run("ps", "--all", "--json").json:
        made.run("container", "rm", "--force", "-t", "0", one["id"])


@pytest.fixture(scope="session")
def box_image(busybox):
    members = [images.directory(name) for name in ("bin", "tmp", "etc")]
    members.append(images.file("bin/busybox", Path(busybox).read_bytes(), mode=0o755))
    members += [images.symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "echo", "sleep", "true", "id")]
    members.append(images.file("etc/passwd", b"root:x:0:0::/:/bin/sh\nuser:x:7:8::/:/bin/sh\n"))
    return images.image(images.layer(members), names=["box:1"], config={"Cmd": ["echo", "default"]})


@pytest.fixture
def box(arstore, tmp_path, tmp_path_factory, box_image):
    """The program on a store with a busybox image, box:1."""
    copy_store(tmp_path_factory, box_image, arstore.root, arstore.runroot)
    (tmp_path / "box.layer").write_bytes(box_image.layers[0].tar)
    return arstore
