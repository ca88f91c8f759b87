"""The survey: it counts all bytes as du(1) does, and nothing on the way stops it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support import images, stores


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, stores.simple("a", names=("x:1",))) as made:
        yield made


def test_it_says_what_du_says(store):
    root = Path(store.directories.root)
    (root / "containers/c/upper").mkdir(parents=True)
    (root / "containers/c/upper/one").write_bytes(b"x" * 70_000)
    os.link(root / "containers/c/upper/one", root / "containers/c/upper/two")
    (root / "containers/c/upper/sparse").touch()
    os.truncate(root / "containers/c/upper/sparse", 1 << 30)
    (root / "pipelines/x/images").mkdir(parents=True)
    (root / "pipelines/x/images/left.tar").write_bytes(b"y" * 30_000)
    (root / "strange file").write_bytes(b"z" * 5000)
    (root / "ingest/loose").write_bytes(b"z" * 5000)
    found = stores.survey(store.directories)
    assert found.total == stores.du(root)
    assert 70_000 <= found.containers["c"] < 140_000
    assert found.exchange >= 30_000
    assert set(found.strange) == {"strange file", "ingest/loose"}
    assert set(found.blobs) == stores.blobs(store)
    assert set(found.trees) == stores.trees(store)


@pytest.mark.parametrize("name", ["d", "n" * 255, "流" * 85])
def test_paths_of_any_length(store, name):
    """A container can make such paths: each directory from within the one before."""
    root = Path(store.directories.root)
    (root / "containers/c").mkdir(parents=True)
    fd = os.open(root / "containers/c", os.O_RDONLY)
    for depth in range(1500 if len(name) == 1 else 60):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        if depth % 10 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        fd = below
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    assert stores.survey(store.directories).total == stores.du(root)
    assert len(os.listdir("/proc/self/fd")) == before
    subprocess.run(["rm", "-rf", root / "containers/c"], check=True)


def test_names_in_no_encoding(store):
    root = os.fsencode(store.directories.root)
    os.makedirs(root + b"/containers/\xff\xfe/upper")
    with open(root + b"/containers/\xff\xfe/upper/\xe9", "wb") as file:
        file.write(b"x" * 9000)
    found = stores.survey(store.directories)
    assert found.total == stores.du(store.directories.root)
    assert list(found.containers) == ["\udcff\udcfe"]


@pytest.mark.root
@pytest.mark.mounts
def test_another_file_system_counts_as_for_du(store):
    target = Path(store.directories.root, "containers/c/mounted")
    target.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", target], check=True)
    try:
        (target / "big").write_bytes(b"x" * (1 << 20))
        assert stores.survey(store.directories).total == stores.du(store.directories.root)
        assert stores.survey(store.directories).containers["c"] > 1 << 20
    finally:
        subprocess.run(["umount", target], check=True)


def test_the_lock_file_of_the_graph_is_not_opened(store, monkeypatch):
    opened = []
    real = os.open

    def watching(path, *rest, **more):
        opened.append(os.fspath(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", watching)
    stores.survey(store.directories)
    assert not any("lock.mdb" in str(path) for path in opened)


def test_what_vanishes_meanwhile_is_passed_over(store, monkeypatch):
    root = Path(store.directories.root)
    for number in range(3):
        (root / f"containers/c/d/{number}/x").mkdir(parents=True)
    real = os.stat
    left = [3]

    def vanishing(path, *rest, **more):
        if more.get("dir_fd") is not None and left[0]:
            left[0] -= 1
            subprocess.run(["rm", "-rf", root / f"containers/c/d/{left[0]}"], check=True)
        return real(path, *rest, **more)

    monkeypatch.setattr("arstore.maintenance.scan.walk.os.stat", vanishing)
    stores.survey(store.directories)
    assert left == [0]


@pytest.mark.parametrize("what", ["trees", "blobs/sha256"])
def test_what_vanishes_between_its_name_and_its_size(store, monkeypatch, what):
    stores.bring(store, images.example())
    doomed = sorted(Path(store.directories.root, what).iterdir())[0]
    inside = [*doomed.iterdir()] if doomed.is_dir() else []
    before = stores.survey(store.directories)
    real = os.lstat

    def vanishing(path, *, dir_fd=None):
        # The tree's directory was listed for its first file, the blob's for the blob itself.
        whole = Path(os.readlink(f"/proc/self/fd/{dir_fd}"), path) if dir_fd is not None else Path(path)
        if whole in inside or (not inside and whole == doomed):
            subprocess.run(["rm", "-rf", doomed], check=True)
        return real(path, dir_fd=dir_fd)

    monkeypatch.setattr("arstore.maintenance.scan.walk.os.lstat", vanishing)
    found = stores.survey(store.directories)
    monkeypatch.undo()
    assert not doomed.exists()
    assert found.total < before.total


def test_a_symlink_in_the_place_of_a_tree_is_not_followed(store, tmp_path):
    """Only the symlink itself counts, wherever it leads."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_bytes(bytes(1 << 20))
    os.symlink(tmp_path / "elsewhere", store.directories.tree("sha256:" + "0" * 64))
    os.symlink(tmp_path / "elsewhere", f"{store.directories.containers}/c")
    found = stores.survey(store.directories)
    assert found.total == stores.du(store.directories.root)
    assert {f"trees/{'0' * 64}", "containers/c"} <= set(found.strange)
