"""`mount`, `umount`, `mounts` and `unpack`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

needs_mounts = [pytest.mark.root, pytest.mark.mounts]


class TestMounts:
    pytestmark = needs_mounts

    def test_the_path_alone(self, filled, picture):
        result = filled.ok("mount", "example:1")
        path = Path(result.text.removesuffix("\n"))
        assert (path / "etc/passwd").is_file()
        assert path.is_relative_to(filled.runroot)
        [entry] = filled.ok("mounts", "--json").json
        assert entry["path"] == str(path)
        assert (entry["image"], entry["container"], entry["read_only"]) == (picture.digest, None, True)
        assert (entry["state"], entry["places"]) == ("mounted", [str(path)])
        line = filled.ok("mounts").text.splitlines()[1].split()
        assert line == [entry["id"], picture.digest[7:19], "-", "ro", "mounted", str(path)]
        assert filled.ok("umount", "--json", path).json == {"unmounted": [entry["id"]]}
        assert not path.exists()

    def test_a_target_of_any_bytes(self, filled, tmp_path):
        target = tmp_path / os.fsdecode(b"tar\xe9get\n2")
        target.mkdir()
        result = filled("mount", "example:1", target)
        assert result.out == os.fsencode(target) + b"\n"
        assert "tar\\xe9get\\n2" in filled.ok("mounts").text
        assert filled.ok("mount", "--json", "example:1").json["read_only"] is True
        filled.ok("umount", target)
        assert target.is_dir()

    def test_a_containers_root(self, filled):
        made = filled.ok("mount", "--json", "example:1", "--rw", "--name", "box").json
        assert (made["container"], made["read_only"]) == ("box", False)
        Path(made["path"], "new").write_text("kept")
        assert filled("mount", "box").status == 6
        refused = filled("container", "rm", "box")
        assert (refused.status, made["path"] in refused.err) == (7, True)
        assert "arstore umount" in refused.err
        filled.ok("umount", "box")
        again = Path(filled.ok("mount", "box").text.strip())
        assert (again / "new").read_text() == "kept"
        filled.ok("umount", "--all")
        [about] = filled.ok("ps", "--all", "--json").json
        assert (about["id"], about["status"], about["exit_code"]) == ("box", "created", None)
        filled.ok("container", "rm", "box")
        assert filled.ok("ps", "--all", "--json").json == []

    def test_containers_by_the_start_of_their_id(self, filled):
        for name in ("boxes", "boxer", "cafe", "ab"):
            filled.ok("mount", "example:1", "--rw", "--name", name)
        assert filled("umount", "boxe").status == 4
        filled.ok("umount", "boxes")
        for name in ("boxer", "ca", "ab"):
            filled.ok("umount", name)
        assert filled("mount", "boxe").status == 4
        assert filled("mount", "c").status == 3
        assert filled.ok("mount", "--json", "caf").json["container"] == "cafe"
        filled.ok("umount", "caf")
        filled.ok("tag", "example:1", "caf:latest")
        assert filled.ok("mount", "--json", "caf").json["container"] is None
        assert filled.ok("diff", "boxes").text == filled.ok("diff", "boxes", "boxer").text == ""
        assert filled.ok("commit", "boxer", "new:1").text
        filled.ok("umount", "--all")
        assert filled("logs", "boxe").status == filled("kill", "boxe").status == 4
        refused = filled("container", "rm", "boxe")
        assert (refused.status, "boxer, boxes" in refused.err) == (4, True)
        assert filled("container", "rm", "boxer", "nothing").status == 3
        filled.ok("mount", "example:1", "--rw", "--name", "boxe")
        filled.ok("umount", "boxe")
        assert filled.ok("container", "rm", "--json", "boxe", "caf", "cafe").json == {"removed": ["boxe", "cafe"]}
        assert [one["id"] for one in filled.ok("ps", "-a", "--json").json] == ["ab", "boxer", "boxes"]

    def test_force_unmounts_what_is_removed(self, filled):
        made = filled.ok("mount", "--json", "example:1", "--rw", "--name", "box").json
        fd = os.open(made["path"], os.O_RDONLY)
        assert filled("container", "rm", "--force", "box").status == 7
        os.close(fd)
        filled.ok("container", "rm", "--force", "box")
        assert filled.ok("mounts", "--json").json == []

    def test_a_container_that_cannot_be_mounted_is_not_left(self, filled, tmp_path):
        assert filled("mount", "example:1", tmp_path / "missing", "--rw", "--name", "box").status == 3
        assert filled.ok("ps", "-a", "--json").json == []

    def test_a_word_that_is_both_means_the_container(self, filled):
        filled.ok("mount", "example:1", "--rw", "--name", "example")
        filled.ok("umount", "--all")
        assert filled.ok("mount", "--json", "example").json["container"] == "example"
        assert filled.ok("mount", "--json", "example:latest").json["container"] is None
        assert filled.ok("mount", "--json", "example", "--rw").json["container"] not in {None, "example"}

    def test_what_is_in_use_is_named_and_all_else_ends(self, filled):
        paths = [filled.ok("mount", "example:1").text.strip() for _ in range(3)]
        with open(f"{paths[0]}/etc/passwd", "rb"):
            result = filled("umount", *paths)
            assert result.status == 7
            assert paths[0] in result.err
            assert [entry["path"] for entry in filled.ok("mounts", "--json").json] == [paths[0]]
            filled.ok("umount", "--force", paths[0])
        assert filled.ok("mounts", "--json").json == []

    def test_rm_and_gc_leave_what_is_mounted(self, filled, picture):
        filled.ok("mount", "example:1")
        assert filled("rm", picture.digest).status == 7
        for name in ("example:1", "example:latest"):
            filled.ok("untag", name)
        assert filled.ok("gc", "--json").json["images"] == []


@pytest.mark.parametrize(
    ("words", "status"),
    [(("mount", "nothing"), 3), (("umount", "nothing"), 3), (("mount", "UPPER"), 5), (("unpack", "nothing", "x"), 3)],
)
def test_what_is_not_there(filled, words, status):
    assert filled(*words).status == status


def test_umount_all_of_nothing(arstore):
    assert arstore.ok("umount", "--all", "--json").json == {"unmounted": []}
    assert arstore.ok("mounts", "--json").json == []


def test_unpack(filled, picture, tmp_path):
    result = filled.ok("unpack", "--json", "example:1", tmp_path / "copy").json
    assert (result["image"], result["path"], result["layers"]) == (picture.digest, str(tmp_path / "copy"), 3)
    assert (tmp_path / "copy/data/old").read_bytes() == b"new"
    assert result["exact"] is (os.geteuid() == 0)
    assert filled("unpack", "example:1", tmp_path / "copy").status == 6
    assert filled.ok("unpack", "example:1", tmp_path / "other").out == b""


def test_unpack_tells_what_was_left_out(filled, tmp_path, monkeypatch):
    from arstore.linux.isolation import capability

    monkeypatch.setattr(capability, "has", lambda number: False)
    result = filled.ok("unpack", "--progress", "none", "example:1", tmp_path / "copy")
    assert "left out: owners of " in result.err
    assert filled.ok("-q", "unpack", "example:1", tmp_path / "again").err == ""
