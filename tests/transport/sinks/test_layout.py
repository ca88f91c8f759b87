"""An existing layout: other images, unknown fields, names that are taken over, and files that are not a layout."""

from __future__ import annotations

import json
import os

import pytest
from support import copies, images, peers, stores

from arstore.errors import ConflictError, InUseError, UsageError
from arstore.transport.sinks.layout import merged_index

ONE, TWO = stores.simple("one", names=("one:1",)), stores.simple("two", names=("two:1",))


@pytest.fixture
def layout(tmp_path):
    return images.write_layout(tmp_path / "layout", ONE)


@pytest.fixture
def source(tmp_path):
    return images.write_oci_archive(tmp_path / "two.tar", TWO)


def index_of(path):
    return json.loads((path / "index.json").read_bytes())


def names_of(path):
    return {name: image.digest for image in copies.read(f"oci:{path}").images.values() for name in image.names}


def test_other_images_and_unknown_fields_stay(layout, source):
    index = index_of(layout)
    index["annotations"] = {"note": "mine"}
    index["future"] = [1, {"x": None}]
    index["manifests"][0]["future"] = "kept"
    index["manifests"].append({"unknown": "shape"})
    (layout / "index.json").write_text(json.dumps(index))
    copies.copy(source, copies.Target("oci", layout))
    now = index_of(layout)
    assert (now["annotations"], now["future"]) == ({"note": "mine"}, [1, {"x": None}])
    assert now["manifests"][:2] == index["manifests"]
    assert [entry["digest"] for entry in now["manifests"][2:]] == [TWO.digest]
    assert (layout / "oci-layout").read_bytes() == images.LAYOUT


def test_a_name_is_taken_over(layout, tmp_path):
    newer = stores.simple("newer", names=("one:1",))
    copies.copy(images.write_oci_archive(tmp_path / "newer.tar", newer), copies.Target("oci", layout))
    assert names_of(layout) == {"one:1": newer.digest}
    assert len(index_of(layout)["manifests"]) == 1


def test_a_name_that_containerd_wrote_is_taken_over(layout, tmp_path):
    """Docker and containerd write the tag alone where arstore writes the name."""
    index = index_of(layout)
    index["manifests"][0]["annotations"] = {
        images.REF_NAME: "1",
        images.CONTAINERD_NAME: "docker.io/library/one:1",
    }
    (layout / "index.json").write_text(json.dumps(index))
    newer = stores.simple("newer", names=("one:1",))
    copies.copy(images.write_oci_archive(tmp_path / "newer.tar", newer), copies.Target("oci", layout))
    assert names_of(layout) == {"one:1": newer.digest}


@pytest.mark.parametrize(
    "entry",
    [None, 1, "x", [], {}, {"annotations": None}, {"annotations": []}, {"annotations": {images.REF_NAME: 1}}],
    ids=repr,
)
def test_entries_of_any_shape_stay(entry):
    new = {"mediaType": images.OCI_MANIFEST, "digest": TWO.digest, "size": 1, "annotations": {images.REF_NAME: "x:1"}}
    assert json.loads(merged_index({"manifests": [entry]}, [new]))["manifests"] == [entry, new]


def test_the_reference_of_the_user(tmp_path, source):
    copies.copy(source, copies.Target("oci", tmp_path / "layout", "v2"))
    (entry,) = index_of(tmp_path / "layout")["manifests"]
    assert entry["annotations"] == {images.REF_NAME: "v2"}


def test_one_reference_is_not_for_two_images(tmp_path):
    source = images.write_oci_archive(tmp_path / "both.tar", ONE, TWO)
    for kind in ("oci", "oci-archive"):
        with pytest.raises(UsageError, match="holds one image, but 2"):
            copies.copy(source, copies.Target(kind, tmp_path / kind, "v2"))
        assert not (tmp_path / kind).exists()


def test_an_image_of_several_names_has_one_reference(tmp_path):
    source = images.write_oci_archive(tmp_path / "x.tar", stores.simple("x", names=("a:1", "b:1")))
    copies.copy(source, copies.Target("oci", tmp_path / "layout", "v2"))
    assert len(index_of(tmp_path / "layout")["manifests"]) == 1


@pytest.mark.tools("umoci")
def test_a_layout_that_umoci_began(tmp_path, source):
    peers.run("umoci", "init", "--layout", tmp_path / "layout")
    copies.copy(source, copies.Target("oci", tmp_path / "layout", "v2"))
    assert peers.run("umoci", "ls", "--layout", tmp_path / "layout").split() == ["v2"]


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": b"mine"},
        {"index.json": b'{"my": "data"}'},
        {"index.json": b'{"manifests": {}}', "oci-layout": images.LAYOUT},
        {"version": b"1.0\n", "manifest.json": b"{}"},
        {"blobs": b"a file"},
    ],
    ids=lambda files: " ".join(files),
)
def test_something_else_is_refused_and_left(tmp_path, source, files):
    place = tmp_path / "place"
    place.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)
    with pytest.raises((ConflictError, OSError)):
        copies.copy(source, copies.Target("oci", place))
    assert copies.everything(place) == files
    assert set(os.listdir(place)) == set(files)


def test_two_copies_at_once(layout, source):
    with copies.Target("oci", layout).opened(), pytest.raises(InUseError, match="another copy"):
        copies.copy(source, copies.Target("oci", layout))
    assert names_of(layout) == {"one:1": ONE.digest}


def test_what_killed_copies_left_is_removed_and_nothing_else(layout, source):
    ours, theirs = ".partial-0123456789abcdef", ".partial-of-mine"
    for place in (layout, layout / "blobs/sha256"):
        (place / ours).write_bytes(b"x")
        (place / theirs).write_bytes(b"x")
    copies.copy(source, copies.Target("oci", layout))
    for place in (layout, layout / "blobs/sha256"):
        assert not (place / ours).exists()
        assert (place / theirs).exists()


def test_a_blob_of_another_size_is_written_anew(layout, tmp_path):
    blob = layout / "blobs" / ONE.layers[0].digest.replace(":", "/")
    blob.write_bytes(b"cut")
    copies.copy(images.write_oci_archive(tmp_path / "one.tar", ONE), copies.Target("oci", layout))
    assert blob.read_bytes() == ONE.layers[0].blob


def test_a_link_in_place_of_a_blob_is_replaced(layout, tmp_path):
    blob = layout / "blobs" / ONE.layers[0].digest.replace(":", "/")
    blob.unlink()
    blob.symlink_to(tmp_path / "elsewhere")
    copies.copy(images.write_oci_archive(tmp_path / "one.tar", ONE), copies.Target("oci", layout))
    assert not blob.is_symlink()
    assert blob.read_bytes() == ONE.layers[0].blob


@pytest.mark.parametrize("below", ["blobs", "blobs/sha256"])
def test_a_link_that_may_lead_into_a_store_is_refused(tmp_path, source, below):
    with stores.opened(tmp_path) as store:
        stores.bring(store, ONE)
        before = stores.State(store)
        place = tmp_path / "layout"
        (place / below).parent.mkdir(parents=True)
        (place / "oci-layout").write_bytes(images.LAYOUT)
        (place / below).symlink_to(tmp_path / "root" / below)
        with pytest.raises(ConflictError, match="is a symbolic link"):
            copies.copy(source, copies.Target("oci", place))
        before.verify()


def test_source_is_destination(layout):
    before = copies.everything(layout)
    copies.copy(layout, copies.Target("oci", layout))
    assert names_of(layout) == {"one:1": ONE.digest}
    assert set(copies.everything(layout)) == set(before)
