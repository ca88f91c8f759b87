"""`images` and `layers`."""

from __future__ import annotations

from support import images


def test_an_empty_store(arstore):
    assert arstore.ok("images", "--json").json == []
    assert arstore.ok("layers", "--json").json == []
    assert arstore.ok("images").text.split() == ["NAME", "DIGEST", "PLATFORM", "CREATED", "SIZE", "LAYERS"]


def test_json(filled, picture):
    [image] = filled.ok("images", "--json").json
    assert image.pop("imported").endswith("Z")
    blobs = picture.blobs()
    assert image == {
        "digest": picture.digest,
        "names": ["example:1", "example:latest"],
        "media_type": images.OCI_MANIFEST,
        "platform": f"linux/{images.HOST_ARCHITECTURE}",
        "created": "2023-11-14T22:13:20Z",
        "size": sum(map(len, blobs.values())),
        "layers": [layer.digest for layer in picture.layers],
        "config": picture.config_digest,
        "store": None,
        "read_only": False,
        "protected": False,
    }


def test_a_line_a_name_and_those_without_last(filled, picture, tmp_path):
    other = images.image(images.layer([images.file("x")]))
    path = images.write_oci_archive(tmp_path / "流水线.tar", other)
    filled.ok("-q", "import", path)
    lines = [line.split() for line in filled.ok("images").text.splitlines()[1:]]
    assert [line[0] for line in lines] == ["example:1", "example:latest", "-"]
    assert [line[1] for line in lines] == [picture.digest[7:19]] * 2 + [other.digest[7:19]]
    assert lines[0][-1] == "3"
    assert "2023-11-14 22:13" in filled.ok("images").text


def test_an_index(arstore, tmp_path):
    parts = [images.image(images.layer([images.file(name)]), architecture=name) for name in ("amd64", "arm64")]
    whole = images.index(*parts, names=["multi:1"])
    arstore.ok("-q", "import", "--all-platforms", images.write_oci_archive(tmp_path / "m.tar", whole))
    found = {image["digest"]: image for image in arstore.ok("images", "--json").json}
    assert set(found[whole.digest]["index"]["manifests"]) == {part.digest for part in parts}
    assert "index" not in found[parts[0].digest]
    assert any("index of 2" in line for line in arstore.ok("images").text.splitlines())


def test_layers(filled, picture, tmp_path):
    upper = images.image(*picture.layers[:2], images.layer([images.file("other")]), names=["upper:1"])
    filled.ok("-q", "import", images.write_oci_archive(tmp_path / "upper.tar", upper))
    found = {layer["chain_id"]: layer for layer in filled.ok("layers", "--json").json}
    assert set(found) == {*picture.chain_ids, *upper.chain_ids}
    bottom, middle, top = (found[chain_id] for chain_id in picture.chain_ids)
    assert bottom["parent"] == ""
    assert (middle["parent"], top["parent"]) == (bottom["chain_id"], middle["chain_id"])
    assert bottom["images"] == [picture.digest, upper.digest]
    assert top["images"] == [picture.digest]
    assert top["diff_id"] == picture.diff_ids[2]
    assert top["blobs"] == [picture.layers[2].digest]
    assert top["size"] == len(picture.layers[2].tar)
    lines = filled.ok("layers").text.splitlines()
    assert lines[1].split()[0] == picture.diff_ids[0][7:19]
    assert lines[1].split()[-1] == "2"
    assert len(lines) == 5
