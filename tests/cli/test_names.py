"""`tag`, `untag` and `rm`."""

from __future__ import annotations

import os

from support import images


def names(arstore):
    return sorted(name for image in arstore.ok("images", "--json").json for name in image["names"])


def test_names_come_and_go(filled, picture):
    assert filled.ok("tag", "example:1", "other").out == b""
    assert names(filled) == ["example:1", "example:latest", "other:latest"]
    assert filled.ok("tag", "--json", "example:1", "third:3").json == {
        "name": "third:3", "digest": picture.digest, "was": None,
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
        "dry_run": False, "untagged": ["example:1"], "removed": [], "freed": 0,
        "images": [], "layers": [], "blobs": [], "trees": [],
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
