"""Images affected by damage: `check` names them, and `images` marks them until something changes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support import images, stores
from support.cli import Arstore

BASE = images.layer([images.directory("./"), images.file("base", b"base")], "none")
ONE = images.image(BASE, images.layer([images.file("one", b"one")], "none"), names=["one:1", "one:2"])
TWO = images.image(BASE, images.layer([images.file("two", b"two")], "none"), names=["two:1"])
OTHER = images.image(images.layer([images.file("other", b"other")], "none"), names=["other:1"])
NAMELESS = images.image(BASE, images.layer([images.file("nameless", b"x")], "none"))
FAMILY = [ONE, TWO, NAMELESS]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A store with all the images, and their archives."""
    place = tmp_path_factory.mktemp("family")
    arstore = Arstore(place / "root", place / "run")
    arstore.ok("-q", "import", images.write_oci_archive(place / "all.tar", ONE, TWO, OTHER))
    arstore.ok("-q", "import", "--name", "gone:1", images.write_oci_archive(place / "nameless.tar", NAMELESS))
    arstore.ok("untag", "gone:1")
    return place


@pytest.fixture
def store(tmp_path, family):
    for name in ("root", "all.tar", "nameless.tar"):
        subprocess.run(["cp", "-a", family / name, tmp_path], check=True)
    return Arstore(tmp_path / "root", tmp_path / "run")


def blob(store, digest):
    return Path(store.root, "blobs", *digest.split(":"))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(data)


def damaged(store):
    """The images that `images` marks, in JSON and in the table."""
    listed = store.json("images")
    marked = {image["digest"] for image in listed if image.get("damage")}
    lines = store.ok("images").text.splitlines()
    assert lines[0].endswith("STATE") == bool(marked)
    in_table = {line.split()[1] for line in lines[1:] if line.endswith("  damaged")}
    assert in_table == {digest.partition(":")[2][:12] for digest in marked}
    return marked


def finding(store, kind, *options):
    done = store.run("check", "--json", *options)
    (found,) = (one for one in done.json["findings"] if one["kind"] == kind)
    return found, done.json


def digests(found):
    return {image["digest"] for image in found["images"]}


@pytest.mark.parametrize("quick", [True, False])
def test_a_missing_blob_of_a_shared_layer(store, quick):
    options = ["--quick"] if quick else []
    assert damaged(store) == set()
    kept = blob(store, BASE.digest).read_bytes()
    blob(store, BASE.digest).unlink()
    found, document = finding(store, "blob-missing", *options)
    assert digests(found) == digests(document) == {image.digest for image in FAMILY}
    assert found["image_count"] == 3
    assert {tuple(image["names"]) for image in found["images"]} == {("one:1", "one:2"), ("two:1",), ()}
    text = store.run("check", *options)
    assert text.status == 32
    line = next(line for line in text.text.splitlines() if "blob-missing" in line)
    for name in ("one:1", "one:2", "two:1", NAMELESS.digest.partition(":")[2][:12]):
        assert name in line
    assert "other:1" not in text.text
    assert "1 finding of damage, affecting 3 images" in text.err
    assert damaged(store) == {image.digest for image in FAMILY}
    blob(store, BASE.digest).write_bytes(kept)
    assert damaged(store) == set()
    store.ok("check")
    assert not (store.root / "graph/damage.json").exists()


def test_a_quick_look_keeps_what_a_deep_one_has_found(store):
    flip(blob(store, ONE.config_digest))
    assert store.run("check", "--quick").status == 0
    assert damaged(store) == set()
    found, _ = finding(store, "blob-digest")
    assert digests(found) == {ONE.digest}
    blob(store, TWO.config_digest).unlink()
    assert store.run("check", "--quick").status == 32
    assert damaged(store) == {ONE.digest, TWO.digest}


def test_a_repair_and_an_import_take_the_mark_away(store, tmp_path):
    blob(store, BASE.digest).unlink()
    flip(blob(store, TWO.digest))
    store.run("check")
    assert damaged(store) == {image.digest for image in FAMILY}
    # One bit of a document is found again; a blob comes from the tree's tar.
    assert store.run("check", "--repair").status == 0
    assert damaged(store) == set()
    blob(store, BASE.digest).unlink()
    blob(store, OTHER.config_digest).unlink()
    store.run("check")
    assert damaged(store) == {image.digest for image in (*FAMILY, OTHER)}
    store.ok("import", tmp_path / "all.tar")
    assert damaged(store) == set()
    store.ok("check")


def test_an_image_that_was_removed_is_not_listed(store):
    blob(store, BASE.digest).unlink()
    store.run("check")
    store.ok("rm", "two:1")
    assert damaged(store) == {ONE.digest, NAMELESS.digest}


def test_an_altered_tree(store):
    tree = next((store.root / "trees" / ONE.diff_ids[1].partition(":")[2]).glob("layer.erofs"))
    flip(tree)
    found, _ = finding(store, "tree-altered")
    assert digests(found) == {ONE.digest}
    assert damaged(store) == {ONE.digest}
    store.ok("check", "--repair")
    assert damaged(store) == set()


def test_an_index_needs_what_its_images_need(store, tmp_path):
    index = images.index(ONE, names=["index:1"])
    store.ok("import", "--all-platforms", images.write_oci_archive(tmp_path / "index.tar", index))
    blob(store, ONE.layers[1].digest).unlink()
    found, _ = finding(store, "blob-missing")
    assert digests(found) == {ONE.digest, index.digest}
    assert damaged(store) == {ONE.digest, index.digest}


def test_records_that_are_damaged_or_missing(store, tmp_path):
    with stores.opened(tmp_path) as opened, opened.graph.write() as change:
        change.delete("layers", ONE.chain_ids[0])
        change.delete("blobs", TWO.config_digest)
        change.delete("images", OTHER.digest)
    done = store.run("check", "--json")
    by_kind = {}
    for one in done.json["findings"]:
        by_kind.setdefault(one["kind"], set()).update(digests(one))
    assert by_kind["layer-parent"] == {image.digest for image in FAMILY}
    assert by_kind["image-blob"] == {TWO.digest}
    assert by_kind["name-image"] == {OTHER.digest}
    assert damaged(store) == {image.digest for image in FAMILY}
    store.ok("check", "--repair")
    assert damaged(store) == set()


def test_a_damaged_graph_names_the_images_of_damaged_blobs(store):
    data = store.root / "graph/data.mdb"
    with open(data, "r+b") as file:
        for page in range(2, 2 + os.stat(data).st_size // 4096, 3):
            file.seek(page * 4096)
            file.write(os.urandom(64))
    blob(store, BASE.digest).unlink()
    done = store.run("check", "--json")
    found = [one for one in done.json["findings"] if one["what"] == OTHER.config_digest]
    assert found == []
    flip(blob(store, OTHER.layers[0].digest))
    found, _ = finding(store, "blob-digest")
    assert digests(found) == {OTHER.digest}


SPOILT = [
    "",
    "{",
    "[]",
    '{"things": 1, "images": 2}',
    '{"things": [[1]], "images": {}}',
    '{"things": [["a","b","c"]], "images": {"x": [5, -1, "y"]}}',
    "\0" * 50,
]


@pytest.mark.parametrize("content", SPOILT)
def test_a_spoilt_file_says_nothing(store, content):
    (store.root / "graph/damage.json").write_text(content)
    assert damaged(store) == set()
    blob(store, BASE.digest).unlink()
    store.run("check", "--quick")
    assert damaged(store) == {image.digest for image in FAMILY}


def test_lists_are_bounded(store, tmp_path):
    many = [
        images.image(BASE, images.layer([images.file(f"m{n}")], "none"), names=[f"many{n}:1"]) for n in range(30)
    ]  # fmt: skip
    store.ok("-q", "import", images.write_oci_archive(tmp_path / "many.tar", *many))
    blob(store, BASE.digest).unlink()
    found, document = finding(store, "blob-missing", "--quick")
    assert len(found["images"]) == 20
    assert found["image_count"] == 33
    assert len(document["images"]) == 33
    line = next(line for line in store.run("check", "--quick").text.splitlines() if "blob-missing" in line)
    assert "and 29 more" in line
