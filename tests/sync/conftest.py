"""Registries on loopback, and a user without any configuration."""

from __future__ import annotations

import pytest
from support import images, stores
from support import registry as registries
from support.cli import Arstore
from support.registry_user import become_unconfigured


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A user without any configuration."""
    become_unconfigured(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def arstore(places):
    """The program."""
    return Arstore(places / "store", places / "run")


@pytest.fixture
def server():
    """A registry with team/app:1, :2 and :3."""
    with registries.served() as served:
        for tag in "123":
            served.put_image("team/app", tag, stores.simple(tag, compression="gzip"))
        yield served


@pytest.fixture
def other():
    """A registry without images."""
    with registries.served() as served:
        yield served


@pytest.fixture
def multi(server):
    """An index of two platforms as team/multi:1 in *server*."""
    parts = [images.image(images.layer([images.file("x", b"x")]), architecture=one) for one in ("amd64", "arm64")]
    index = images.index(*parts)
    for part in parts:
        server.put_image("team/multi", "", part)
    server.put_manifest("team/multi", index.raw, images.OCI_INDEX, "1")
    return index
