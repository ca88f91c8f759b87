"""Places outside all stores, by any path."""

from __future__ import annotations

import os
import subprocess

import pytest
from support import stores

from arstore.errors import ConflictError, UsageError
from arstore.store.apart import refuse_stores, refuse_within


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def real(path):
    return os.path.realpath(path)


def test_a_place_beside_a_store(store, tmp_path):
    refuse_within(real(tmp_path / "file"))
    refuse_stores(real(tmp_path / "new"))
    refuse_stores(real(tmp_path / "new"), store.directories)


@pytest.mark.parametrize("below", ["", "new", "blobs", "blobs/sha256/x", "graph", "trees/x/y"])
def test_a_place_in_a_store(store, tmp_path, below):
    place = real(tmp_path / "root" / below)
    for refuse in (refuse_within, refuse_stores):
        with pytest.raises(ConflictError, match="store"):
            refuse(place)
    with pytest.raises(UsageError, match="a copy cannot be inside the store"):
        refuse_stores(place, store.directories)


def test_a_place_that_has_a_store_in_it(store, tmp_path):
    with pytest.raises(ConflictError, match="contains a store, root"):
        refuse_stores(real(tmp_path))
    with pytest.raises(UsageError, match="a backup cannot contain the store"):
        refuse_stores(real(tmp_path), store.directories, "a backup")
    refuse_within(real(tmp_path))


def test_a_link_into_a_store(store, tmp_path):
    (tmp_path / "link").symlink_to("root/blobs")
    with pytest.raises(ConflictError, match="is inside the store"):
        refuse_within(real(tmp_path / "link" / "x"))


@pytest.mark.mounts
def test_a_store_through_a_mount(store, tmp_path):
    place = tmp_path / "bound"
    place.mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "root", place], check=True)
    try:
        with pytest.raises(ConflictError, match="is a store"):
            refuse_within(real(place))
        with pytest.raises(UsageError, match="cannot be inside"):
            refuse_stores(real(place / "x"), store.directories)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_store_that_lost_its_identity_is_one_still(store, tmp_path):
    store.close()
    for name in os.listdir(tmp_path / "root"):
        if (tmp_path / "root" / name).is_file():
            (tmp_path / "root" / name).unlink()
    with pytest.raises(ConflictError):
        refuse_within(real(tmp_path / "root" / "x"))
