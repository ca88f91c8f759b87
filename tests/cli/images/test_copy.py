"""`copy` and `save`: their output, their arguments, and what they refuse."""

from __future__ import annotations

import json
import os

import pytest
from support import copies, images, stores

MULTI = images.index(
    images.example([]), stores.simple("arm", architecture="arm64", compression="gzip"), names=["multi:1"]
)


@pytest.fixture
def multi(arstore, tmp_path):
    arstore.ok("-q", "import", "--all-platforms", images.write_oci_archive(tmp_path / "multi.tar", MULTI))
    return arstore


def test_save_prints_a_line_an_image(filled, tmp_path, picture):
    result = filled.ok("save", "example:1", "-o", tmp_path / "out.tar")
    assert result.text == f"{picture.digest} example:1\n"
    assert copies.read(tmp_path / "out.tar").one.names == ("example:1",)
    result = filled.ok("save", picture.digest, "-o", tmp_path / "out.tar")
    assert result.text == f"{picture.digest} example:1 example:latest\n"


def test_save_json(filled, tmp_path, picture):
    result = filled.ok("save", "--json", "example:1", "-o", tmp_path / "out.tar")
    document = result.json
    (image,) = document.pop("images")
    expected = {"skipped": [], "skipped_count": 0, "sparse": 0, "dropped": 0, "encrypted": 0, "attached": 0, "left": 0}
    assert document == expected
    assert image == {
        "digest": picture.digest,
        "media_type": images.OCI_MANIFEST,
        "config": picture.config_digest,
        "names": ["example:1"],
        "manifests": [],
        "layers": [
            {
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "chain_id": chain_id,
                "compressed_size": len(layer.blob),
            }
            for layer, chain_id in zip(picture.layers, picture.chain_ids, strict=True)
        ],
        "platform": f"linux/{images.HOST_ARCHITECTURE}",
    }


@pytest.mark.parametrize("kind", copies.FILES)
@pytest.mark.parametrize("json_too", [(), ("--json",)])
def test_an_archive_on_stdout_is_alone_there(filled, tmp_path, kind, json_too):
    filled.ok("save", "example:1", "--format", kind, "-o", tmp_path / "file")
    for output in ((), ("-o", "-"), ("-o", "/dev/stdout")):
        result = filled.ok("save", *json_too, "example:1", "--format", kind, *output)
        assert result.out == (tmp_path / "file").read_bytes()


def test_several_images_in_one_file(filled, tmp_path, picture):
    other = stores.simple("other", names=("other:1",))
    filled.ok("-q", "import", images.write_oci_archive(tmp_path / "other.tar", other))
    filled.ok("save", "example:1", "other:1", "example:latest", "-o", tmp_path / "both")
    found = copies.read(tmp_path / "both").images
    assert {digest: set(one.names) for digest, one in found.items()} == {
        picture.digest: {"example:1", "example:latest"},
        other.digest: {"other:1"},
    }


@pytest.mark.parametrize("kind", [*copies.FILES, *copies.DIRECTORIES])
def test_saved_and_imported_and_saved_again(filled, tmp_path, kind, store_root):
    """The bytes must be the same for every store and every tree format."""
    first, again = tmp_path / "first", tmp_path / "again"
    filled.ok("save", "example:1", "--format", kind, "-o", first)
    other = type(filled)(tmp_path / "other", tmp_path / "other-run", filled._capture)
    source = f"oci-archive:{first}" if kind == "docker-oci-archive" else first
    other.ok("-q", "import", "--name", "example:1", source)
    other.ok("save", "example:1", "--format", kind, "-o", again)
    if first.is_dir():
        assert copies.everything(first) == copies.everything(again)
    else:
        assert first.read_bytes() == again.read_bytes()


def test_a_docker_archive_without_trees_has_the_same_bytes(filled, tmp_path):
    """Layers come from trees that keep tars, or are inflated from blobs."""
    source = f"oci-archive:{tmp_path / 'blobs.tar'}"
    filled.ok("save", "example:1", "--format", "docker-archive", "-o", tmp_path / "trees")
    filled.ok("save", "example:1", "-o", tmp_path / "blobs.tar")
    filled.ok("copy", source, f"docker-archive:{tmp_path / 'inflated'}")
    assert (tmp_path / "trees").read_bytes() == (tmp_path / "inflated").read_bytes()


def test_copy_from_the_store(filled, tmp_path, picture):
    for source in ("example:1", "store:example:1", f"store:{picture.digest}", picture.digest[:19]):
        target = tmp_path / "out.tar"
        result = filled.ok("copy", source, target)
        assert result.text.split()[0] == picture.digest
        target.unlink()


def test_copy_gives_a_name(filled, tmp_path, picture):
    result = filled.ok("copy", "example:1", f"oci:{tmp_path / 'layout'}:team/app:2")
    assert result.text == f"{picture.digest} team/app:2\n"
    result = filled.ok("copy", f"oci:{tmp_path / 'layout'}", f"docker-archive:{tmp_path / 'x.tar'}:other")
    assert result.text.endswith(" other:latest\n")


def test_copy_into_the_store(storeless, tmp_path, picture):
    source = images.write_oci_archive(tmp_path / "x.tar", picture)
    storeless.ok("copy", f"oci-archive:{source}", "store:mine:1")
    assert "mine:1" in storeless.ok("images").text


def test_copy_without_a_store(storeless, tmp_path, picture, store_root):
    source = images.write_oci_archive(tmp_path / "x.tar", picture)
    storeless.ok("copy", source, f"oci:{tmp_path / 'layout'}")
    assert not store_root.exists()


REFUSED = [
    (("copy", "nothing:1", "out"), 3),
    (("copy", "./missing", "out"), 3),
    (("copy", "example:1", ""), 2),
    (("copy", "example:1", "oci:-"), 2),
    (("copy", "example:1", "oci:"), 5),
    (("copy", "example:1", "no/such/directory/out"), 3),
    (("copy", "example:1", "store:other:1"), 2),
    (("copy", "store:", "out"), 5),
    (("copy", "example:1", "out", "--platform", "linux/amd64", "--all-platforms"), 2),
    (("copy", "example:1", "out", "--platform", "no platform"), 5),
    (("copy", "example:1", "out", "--compression-level", "3"), 2),
    (("copy", "example:1", "out", "--compression", "gzip", "--compression-level", "10"), 2),
    (("copy", "example:1", "out", "--compression", "none", "--compression-level", "1"), 2),
    (("copy", "example:1", "out", "--compression", "zstd", "--preserve-digests"), 29),
    (("copy", "example:1", "out", "--format", "v2s2", "--preserve-digests"), 29),
    (("copy", "example:1", "docker-archive:out", "--compression", "gzip"), 29),
    (("copy", "example:1", "docker-archive:out", "--format", "oci"), 29),
    (("copy", "example:1", "docker-archive:out", "--preserve-digests"), 29),
    (("save",), 2),
    (("save", "nothing:1", "-o", "out"), 3),
    (("save", "example:1", "-o", ""), 2),
    (("save", "example:1", "--format", "oci"), 2),
    (("save", "example:1", "--format", "dir", "-o", "-"), 2),
    (("save", "example:1", "example:latest", "nothing:1", "-o", "out"), 3),
]


@pytest.mark.parametrize(
    ("words", "status"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_what_is_refused(filled, tmp_path, monkeypatch, words, status):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    result = filled(*words)
    assert result.status == status, result.err
    assert result.out == b""
    assert result.err.startswith(("arstore: ", "Usage: ", "usage: "))
    assert len([line for line in result.err.splitlines() if line.startswith("arstore: ")]) == 1
    assert os.listdir(place) == []


def test_which_images_of_an_index(multi, tmp_path):
    result = multi.ok("save", "multi:1", "-o", tmp_path / "one.tar")
    assert result.text.split() == [MULTI.parts[0].digest, "multi:1"]
    result = multi.ok("save", "--all-platforms", "multi:1", "-o", tmp_path / "all.tar")
    assert result.text.split() == [MULTI.digest, "multi:1"]
    result = multi.ok("save", "--platform", "linux/arm64", "multi:1", "-o", tmp_path / "arm.tar")
    assert result.text.split() == [MULTI.parts[1].digest, "multi:1"]
    assert set(copies.read(tmp_path / "all.tar", every=True).images) == {one.digest for one in MULTI.parts}


def test_an_index_into_a_docker_archive(multi, tmp_path):
    result = multi("save", "--all-platforms", "multi:1", "--format", "docker-archive", "-o", tmp_path / "x")
    assert result.status == 2
    assert "cannot hold an index of several platforms; choose one with --platform" in result.err
    multi.ok("save", "multi:1", "--format", "docker-archive", "-o", tmp_path / "x")
    multi.ok("save", "--all-platforms", "multi:1", "--format", "docker-oci-archive", "-o", tmp_path / "y")
    with_both = json.loads(copies.members(tmp_path / "y")["manifest.json"])
    assert [item["RepoTags"] for item in with_both] == [["multi:1"]]


def test_a_sparse_index_is_told(arstore, tmp_path):
    source = images.write_layout(tmp_path / "layout", MULTI, omit=MULTI.parts[1].blobs())
    arstore.ok("-q", "import", "--all-platforms", source)
    result = arstore.ok("save", "--all-platforms", "multi:1", "-o", tmp_path / "x.tar")
    assert result.text.split()[0] == MULTI.digest
    assert "did not copy 1 entry of an index; the index still lists them" in result.err


def test_a_level_is_used(filled, tmp_path):
    sizes = []
    for level in ("1", "9"):
        filled.ok("copy", "example:1", tmp_path / level, "--compression", "gzip", "--compression-level", level)
        filled.ok("copy", "example:1", tmp_path / f"{level}z", "--compression", "zstd", "--compression-level", level)
        sizes.append((tmp_path / f"{level}z").stat().st_size)
    assert sizes[1] <= sizes[0]
    # Layers that are gzip already are kept, whatever the level.
    assert (tmp_path / "1").read_bytes() == (tmp_path / "9").read_bytes()


def test_progress_and_quiet(filled, tmp_path):
    events = [
        json.loads(line)
        for line in filled.ok("save", "--progress", "json", "example:1", "-o", tmp_path / "x").err.splitlines()
    ]
    assert {event["event"] for event in events} >= {"start", "finish"}
    assert filled.ok("--quiet", "save", "example:1", "-o", tmp_path / "x").err == ""
