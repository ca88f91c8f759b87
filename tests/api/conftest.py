"""A store of the library, and an archive to import."""

from __future__ import annotations

import pytest
from support import images

import arstore


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "app.tar"
    members = [images.directory("etc"), images.file("etc/os-release", b"NAME=small\n")]
    images.write_oci_archive(path, images.image(images.layer(members), names=["app:1"]))
    return path


@pytest.fixture
def store(tmp_path):
    with arstore.open(tmp_path / "root", tmp_path / "run") as opened:
        yield opened
