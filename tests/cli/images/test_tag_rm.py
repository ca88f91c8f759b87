"""`tag`, `untag` and `rm`."""

from __future__ import annotations

import os

import pytest
from support import images


def names(arstore):
    return sorted(name for image in arstore.ok("images", "--json").json for name in image["names"])


def test_names_come_and_go(filled, picture):
    assert filled.ok("tag", "example:1", "other").out == b""
    assert names(filled) == ["example:1", "example:latest", "other:latest"]
    assert filled.ok("tag", "--json", "example:1", "third:3").json == {
        "name": "third:3", "digest": picture.digest,
    }  # fmt: skip
    assert filled.ok("untag", "--json", "other").json["name"] == "other:latest"
    for name in names(filled):
        filled.ok("untag", name)
    assert names(filled) == []
    assert [image["digest"] for image in filled.ok("images", "--json").json] == [picture.digest]


def test_a_name_moves(filled, picture, tmp_path):
    other = images.image(images.layer([images.file("x")]), names=["x:1"])
    filled.ok("-q", "import", images.write_oci_archive(tmp_path / "x.tar", other))
    filled.ok("tag", "x:1", "example:1")
    assert filled.ok("inspect", "example:1").json["digest"] == other.digest
    assert filled.ok("inspect", "example:latest").json["digest"] == picture.digest


def test_what_is_wrong(filled):
    assert filled("tag", "nothing", "a").status == 3
    assert filled("tag", "example:1", "UPPER").status == 5
    assert filled("untag", "nothing").status == 3
    assert filled("rm", "nothing").status == 3
    assert filled("rm").status == 2


def test_rm_takes_the_image_with_its_last_name(filled, picture):
    assert filled.ok("rm", "--json", "example:1").json == {
        "dry_run": False, "containers": [], "untagged": ["example:1"], "removed": [], "freed": 0,
        "images": [], "attachments": [], "layers": [], "blobs": [], "trees": [],
    }  # fmt: skip
    done = filled.ok("rm", "--json", "example:latest").json
    assert done["untagged"] == ["example:latest"]
    assert done["images"] == [picture.digest]
    assert set(done["layers"]) == set(picture.chain_ids)
    assert set(done["blobs"]) == set(picture.blobs())
    assert os.listdir(filled.root / "blobs/sha256") == []


def test_rm_is_all_or_nothing(filled):
    assert filled("rm", "example:1", "nothing").status == 3
    assert names(filled) == ["example:1", "example:latest"]


def test_rm_by_digest_takes_all_names(filled, picture):
    lines = filled.ok("rm", picture.digest).text.splitlines()
    assert lines[:3] == ["untagged example:1", "untagged example:latest", f"removed {picture.digest}"]
    assert lines[3].endswith(" were freed")
    assert filled.ok("images", "--json").json == []


# --- only what was named --------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(arstore, tmp_path):
    """A store with one image under names as other tools spell them, and one that is named like a digest."""
    one = images.image(images.layer([images.file("x")]), names=["docker.io/library/app:latest", "localhost/tool:1"])
    arstore.ok("-q", "import", images.write_oci_archive(tmp_path / "x.tar", one))
    return arstore, one


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("app", "docker.io/library/app:latest"),
        ("library/app", "docker.io/library/app:latest"),
        ("docker.io/app", "docker.io/library/app:latest"),
        ("index.docker.io/library/app", "docker.io/library/app:latest"),
        ("tool:1", "localhost/tool:1"),
        ("tool", "localhost/tool:1"),
        ("localhost/app", "docker.io/library/app:latest"),
        ("quay.io/other/app", "docker.io/library/app:latest"),
    ],
)
@pytest.mark.parametrize("command", ["rm", "untag"])
def test_another_spelling_is_not_what_was_named(elsewhere, command, text, hint):
    arstore, one = elsewhere
    done = arstore(command, text)
    assert done.status == 3
    assert f"did you mean {hint}?" in done.err
    assert names(arstore) == ["docker.io/library/app:latest", "localhost/tool:1"]
    assert one.digest in arstore.ok("images", "--json").text


def test_who_only_looks_may_use_it(elsewhere):
    arstore, one = elsewhere
    assert arstore.ok("inspect", "app").json["digest"] == one.digest
    arstore.ok("tag", "app", "mine")
    assert arstore.ok("untag", "mine").out == b"untagged mine:latest\n"


def test_a_start_of_a_digest_does_not_stand_in_for_a_name(arstore, tmp_path):
    """`inspect abcd` shows docker.io/library/abcd, so `rm abcd` must not remove another image by its digest."""
    one = images.image(images.layer([images.file("x")]), names=["x:1"])
    start = one.digest.partition(":")[2][:5]
    other = images.image(images.layer([images.file("y")]), names=[f"docker.io/library/{start}:latest"])
    for number, each in enumerate((one, other)):
        arstore.ok("-q", "import", images.write_oci_archive(tmp_path / f"{number}.tar", each))
    assert arstore.ok("inspect", start).json["digest"] == other.digest
    assert arstore("rm", start).status == 3
    arstore.ok("tag", "x:1", f"{start}:latest")
    assert arstore.ok("rm", "--json", start).json["untagged"] == [f"{start}:latest"]
    arstore.ok("rm", f"docker.io/library/{start}")
    # No image has this name any more.
    assert arstore.ok("rm", "--json", start).json["removed"] == [one.digest]


def test_a_name_with_a_digest_goes_only_if_it_stands_for_that(filled, picture):
    assert filled("untag", f"example:1@sha256:{'0' * 64}").status == 3
    assert filled("untag", picture.digest).status == 3
    assert names(filled) == ["example:1", "example:latest"]
    filled.ok("untag", f"example:1@{picture.digest}")
    assert names(filled) == ["example:latest"]


def test_what_is_freed_is_what_du_says(filled, picture, tmp_path):
    shared = images.image(*picture.layers[:1], images.layer([images.file("y", bytes(50_000))]), names=["y:1"])
    for form in ("directory", "auto"):
        own = images.layer([images.file(form, os.urandom(70_000))])
        other = images.image(*picture.layers, own, names=[f"{form}:1"])
        path = images.write_oci_archive(tmp_path / f"{form}.tar", other, shared)
        filled.ok("-q", "import", "--tree", form, path)
    for text in ("auto:1", "y:1", "example:1", "directory:1", picture.digest):
        before = filled.ok("du", "--json").json
        plan = filled.ok("rm", "--dry-run", "--json", text).json
        assert filled.ok("du", "--json").json == before
        done = filled.ok("rm", "--json", text).json
        after = filled.ok("du", "--json").json
        assert done["freed"] == before["blobs"] + before["trees"] - after["blobs"] - after["trees"]
        assert {**plan, "dry_run": False} == done
    assert after["blobs"] + after["trees"] == 0


def test_a_name_that_moves_is_reported(filled, picture, tmp_path):
    other = images.image(images.layer([images.file("x")]), names=["example:1"])
    path = images.write_oci_archive(tmp_path / "x.tar", other)
    done = filled.ok("import", "--json", path)
    assert done.json["moved"] == [{"name": "example:1", "was": picture.digest, "digest": other.digest}]
    assert f"example:1 was {picture.digest}" in done.err
    again = filled.ok("import", "--json", path)
    assert again.json["moved"] == []
    assert " was " not in again.err
    done = filled.ok("tag", "--json", "example:latest", "example:1")
    assert done.json["was"] == other.digest
    assert f"example:1 was {other.digest}" in done.err


def test_the_last_name_leaves_an_image_and_says_so(filled, picture):
    assert "no name" not in filled.ok("untag", "example:1").err
    assert picture.digest in filled.ok("untag", "example").err
    assert filled.ok("rm", picture.digest).text.splitlines()[0] == f"removed {picture.digest}"
