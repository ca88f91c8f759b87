"""`find` and `du --duplicates`: what is printed, and what is said to be unknown."""

from __future__ import annotations

import hashlib
import json

import pytest
from support import images

EVIL = "bad\x1b[2Jname\nline"


@pytest.fixture
def two(arstore, tmp_path):
    """Two images over one base; the second hides a file, and has another file's content again."""
    base = images.layer(
        [images.file("etc/conf", b"base"), images.file("etc/keep", b"same"), images.file(EVIL, b"evil")]
    )
    top = images.layer(
        [images.whiteout("etc/conf"), images.file("opt/copy", b"same"), images.file("big", bytes(50_000))]
    )
    parts = [images.image(base, names=["one:1"]), images.image(base, top, names=["two:1"])]
    arstore.ok("-q", "import", images.write_oci_archive(tmp_path / "two.tar", *parts))
    return arstore


def rows(result):
    return [line.split() for line in result.text.splitlines()][1:]


def test_a_path_is_visible_or_hidden(two):
    found = rows(two.ok("find", "/etc/conf"))
    assert [(row[0], row[2], row[5]) for row in found] == [("one:1", "file", "visible"), ("two:1", "file", "hidden")]
    assert found[1][-2:] == ["(whiteout)", "/etc/conf"]
    assert [row[0] for row in rows(two.ok("find", "--visible", "/etc/conf"))] == ["one:1"]
    assert [row[0] for row in rows(two.ok("find", "--image", "two:1", "/etc/conf"))] == ["two:1"]


def test_json(two):
    document = two.ok("find", "--json", "etc/conf").json
    assert document["truncated"] is False
    assert document["unknown"] == {"layers": [], "files": 0}
    [place] = document["found"][0]["layers"]
    assert document["found"][0]["path"] == "/etc/conf"
    assert (place["kind"], place["size"]) == ("file", 4)
    assert place["digest"] == "sha256:" + hashlib.sha256(b"base").hexdigest()[:32]
    one, other = sorted(place["images"], key=lambda image: image["names"])
    assert one["visible"] is True
    assert (other["visible"], other["how"]) == (False, "whiteout")
    assert other["hidden_by"].startswith("sha256:")


def test_patterns_and_names(two):
    assert {row[-1] for row in rows(two.ok("find", "c*"))} == {"/etc/conf", "/opt/copy"}
    assert {row[-1] for row in rows(two.ok("find", "keep"))} == {"/etc/keep"}
    assert {row[-1] for row in rows(two.ok("find", "/opt/*"))} == {"/opt/copy"}


def test_control_characters_are_escaped(two):
    result = two.ok("find", "bad*")
    assert "\x1b" not in result.text
    assert "/bad\\x1b[2Jname\\nline" in result.text
    assert two.ok("find", "--json", "bad*").json["found"][0]["path"] == f"/{EVIL}"
    assert "\x1b" not in two.ok("du", "--duplicates").text


def test_digests(two, tmp_path):
    digest = hashlib.sha256(b"same").hexdigest()
    assert {row[-1] for row in rows(two.ok("find", f"sha256:{digest}"))} == {"/etc/keep", "/opt/copy"}
    (tmp_path / "file").write_bytes(bytes(50_000))
    assert {row[-1] for row in rows(two.ok("find", "--content-of", tmp_path / "file"))} == {"/big"}
    large = two.ok("find", "sha256:" + hashlib.sha256(bytes(50_000)).hexdigest())
    assert large.text == ""
    assert "nothing was found" in large.err
    assert "1 files have no digest of this kind" in large.err


def test_an_object_of_the_store(two):
    [image] = [one for one in two.ok("images", "--json").json if "one:1" in one["names"]]
    result = two.ok("find", image["digest"])
    assert result.text.splitlines()[1].startswith("image")
    assert result.err == ""
    assert two.ok("find", "--json", image["digest"]).json["objects"][0]["kind"] == "image"


def test_without_digests(two, tmp_path):
    layer = images.layer([images.file("quiet", b"quiet")])
    archive = images.write_oci_archive(tmp_path / "off.tar", images.image(layer, names=["off:1"]))
    two.ok("-q", "import", "--file-digests", "off", archive)
    digest = "sha256:" + hashlib.sha256(b"quiet").hexdigest()
    assert "files have no digest" in two.ok("find", digest).err
    assert rows(two.ok("find", "quiet"))[0][0] == "off:1"
    assert two.ok("find", "--update").text == "added 1 layers to the index of contents\n"
    assert rows(two.ok("find", digest))[0][-1] == "/quiet"
    two.ok("-q", "import", "--file-digests", "sha256", archive)


def test_an_index_that_is_lost(two):
    import shutil

    shutil.rmtree(two.root / "graph/contents")
    result = two.ok("find", "keep")
    assert len(rows(result)) == 2
    assert "reading 2 layers that the index of contents lacks" in result.err
    assert two.ok("check").status == 0
    assert two.ok("find", "--update", "--json").json == {"added": 2}
    assert "reading" not in two.ok("find", "keep").err


def test_a_damaged_index_is_harmless_and_repaired(two):
    (path,) = (two.root / "graph/contents").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    result = two.ok("check", "--quick")
    assert result.text.startswith(f"harmless: contents-index: graph/contents/{path.name}: ")
    assert "reading 2 layers" in two.ok("find", "keep").err
    assert "repaired: contents-index" in two.ok("check", "--quick", "--repair").text
    assert not path.exists()


def test_trimmed_layers_are_unknown(two):
    two.ok("trim")
    result = two.ok("find", "keep")
    assert result.text == ""
    assert "2 layers are not prepared for mounting" in result.err


def test_removed_images_are_not_found(two):
    two.ok("rm", "two:1")
    assert two.ok("find", "/opt/copy").text == ""
    two.ok("gc")
    assert [row[0] for row in rows(two.ok("find", "/etc/conf"))] == ["one:1"]


@pytest.mark.parametrize(
    "words",
    [(), ("a", "--content-of", "b"), ("--content-of", "/nothing"), ("",), ("--limit", "0", "a"), ("sha256:12",)],
)
def test_wrong_words(two, words):
    assert two("find", *words).status == 2


def test_an_unknown_image(two):
    assert two("find", "--image", "none:1", "a").status == 3


def test_duplicates(two):
    document = two.ok("du", "--duplicates", "--json").json
    [group] = document["largest"]
    assert (group["size"], group["copies"], group["saved"]) == (4, 2, 512)
    assert {place["path"] for place in group["places"]} == {"/etc/keep", "/opt/copy"}
    [copy] = [place for place in group["places"] if place["path"] == "/opt/copy"]
    assert [image["names"] for image in copy["images"]] == [["two:1"]]
    assert (document["groups"], document["copies"], document["saved"]) == (1, 2, 512)
    assert "one:1" in two.ok("du", "--duplicates").text
    assert two.ok("du", "--duplicates", "--json", "one:1").json["largest"] == []
    assert two("du", "--duplicates", "--if-removed", "one:1").status == 2


def test_diff_with_sizes(two):
    document = two.ok("diff", "--sizes", "--json", "one:1", "two:1").json
    sizes = {change["path"]: (change["kind"], change["before"], change["after"]) for change in document["changes"]}
    assert sizes["/etc/conf"] == ("D", 4, 0)
    assert sizes["/big"] == ("A", 0, 50_000)
    assert document["totals"]["added"] == {"paths": 3, "before": 0, "after": 50_004}
    assert document["totals"]["deleted"] == {"paths": 1, "before": 4, "after": 0}
    lines = two.ok("diff", "--sizes", "one:1", "two:1").text.splitlines()
    assert lines[-1].endswith(": +50.0 kB")
    assert any(line.split() == ["D", "-4", "B", "/etc/conf"] for line in lines)


def test_a_deleted_directory_has_the_bytes_of_its_files(arstore, tmp_path):
    base = images.layer([images.file("d/a", b"12345"), images.file("d/e/b", b"123"), images.file("r/x", b"1234567")])
    top = images.layer([images.whiteout("d"), images.file("r", b"ab")])
    archive = images.write_oci_archive(tmp_path / "t.tar", images.image(base, top, names=["t:1"]))
    arstore.ok("-q", "import", archive)
    changes = {one["path"]: one for one in arstore.ok("diff", "--sizes", "--json", "t:1").json["changes"]}
    assert (changes["/d"]["before"], changes["/d"]["after"]) == (8, 0)
    assert (changes["/r"]["before"], changes["/r"]["after"]) == (7, 2)


def test_history_with_sizes(two):
    steps = [step for step in two.ok("history", "--sizes", "--json", "two:1").json if step["diff_id"]]
    blobs = two.ok("du", "--json", "two:1").json["images"][0]
    assert sum(step["sizes"]["on_disk"] for step in steps) <= blobs["size"]
    assert [step["sizes"]["files"] for step in steps] == [50_004, 12]
    assert [step["sizes"]["entries"] for step in steps] == [4, 4]
    assert all(0 < step["sizes"]["blob"] < step["size"] for step in steps)
    head = two.ok("history", "--sizes", "two:1").text.splitlines()[0].split()
    assert head == ["CREATED", "LAYER", "SIZE", "BLOB", "FILES", "ENTRIES", "ON", "DISK", "CREATED", "BY"]
    json.dumps(steps)
