"""docker-archives, field by field: moby's image specification 1.0 to 1.2, and archives of docker, podman and skopeo."""

from __future__ import annotations

import json
import tarfile

import pytest
from support import copies, images, peers
from support.copies import members

BUSY = images.example(["busybox:1", "registry.example:5000/team/app:v1"])


@pytest.fixture
def saved(tmp_path):
    source = images.write_oci_archive(tmp_path / "source.tar", BUSY)
    target = copies.target("docker-archive", tmp_path)
    copies.copy(source, target)
    return members(target.path)


def hexes(digests):
    return [digest.partition(":")[2] for digest in digests]


def test_manifest_json(saved):
    """v1.2.md, "Combined Image JSON + Filesystem Changeset Format"."""
    (item,) = json.loads(saved["manifest.json"])
    assert set(item) == {"Config", "RepoTags", "Layers"}
    assert item["Config"] == f"{hexes([BUSY.config_digest])[0]}.json"
    assert sorted(item["RepoTags"]) == sorted(BUSY.names)
    assert item["Layers"] == [f"{one}.tar" for one in hexes(BUSY.diff_ids)]
    assert saved[item["Config"]] == BUSY.config
    assert [saved[name] for name in item["Layers"]] == [layer.tar for layer in BUSY.layers]


def chain(saved):
    """The ids of the layers' directories, top first, as a reader of version 1.0 follows them."""
    repositories = json.loads(saved["repositories"])
    tops = {layer for tags in repositories.values() for layer in tags.values()}
    (top,) = tops
    found = []
    while top:
        found.append(top)
        top = json.loads(saved[f"{top}/json"]).get("parent", "")
    return found


def test_repositories(saved):
    """v1.md: names without tags, tags, and the id of the layer on top."""
    repositories = json.loads(saved["repositories"])
    assert {name: set(tags) for name, tags in repositories.items()} == {
        "busybox": {"1"},
        "registry.example:5000/team/app": {"v1"},
    }


def test_directories_of_layers(saved):
    """v1.md: VERSION is 1.0, `json` has the id and the parent, `layer.tar` the changes."""
    ids = chain(saved)
    assert len(ids) == len(BUSY.layers)
    for layer_id, layer in zip(ids, reversed(BUSY.layers), strict=True):
        assert saved[layer_id] is None
        assert saved[f"{layer_id}/VERSION"] == b"1.0"
        assert json.loads(saved[f"{layer_id}/json"])["id"] == layer_id
        assert len(layer_id) == 64
        link = saved[f"{layer_id}/layer.tar"]
        assert saved[link.removeprefix("../")] == layer.tar
    top = json.loads(saved[f"{ids[0]}/json"])
    config = json.loads(BUSY.config)
    assert {key: top[key] for key in ("architecture", "os", "created", "config")} == {
        key: config[key] for key in ("architecture", "os", "created", "config")
    }
    assert all("config" not in json.loads(saved[f"{layer_id}/json"]) for layer_id in ids[1:])


def test_nothing_else_is_there(saved):
    ids = chain(saved)
    expected = {f"{one}.tar" for one in hexes(BUSY.diff_ids)} | {f"{hexes([BUSY.config_digest])[0]}.json"}
    expected |= {f"{one}{rest}" for one in ids for rest in ("", "/VERSION", "/json", "/layer.tar")}
    assert set(saved) == expected | {"manifest.json", "repositories"}


def test_layers_come_before_the_lists(tmp_path):
    """docker and podman stream: the files that the lists name must come before the lists."""
    target = copies.target("docker-archive", tmp_path)
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", BUSY), target)
    with tarfile.open(target.path) as archive:
        assert archive.getnames()[-2:] == ["manifest.json", "repositories"]


def two_with_shared_layers(tmp_path, kind):
    base, one, two = (images.layer([images.file(name)]) for name in "abc")
    pictures = images.image(base, one, names=["one:1"]), images.image(base, two, names=["two:1", "two:2"])
    target = copies.target(kind, tmp_path)
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", *pictures), target)
    return pictures, members(target.path), target.path


def test_a_shared_layer_is_there_once(tmp_path):
    (one, two), saved, path = two_with_shared_layers(tmp_path, "docker-archive")
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    items = {item["Config"]: item for item in json.loads(saved["manifest.json"])}
    assert [len(item["Layers"]) for item in items.values()] == [2, 2]
    assert sorted(items[f"{hexes([two.config_digest])[0]}.json"]["RepoTags"]) == ["two:1", "two:2"]
    assert set(json.loads(saved["repositories"])) == {"one", "two"}
    assert one.diff_ids[0] == two.diff_ids[0]


def test_two_manifests_of_one_config_are_one_image(tmp_path):
    """Docker identifies images by their configs: gzip and zstd of one image are one item, with both names."""
    pictures = [images.example([f"{kind}:1"], compression=kind) for kind in ("gzip", "zstd")]
    target = copies.target("docker-archive", tmp_path)
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", *pictures), target)
    (item,) = json.loads(members(target.path)["manifest.json"])
    assert sorted(item["RepoTags"]) == ["gzip:1", "zstd:1"]


def test_without_layers_and_names(tmp_path):
    target = copies.target("docker-archive", tmp_path)
    # A file name that is not valid as an image name.
    copies.copy(images.write_oci_archive(tmp_path / "#", images.image()), target)
    saved = members(target.path)
    (item,) = json.loads(saved["manifest.json"])
    assert (item["RepoTags"], item["Layers"]) == (None, [])
    assert json.loads(saved["repositories"]) == {}


def test_names_without_layers_are_in_no_repository(tmp_path):
    """There is no layer to name; podman and skopeo write nothing there either."""
    target = copies.target("docker-archive", tmp_path)
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", images.image(names=["x:1"])), target)
    assert json.loads(members(target.path)["repositories"]) == {}


def test_one_layer_three_times(tmp_path):
    layer = images.layer([images.file("a")])
    target = copies.target("docker-archive", tmp_path)
    copies.copy(
        images.write_oci_archive(tmp_path / "source.tar", images.image(layer, layer, layer, names=["x:1"])), target
    )
    saved = members(target.path)
    assert len(chain(saved)) == len(set(chain(saved))) == 3
    assert json.loads(saved["manifest.json"])[0]["Layers"] == [f"{hexes([layer.diff_id])[0]}.tar"] * 3


def test_the_hybrid_of_docker_25(tmp_path):
    """moby's image/tarexport/save.go since version 25."""
    (one, two), saved, _ = two_with_shared_layers(tmp_path, "docker-oci-archive")
    for item, picture in zip(json.loads(saved["manifest.json"]), (one, two), strict=True):
        assert item["Config"] == f"blobs/sha256/{hexes([picture.config_digest])[0]}"
        assert item["Layers"] == [f"blobs/sha256/{one}" for one in hexes(layer.digest for layer in picture.layers)]
        assert saved[item["Config"]] == picture.config
    assert json.loads(saved["repositories"]) == {
        name: dict.fromkeys(tags, hexes([picture.layers[-1].digest])[0])
        for name, tags, picture in (("one", ["1"], one), ("two", ["1", "2"], two))
    }
    entries = json.loads(saved["index.json"])["manifests"]
    assert {(entry["annotations"][images.REF_NAME], entry["digest"]) for entry in entries} == {
        ("one:1", one.digest),
        ("two:1", two.digest),
        ("two:2", two.digest),
    }
    assert {entry["annotations"][images.CONTAINERD_NAME] for entry in entries} == {
        f"docker.io/library/{name}" for name in ("one:1", "two:1", "two:2")
    }


@pytest.mark.tools("skopeo")
@pytest.mark.parametrize("kind", ["docker-archive", "docker-oci-archive"])
def test_skopeo_reads_it(tmp_path, kind):
    target = copies.target(kind, tmp_path)
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", BUSY), target)
    peers.skopeo_copy(f"docker-archive:{target.path}:busybox:1", f"oci:{tmp_path}/by-skopeo:x")
    found = copies.read(f"oci:{tmp_path}/by-skopeo").one
    assert found.diff_ids == BUSY.diff_ids


@pytest.mark.tools("skopeo")
def test_skopeo_lists_the_same_tags(tmp_path):
    target = copies.target("docker-archive", tmp_path)
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", BUSY), target)
    tags = json.loads(peers.run("skopeo", "list-tags", f"docker-archive:{target.path}"))["Tags"]
    assert sorted(tags) == ["busybox:1", "registry.example:5000/team/app:v1"]


@pytest.mark.tools("skopeo")
def test_beside_what_skopeo_writes(tmp_path):
    """The same members, except for directories and the ids of layers, which each tool makes differently."""
    picture = images.example(["docker.io/library/x:1"])
    layout = images.write_layout(tmp_path / "layout", picture)
    peers.skopeo_copy(f"oci:{layout}:docker.io/library/x:1", f"docker-archive:{tmp_path}/theirs:x:1")
    target = copies.target("docker-archive", tmp_path)
    copies.copy(layout, target)
    theirs, ours = members(tmp_path / "theirs"), members(target.path)
    assert {name for name in theirs if "/" not in name} <= set(ours)
    assert json.loads(theirs["manifest.json"]) == json.loads(ours["manifest.json"])
    assert set(json.loads(theirs["repositories"])) == set(json.loads(ours["repositories"]))
    assert sorted(name.partition("/")[2] for name in theirs if "/" in name) == sorted(
        name.partition("/")[2] for name in ours if "/" in name
    )
