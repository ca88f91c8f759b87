"""The store itself is an OCI layout: other tools read every image in it, also while names change."""

from __future__ import annotations

import json

import pytest
from support import images, peers

EXAMPLE = images.example()
OTHER = images.image(images.layer([images.file("other", b"other")]), names=["registry.invalid:5000/other:2"])


@pytest.fixture
def two(filled, tmp_path):
    """A store with two images, one of them under two names."""
    filled.ok("import", images.write_oci_archive(tmp_path / "other.tar", OTHER))
    filled.ok("tag", "example:1", "second:name")
    return filled


def index(store):
    return json.loads((store.root / "index.json").read_bytes())


def test_the_index_names_every_image(two):
    assert json.loads((two.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    found = {(one["digest"], one["annotations"][images.REF_NAME]) for one in index(two)["manifests"]}
    names = {(EXAMPLE.digest, "example:1"), (EXAMPLE.digest, "second:name"), (OTHER.digest, OTHER.names[0])}
    assert found == names
    assert all(one["size"] == len(EXAMPLE.manifest) for one in index(two)["manifests"][:1])


def test_the_index_follows_every_change(two):
    two.ok("untag", "second:name")
    two.ok("rm", OTHER.digest)
    assert [one["annotations"][images.REF_NAME] for one in index(two)["manifests"]] == ["example:1"]
    two.ok("untag", "example:1")
    assert [one["digest"] for one in index(two)["manifests"]] in ([], [EXAMPLE.digest])


@pytest.mark.tools("skopeo")
def test_skopeo_reads_every_image(two):
    for name, one in [("example:1", EXAMPLE), ("second:name", EXAMPLE), (OTHER.names[0], OTHER)]:
        raw = peers.run("skopeo", "inspect", "--raw", f"oci:{two.root}:{name}")
        assert images.sha256(raw.encode()) == one.digest


@pytest.mark.tools("skopeo")
def test_skopeo_copies_out_of_it(two, tmp_path):
    peers.skopeo_copy(f"oci:{two.root}:example:1", f"oci-archive:{tmp_path}/out.tar:x:1")
    assert two.json("import", tmp_path / "out.tar")["images"][0]["config"] == EXAMPLE.config_digest


@pytest.mark.tools("umoci")
def test_umoci_lists_it(two):
    listed = peers.run("umoci", "list", "--layout", two.root).split()
    assert set(listed) == {"example:1", "second:name", OTHER.names[0]}
