"""`mount`, `umount`, `mounts` and `unpack`: they show the same as other tools, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support import images, peers, treelist

EXAMPLE = images.example()


def mounts_file():
    return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")


def written(tmp_path, *layers):
    return images.write_oci_archive(tmp_path / "image.tar", images.image(*layers, names=["image:1"]))


@pytest.mark.root
@pytest.mark.mounts
class TestMount:
    def test_a_view_and_its_end(self, filled):
        outcome = filled.ok("mount", "example:1")
        path = Path(outcome.text.removesuffix("\n"))
        assert "\n" not in str(path)
        assert path.is_relative_to(filled.runroot)
        assert (path / "data/old").read_bytes() == b"new"
        assert [one["path"] for one in filled.json("mounts")] == [str(path)]
        assert str(path) in filled.ok("mounts").text
        filled.ok("umount", path)
        assert filled.json("mounts") == []
        assert str(filled.runroot) not in mounts_file()
        assert not path.exists()

    def test_a_view_is_read_only(self, filled):
        path = Path(filled.ok("mount", "example:1").text.strip())
        with pytest.raises(OSError, match="Read-only"):
            (path / "new").write_text("x")
        filled.ok("umount", path)

    def test_a_target_of_the_users(self, filled, tmp_path):
        target = tmp_path / "my target, with:odd=characters\\ 流"
        target.mkdir()
        (target / "mine").write_text("x")
        assert filled.ok("mount", "example:1", target).text == f"{target}\n"
        assert (target / "etc/passwd").exists()
        filled.ok("umount", target)
        assert [one.name for one in target.iterdir()] == ["mine"]

    def test_a_target_that_is_missing(self, filled, tmp_path):
        assert "missing" in filled.fails("NotFound", "mount", "example:1", tmp_path / "missing")
        assert filled.json("mounts") == []

    def test_all_of_them(self, filled):
        for _ in range(3):
            filled.ok("mount", EXAMPLE.digest)
        assert len(filled.json("mounts")) == 3
        filled.ok("umount", "--all")
        assert filled.json("mounts") == []
        assert str(filled.runroot) not in mounts_file()

    def test_an_unmount_behind_our_back(self, filled):
        path = filled.ok("mount", "example:1").text.strip()
        subprocess.run(["umount", path], check=True)
        assert not [one for one in filled.json("mounts") if one.get("state", "mounted") == "mounted"]
        filled.ok("umount", "--all")
        assert filled.json("mounts") == []

    def test_a_busy_mount_stays(self, filled):
        path = filled.ok("mount", "example:1").text.strip()
        fd = os.open(path, os.O_RDONLY)
        try:
            filled.fails("InUse", "umount", path)
        finally:
            os.close(fd)
        filled.ok("umount", path)

    def test_a_mounted_image_is_not_removed(self, filled):
        path = filled.ok("mount", "example:1").text.strip()
        filled.fails("InUse", "rm", EXAMPLE.digest)
        filled.ok("umount", path)
        filled.ok("rm", EXAMPLE.digest)

    def test_a_writable_container_keeps_its_changes(self, filled):
        path = Path(filled.ok("mount", "example:1", "--rw", "--name", "box").text.strip())
        (path / "data/big").unlink()
        (path / "new").write_text("kept")
        (path / "etc/passwd").rename(path / "moved")
        filled.ok("umount", "box")
        view = Path(filled.ok("mount", "example:1").text.strip())
        assert (view / "data/big").exists()
        assert not (view / "new").exists()
        again = Path(filled.ok("mount", "box").text.strip())
        assert (again / "new").read_text() == "kept"
        assert (again / "moved").exists()
        assert not (again / "data/big").exists()
        assert not (again / "etc/passwd").exists()
        filled.fails("Conflict", "mount", "example:1", "--rw", "--name", "box")
        filled.ok("umount", "--all")
        filled.ok("check")

    def test_the_only_layer(self, store, tmp_path):
        one = images.layer([images.directory("./", 0o700, uid=5), images.file("only", b"1", mode=0o4711)])
        store.ok("import", written(tmp_path, one))
        path = Path(store.ok("mount", "image:1").text.strip())
        assert (path.stat().st_mode & 0o7777, path.stat().st_uid) == (0o700, 5)
        assert (path / "only").stat().st_mode & 0o7777 == 0o4711
        store.ok("umount", path)

    def test_no_layers_at_all(self, store, tmp_path):
        store.ok("import", written(tmp_path))
        path = Path(store.ok("mount", "image:1").text.strip())
        assert list(path.iterdir()) == []
        store.ok("umount", path)

    @pytest.mark.parametrize("count", [5, 101, pytest.param(500, marks=pytest.mark.long)])
    def test_many_layers(self, store, tmp_path, count):
        layers = [
            images.layer([images.file("shared", b"%d" % number), images.file(f"own-{number}")], "none")
            for number in range(count)
        ]
        store.ok("import", written(tmp_path, *layers))
        path = Path(store.ok("mount", "image:1").text.strip())
        assert (path / "shared").read_bytes() == b"%d" % (count - 1)
        assert len(list(path.iterdir())) == count + 1
        store.ok("umount", path)

    def test_a_layer_that_comes_twice(self, store, tmp_path):
        first = images.layer([images.file("a", b"first"), images.file("b", b"first")])
        second = images.layer([images.file("a", b"second"), images.whiteout("b")])
        store.ok("import", written(tmp_path, first, second, first))
        path = Path(store.ok("mount", "image:1").text.strip())
        assert ((path / "a").read_bytes(), (path / "b").read_bytes()) == (b"first", b"first")
        store.ok("umount", path)


# --- the same as other tools ----------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.tools("umoci", "skopeo")
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_mount_and_unpack_show_what_umoci_unpacks(store, tmp_path, compression):
    path = images.write_oci_archive(tmp_path / "x.tar", images.example(compression=compression))
    store.ok("import", path)
    expected = treelist.listing(peers.umoci_unpack(f"oci-archive:{path}", tmp_path / "umoci"))
    mounted = store.ok("mount", "example:1").text.strip()
    shown = treelist.listing(mounted)
    store.ok("umount", mounted)
    store.ok("unpack", "example:1", tmp_path / "copy")
    assert treelist.differences(expected, shown) == []
    assert treelist.differences(expected, treelist.listing(tmp_path / "copy")) == []


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.tools("buildah")
def test_mount_shows_what_buildah_mounts(filled, tmp_path, archive):
    with peers.buildah_mounted(f"oci-archive:{archive}", tmp_path / "storage") as path:
        expected = treelist.listing(path)
    mounted = filled.ok("mount", "example:1").text.strip()
    shown = treelist.listing(mounted)
    filled.ok("umount", mounted)
    # buildah's storage knows no root entry and no times before 1970
    for tree in (expected, shown):
        del tree[b"data/before-the-epoch"]
    assert treelist.differences(expected, shown, root=False) == []


@pytest.mark.root
@pytest.mark.mounts
def test_directories_that_only_a_lower_layer_describes(store, tmp_path):
    store.ok("import", written(tmp_path, *images.implied_layers()))
    mounted = store.ok("mount", "image:1").text.strip()
    shown = treelist.listing(mounted)
    store.ok("umount", mounted)
    store.ok("unpack", "image:1", tmp_path / "copy")
    copied = treelist.listing(tmp_path / "copy")
    for tree in (shown, copied):
        assert (tree[b""].mode, tree[b""].mtime) == (0o711, 1_600_000_000_123_456_789)
        assert (tree[b"data"].mode, tree[b"data"].uid, tree[b"data"].mtime) == (0o1777, 1000, 1_500_000_000_000_000_005)
        assert (tree[b"data/private"].mode, tree[b"data/private"].gid) == (0o700, 8)
        assert tree[b"link"].kind == "l"
        assert set(tree) >= {b"data/private/new", b"data/private/through", b"data/other"}
    assert treelist.differences(shown, copied) == []


def test_unpack_as_anybody(filled, tmp_path):
    filled.ok("unpack", "example:1", tmp_path / "copy")
    tree = treelist.listing(tmp_path / "copy")
    assert tree[b"bin/tool"].linked == b"bin/tool"
    assert tree[b"data/nano"].mtime == 1_650_000_000_000_000_001
    assert {path for path in tree if path.startswith(b"gone")} == {b"gone", b"gone/c"}
    assert b"bin/dangling" not in tree


def test_unpack_refuses_a_directory_with_content(filled, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    filled.ok("unpack", "example:1", target)
    before = treelist.listing(target)
    filled.fails("Conflict", "unpack", "example:1", target)
    assert treelist.differences(before, treelist.listing(target)) == []
