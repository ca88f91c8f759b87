"""Conversions: documents between OCI and Docker's schema 2, layers between compressions, and what forbids them."""

from __future__ import annotations

import gzip
import json

import pytest
from support import copies, images, stores

from arstore.errors import ConversionError
from arstore.tar.compression import Compression
from arstore.transport.export.options import ExportOptions
from arstore.transport.selection.selector import Wanted

SUFFIXES = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}
DOCKER_SUFFIXES = {"none": "", "gzip": ".gzip"}


def converted(tmp_path, picture, name="to", **options):
    source = images.write_oci_archive(tmp_path / "source.tar", picture)
    target = copies.target("oci", tmp_path, name)
    done = copies.copy(source, target, ExportOptions(**options))
    found = copies.read(target.reference).one
    assert found.digest == done.tops[0].descriptor.digest
    raw = (target.path / "blobs" / found.digest.replace(":", "/")).read_bytes()
    return found, json.loads(raw)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_to_docker_and_back(tmp_path, compression):
    picture = images.example(["x:1"], compression=compression)
    found, manifest = converted(tmp_path, picture, form="v2s2")
    assert found.media_type == manifest["mediaType"] == images.DOCKER_MANIFEST
    assert manifest["config"]["mediaType"] == images.DOCKER_CONFIG
    assert found.config == picture.config
    assert [(layer["digest"], layer["mediaType"]) for layer in manifest["layers"]] == [
        (layer.digest, images.DOCKER_LAYER + DOCKER_SUFFIXES[compression]) for layer in picture.layers
    ]
    back = copies.target("oci", tmp_path, "back")
    copies.copy(tmp_path / "to", back, ExportOptions(form="oci"))
    assert [digest for digest, _, _ in copies.read(back.reference).one.layers] == [one.digest for one in picture.layers]
    assert copies.read(back.reference).one.media_type == images.OCI_MANIFEST


def test_docker_has_no_zstd(tmp_path):
    """Layers in zstd become gzip, because the format has to be Docker's."""
    picture = images.example(["x:1"], compression="zstd")
    found, _ = converted(tmp_path, picture, form="v2s2")
    assert {kind for _, kind, _ in found.layers} == {images.DOCKER_LAYER + ".gzip"}
    assert found.diff_ids == picture.diff_ids


def test_zstd_in_dockers_format_is_refused(tmp_path):
    with pytest.raises(ConversionError, match="cannot be zstd in Docker's format"):
        converted(tmp_path, images.example(), form="v2s2", compression=Compression.ZSTD)
    with pytest.raises(ConversionError, match="cannot be zstd"):
        converted(tmp_path, images.example(docker=True), compression=Compression.ZSTD)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("have", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("want", list(SUFFIXES))
def test_compressions(tmp_path, have, want):
    picture = images.example(["x:1"], compression=have)
    found, _ = converted(tmp_path, picture, compression=Compression(want))
    assert {kind for _, kind, _ in found.layers} == {images.OCI_LAYER + SUFFIXES[want]}
    assert found.diff_ids == picture.diff_ids
    assert (found.digest == picture.digest) == (have == want)


@pytest.mark.parametrize("want", ["gzip", "zstd"])
def test_levels_and_equal_bytes(tmp_path, want):
    picture = images.example(["x:1"], compression="none")
    kind = Compression(want)
    one, _ = converted(tmp_path, picture, "one", compression=kind, level=1)
    again, _ = converted(tmp_path, picture, "again", compression=kind, level=1)
    best, _ = converted(tmp_path, picture, "best", compression=kind, level=9)
    assert one == again
    assert one.digest != best.digest


def test_gzip_is_zlibs_without_names_and_times(tmp_path):
    picture = images.example(["x:1"], compression="none")
    found, _ = converted(tmp_path, picture, compression=Compression.GZIP)
    for (digest, _, _), layer in zip(found.layers, picture.layers, strict=True):
        blob = (tmp_path / "to" / "blobs" / digest.replace(":", "/")).read_bytes()
        assert blob[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
        assert gzip.decompress(blob) == layer.tar


def test_a_pipe_gets_the_same_conversion(tmp_path):
    source = images.write_oci_archive(tmp_path / "source.tar", images.example(["x:1"]))
    options = ExportOptions(compression=Compression.ZSTD)
    file, pipe = copies.target("oci-archive", tmp_path), copies.target("oci-archive-pipe", tmp_path, "pipe")
    for target in (file, pipe):
        copies.copy(source, target, options)
    assert file.path.read_bytes() == pipe.path.read_bytes()


def test_a_layer_that_is_there_twice_is_converted_once(tmp_path):
    layer = images.layer([images.file("a", b"a" * 9000)], "none")
    found, _ = converted(tmp_path, images.image(layer, layer, names=["x:1"]), compression=Compression.GZIP)
    assert found.layers[0] == found.layers[1]


@pytest.mark.parametrize(
    "options",
    [{"form": "v2s2"}, {"compression": Compression.ZSTD}, {"compression": Compression.NONE}],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_preserved_digests(tmp_path, options):
    with pytest.raises(ConversionError):
        converted(tmp_path, images.example(), preserve_digests=True, **options)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("options", [{"form": "oci"}, {"compression": Compression.GZIP}], ids=["format", "compression"])
def test_what_has_the_form_already_keeps_its_digest(tmp_path, options):
    found, _ = converted(tmp_path, images.example(), preserve_digests=True, **options)
    assert found.digest == images.example().digest


def test_annotations(tmp_path):
    """OCI's format keeps all but those about the compressed bytes; Docker's format has none."""
    note = {"org.example.note": "kept", "io.github.containers.zstd-chunked.manifest-position": "1:2:3:4"}

    def edit(manifest):
        manifest["annotations"] = {"org.example.image": "kept"}
        manifest["layers"][0]["annotations"] = note

    picture = images.example(["x:1"], edit_manifest=edit)
    _, manifest = converted(tmp_path, picture, "oci", compression=Compression.ZSTD)
    assert manifest["annotations"] == {"org.example.image": "kept"}
    assert manifest["layers"][0]["annotations"] == {"org.example.note": "kept"}
    _, manifest = converted(tmp_path, picture, "docker", form="v2s2")
    assert "annotations" not in json.dumps(manifest)


def test_what_refers_to_another_manifest(tmp_path):
    def edit(manifest):
        manifest["subject"] = {"mediaType": images.OCI_MANIFEST, "digest": images.sha256(b"x"), "size": 1}

    picture = images.example(["x:1"], edit_manifest=edit)
    with pytest.raises(ConversionError, match="refers to another manifest"):
        converted(tmp_path, picture, compression=Compression.ZSTD)
    assert converted(tmp_path, picture)[0].digest == picture.digest


@pytest.mark.parametrize("suffix", ["xz", "bzip2"])
def test_layers_of_a_type_that_is_not_registered(tmp_path, suffix):
    """They stay as long as their manifest does, and become gzip in Docker's format."""
    picture = images.example(["x:1"], compression=suffix)
    assert converted(tmp_path, picture, "as-is")[0].digest == picture.digest
    found, _ = converted(tmp_path, picture, "docker", form="v2s2")
    assert {kind for _, kind, _ in found.layers} == {images.DOCKER_LAYER + ".gzip"}
    found, _ = converted(tmp_path, picture, "zstd", compression=Compression.ZSTD)
    assert found.diff_ids == picture.diff_ids


MULTI = images.index(
    images.example([]), stores.simple("arm", architecture="arm64", compression="gzip"), names=["multi:1"]
)


def convert_index(tmp_path, whole, **options):
    source = images.write_oci_archive(tmp_path / "source.tar", whole)
    target = copies.target("oci", tmp_path, "to")
    done = copies.copy(source, target, ExportOptions(every=True, **options), Wanted(every=True))
    return done, copies.read(target.reference, every=True)


def test_an_index_in_dockers_format(tmp_path):
    done, found = convert_index(tmp_path, MULTI, form="v2s2")
    ((digest, (raw, names)),) = found.indexes.items()
    document = json.loads(raw)
    assert names == ("multi:1",)
    assert document["mediaType"] == images.DOCKER_INDEX
    assert [entry["mediaType"] for entry in document["manifests"]] == [images.DOCKER_MANIFEST] * 2
    assert [entry["platform"]["architecture"] for entry in document["manifests"]] == [images.HOST_ARCHITECTURE, "arm64"]
    assert {entry["digest"] for entry in document["manifests"]} == set(found.images) == set(done.tops[0].members)
    assert digest == done.tops[0].descriptor.digest
    assert (done.sparse, done.dropped) == (0, 0)


def test_entries_without_a_platform_are_given_it(tmp_path):
    document = json.loads(MULTI.raw)
    for entry in document["manifests"]:
        del entry["platform"]
    whole = images.Collection(MULTI.parts, images.dump(document), MULTI.names)
    _, found = convert_index(tmp_path, whole, form="v2s2")
    ((raw, _),) = found.indexes.values()
    architectures = [entry["platform"]["architecture"] for entry in json.loads(raw)["manifests"]]
    assert architectures == [images.HOST_ARCHITECTURE, "arm64"]


def test_an_index_in_an_index_follows_its_images(tmp_path):
    whole = images.index(images.index(stores.simple("a", compression="gzip")), names=["x:1"])
    _, found = convert_index(tmp_path, whole, compression=Compression.ZSTD)
    assert {kind for _, kind, _ in next(iter(found.images.values())).layers} == {images.OCI_LAYER + "+zstd"}
    assert len(found.indexes) == 2


def attested(entry_type=images.OCI_MANIFEST):
    """An index with an image, and an attestation as BuildKit writes it; and the blobs of the latter."""
    picture = images.example([])
    statement = images.dump({"predicate": "x"})
    config = images.dump({"architecture": "unknown", "os": "unknown"})
    manifest = images.dump(
        {
            "schemaVersion": 2,
            "mediaType": images.OCI_MANIFEST,
            "config": {"mediaType": images.OCI_CONFIG, "digest": images.sha256(config), "size": len(config)},
            "layers": [
                {
                    "mediaType": "application/vnd.in-toto+json",
                    "digest": images.sha256(statement),
                    "size": len(statement),
                }
            ],
        }
    )
    entry = {
        "mediaType": entry_type,
        "digest": images.sha256(manifest),
        "size": len(manifest),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": picture.digest,
        },
    }
    raw = images.dump({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [picture.descriptor(), entry]})
    blobs = {images.sha256(data): data for data in (statement, config, manifest)}
    return images.Collection((picture,), raw, ("x:1",)), blobs


def archive_of(path, whole, blobs):
    return images.write_oci_archive(path, whole, replace=blobs)


def test_attestations_come_with_all_platforms(tmp_path):
    whole, blobs = attested()
    target = copies.target("oci", tmp_path)
    done = copies.copy(archive_of(tmp_path / "x.tar", whole, blobs), target, wanted=Wanted(every=True))
    assert done.sparse == 0
    for digest, data in blobs.items():
        assert (target.path / "blobs" / digest.replace(":", "/")).read_bytes() == data
    assert (target.path / "blobs" / whole.digest.replace(":", "/")).read_bytes() == whole.raw


@pytest.mark.parametrize("part", range(3))
def test_an_attestation_that_is_not_all_there_stays_out(tmp_path, part):
    whole, blobs = attested()
    missing = list(blobs)[part]
    del blobs[missing]
    target = copies.target("oci", tmp_path)
    done = copies.copy(archive_of(tmp_path / "x.tar", whole, blobs), target, wanted=Wanted(every=True))
    assert done.sparse == 1
    assert not any((target.path / "blobs" / digest.replace(":", "/")).exists() for digest in blobs)


def test_what_is_no_manifest_comes_as_it_is(tmp_path):
    whole, blobs = attested("application/vnd.example.thing")
    thing = b"\0no json"
    digest = images.sha256(thing)
    document = json.loads(whole.raw)
    document["manifests"][1].update(digest=digest, size=len(thing))
    whole = images.Collection(whole.parts, images.dump(document), ("x:1",))
    target = copies.target("oci", tmp_path)
    done = copies.copy(archive_of(tmp_path / "x.tar", whole, {digest: thing}), target, wanted=Wanted(every=True))
    assert done.sparse == 0
    assert (target.path / "blobs" / digest.replace(":", "/")).read_bytes() == thing
    assert blobs


def test_a_converted_index_has_no_attestations_and_says_so(tmp_path):
    whole, blobs = attested()
    target = copies.target("oci", tmp_path)
    options = ExportOptions(every=True, compression=Compression.ZSTD)
    done = copies.copy(archive_of(tmp_path / "x.tar", whole, blobs), target, options, Wanted(every=True))
    assert (done.sparse, done.dropped) == (0, 1)
    ((raw, _),) = copies.read(target.reference, every=True).indexes.values()
    assert len(json.loads(raw)["manifests"]) == 1


def test_a_sparse_index_keeps_its_digest_and_is_counted(tmp_path):
    arm = MULTI.parts[1]
    source = images.write_layout(tmp_path / "layout", MULTI, omit=arm.blobs())
    target = copies.target("oci-archive", tmp_path)
    done = copies.copy(source, target, wanted=Wanted(every=True))
    assert done.sparse == 1
    assert done.tops[0].descriptor.digest == MULTI.digest
    assert set(copies.read(target.reference, every=True).images) == {MULTI.parts[0].digest}
