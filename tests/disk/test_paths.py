"""Paths of the store, and the making of its directories."""

from __future__ import annotations

import os
import stat

import pytest

from arstore.disk.paths import RESERVED, Directories, opened
from arstore.errors import InvalidReferenceError

HEX = "0123456789abcdef" * 4


@pytest.fixture
def directories(tmp_path):
    made = Directories(str(tmp_path / "a" / "root"), str(tmp_path / "b" / "run"))
    made.create()
    return made


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_all_of_it_is_closed_to_others(directories):
    made = [directories.root, directories.runroot, directories.trees, directories.ingest, directories.containers]
    made += [directories.graph, f"{directories.root}/blobs", f"{directories.root}/blobs/sha256"]
    assert {mode(path) for path in made} == {0o700}
    assert set(os.listdir(directories.root)) <= RESERVED


def test_a_root_that_is_open_to_others_is_closed(directories):
    os.chmod(directories.root, 0o755)
    directories.create()
    assert mode(directories.root) == 0o700


def test_a_runroot_that_has_only_those_of_other_stores_is_closed(tmp_path):
    first = Directories(str(tmp_path / "one"), str(tmp_path / "run" / "stores" / "0123"))
    first.create()
    assert mode(tmp_path / "run") == 0o755
    Directories(str(tmp_path / "two"), str(tmp_path / "run")).create()
    assert mode(tmp_path / "run") == 0o700
    first.create()


def test_an_umask_changes_nothing(tmp_path):
    old = os.umask(0o077)
    try:
        made = Directories(str(tmp_path / "root"), str(tmp_path / "run"))
        made.create()
        assert mode(made.root) == 0o700
    finally:
        os.umask(old)


def test_what_is_there_stays(directories):
    path = directories.blob(f"sha256:{HEX}")
    with open(path, "w") as file:
        file.write("x")
    directories.create()
    assert os.path.exists(path)


def test_places(directories):
    root = directories.root
    assert directories.blob(f"sha256:{HEX}") == f"{root}/blobs/sha256/{HEX}"
    assert directories.blob(f"sha512:{HEX}{HEX}") == f"{root}/blobs/sha512/{HEX}{HEX}"
    assert directories.tree(f"sha256:{HEX}") == f"{root}/trees/{HEX}"
    assert directories.container("c1") == f"{root}/containers/c1"


@pytest.mark.parametrize(
    "digest", ["", "sha256:", f"sha256:{HEX[:-1]}", f"sha256:../{HEX[3:]}", f"md5:{HEX[:32]}", f"sha256:{HEX.upper()}"]
)
def test_what_is_no_digest_becomes_no_path(directories, digest):
    with pytest.raises(InvalidReferenceError):
        directories.blob(digest)
    with pytest.raises(InvalidReferenceError):
        directories.tree(digest)


def test_blank_directories_come_back_after_a_reboot(directories):
    first, second = directories.make_blank(0), directories.make_blank(1)
    assert first != second
    os.rmdir(first)
    assert directories.make_blank(0) == first
    assert os.listdir(first) == []
    assert mode(first) == 0o755


def test_a_symlink_is_not_opened(directories, tmp_path):
    (tmp_path / "link").symlink_to(directories.root)
    with pytest.raises(NotADirectoryError), opened(str(tmp_path / "link")):
        pass
    with opened(directories.root) as fd:
        assert os.fstat(fd).st_ino == os.stat(directories.root).st_ino
