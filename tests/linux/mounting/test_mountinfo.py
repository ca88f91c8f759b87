import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import find_mounts, mount_at, mount_id_at, parse, read_mounts

LINE = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue"


def escaped(text):
    return b"".join(b"\\%03o" % c if c in b" \t\n\\#" else bytes([c]) for c in text)


def test_a_line_of_the_manual_page():
    info = parse(LINE)
    assert (info.mount_id, info.parent_id, info.major, info.minor) == (36, 35, 98, 0)
    assert (info.root, info.mount_point, info.options) == ("/mnt1", "/mnt2", "rw,noatime")
    assert info.propagation == ("master:1", "propagate_from:2")
    assert (info.fs_type, info.source, info.super_options) == ("ext3", "/dev/root", "rw,errors=continue")
    assert not info.read_only


def test_without_optional_fields_and_with_an_empty_source():
    info = parse(b"1 0 0:1 / / ro - tmpfs  rw")
    assert info.propagation == ()
    assert info.source == ""
    assert info.read_only


def test_a_superblock_can_be_read_only_alone():
    assert parse(b"1 0 0:1 / / rw - tmpfs x ro,size=1k").read_only


@given(st.binary(min_size=1, max_size=30).filter(lambda b: b"\0" not in b))
def test_any_path_comes_back(path):
    line = b"1 0 0:1 / /%b rw shared:1 - overlay %b rw" % (escaped(path), escaped(path))
    info = parse(line)
    assert os.fsencode(info.mount_point) == b"/" + path
    assert os.fsencode(info.source) == path


def test_the_root_is_a_mount_of_this_process():
    mounts = read_mounts()
    assert any(info.mount_point == "/" for info in mounts)
    assert {m.mount_id for m in read_mounts(os.getpid())} == {m.mount_id for m in mounts}
    assert mount_at("/") is not None
    assert mount_at("/").mount_point == "/"


def test_a_plain_directory_is_none_and_a_missing_one_raises(tmp_path):
    assert mount_at(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError):
        mount_at(str(tmp_path / "none"))


@pytest.mark.mounts
@pytest.mark.parametrize("name", ["plain", "two words", "tab\tnew\nline", "back\\040slash", "流水线", "#x"])
def test_real_mounts_with_names_of_all_kinds(tmp_path, name):
    target = tmp_path / name
    target.mkdir()
    mount.mount(f"from {name}", str(target), "tmpfs")
    try:
        found = mount_at(str(target))
        assert (found.mount_point, found.source, found.fs_type) == (str(target), f"from {name}", "tmpfs")
        assert found in read_mounts()
        (target / "inner").mkdir()
        assert mount_at(str(target / "inner")) is None
    finally:
        mount.umount(str(target))


@pytest.mark.mounts
def test_of_stacked_mounts_the_topmost(tmp_path):
    mount.mount("first", str(tmp_path), "tmpfs")
    mount.mount("second", str(tmp_path), "tmpfs")
    try:
        assert mount_at(str(tmp_path)).source == "second"
        mount.umount(str(tmp_path))
        assert mount_at(str(tmp_path)).source == "first"
    finally:
        mount.umount(str(tmp_path))


@pytest.mark.mounts
def test_a_symlink_leads_to_the_mount(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mount.mount("it", str(tmp_path / "real"), "tmpfs")
    try:
        assert mount_at(str(tmp_path / "link")).source == "it"
    finally:
        mount.umount(str(tmp_path / "real"))


@pytest.mark.mounts
def test_mounts_are_found_by_their_source_wherever_they_are(tmp_path):
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
    mount.mount("arstore:wanted", str(tmp_path / "one"), "tmpfs")
    mount.mount("arstore:wanted2", str(tmp_path / "other"), "tmpfs")
    try:
        mount.mount(str(tmp_path / "one"), str(tmp_path / "two"), flags=mount.MS_BIND)
        found = find_mounts("arstore:wanted")
        assert sorted(info.mount_point for info in found) == [str(tmp_path / "one"), str(tmp_path / "two")]
        assert all(info in read_mounts() for info in found)
        assert find_mounts("arstore:wanted", os.getpid()) == found
        assert find_mounts("arstore:want") == []
        assert mount_id_at(str(tmp_path / "one")) == mount_at(str(tmp_path / "one")).mount_id
        assert mount_id_at(str(tmp_path / "two")) != mount_id_at(str(tmp_path / "one"))
        assert mount_id_at(str(tmp_path)) not in {info.mount_id for info in found}
    finally:
        for name in ("two", "other", "one"):
            mount.umount(str(tmp_path / name))
