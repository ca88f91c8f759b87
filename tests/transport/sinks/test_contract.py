"""The contract of `ImageSink`, run on every kind: images read back the same, and nothing appears before the end."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress

import pytest
from support import attachments, copies, images, stores

from arstore.digest import Digest, VerifiedReader
from arstore.errors import ConflictError, ConversionError, UsageError
from arstore.oci.descriptor import Descriptor
from arstore.transport.detect import open_source
from arstore.transport.embedded import EmbeddedBlobs
from arstore.transport.export.options import ExportOptions
from arstore.transport.export.spool import TemporarySpool
from arstore.transport.selection.selector import Selector, Wanted

PICTURE = images.example(["example:1", "registry.example:5000/team/example:2"])


@pytest.fixture(params=copies.KINDS)
def target(request, tmp_path):
    return copies.target(request.param, tmp_path)


@pytest.fixture
def source(tmp_path):
    return images.write_oci_archive(tmp_path / "source.tar", PICTURE)


def put(sink, data, media_type=images.OCI_LAYER):
    descriptor = Descriptor(media_type, Digest.of(data), len(data))
    writer = sink.writer(descriptor)
    try:
        writer.write(data)
        writer.finish(descriptor.digest, len(data))
    finally:
        writer.close()
    return descriptor


def test_what_was_put_is_read_back(target, source):
    done = copies.copy(source, target)
    found = copies.read(target.reference).one
    assert found.config == PICTURE.config
    assert found.diff_ids == PICTURE.diff_ids
    if target.kind != "dir":
        assert sorted(found.names) == sorted(PICTURE.names)
    if target.kind in copies.MANIFESTS:
        assert found._replace(names=PICTURE.names) == copies.expected(PICTURE)
        assert [top.descriptor.digest for top in done.tops] == [PICTURE.digest]


@pytest.mark.parametrize("shape", ["empty", "twice", "docker", "zstd", "none"])
def test_odd_images(target, tmp_path, shape):
    layer = images.layer([images.file("a", b"a" * 5000)])
    picture = {
        "empty": lambda: images.image(names=["x:1"]),
        "twice": lambda: images.image(layer, layer, layer, names=["x:1"]),
        "docker": lambda: images.example(["x:1"], docker=True),
        "zstd": lambda: images.example(["x:1"], compression="zstd"),
        "none": lambda: images.example(["x:1"], compression="none"),
    }[shape]()
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", picture), target)
    found = copies.read(target.reference).one
    assert (found.config, found.diff_ids) == (picture.config, picture.diff_ids)
    if target.kind in copies.MANIFESTS:
        assert found.digest == picture.digest


def test_what_is_attached_is_read_back_or_counted(target, tmp_path):
    listed = attachments.sbom(PICTURE.descriptor(), "x" * 3000)
    signed = attachments.signature(PICTURE.digest, "first", "second")
    # A docker-archive changes the signed digest, which is refused.
    signatures = [] if target.kind.startswith("docker-archive") else [signed]
    some = [listed, attachments.sbom(listed.descriptor(), "of the list"), *signatures]
    done = copies.copy(images.write_oci_archive(tmp_path / "source.tar", PICTURE, *some), target)
    expected = {"dir": 1, "docker-archive": 0, "docker-archive-pipe": 0}.get(target.kind, 3)
    assert (done.attached, done.left) == (expected, len(some) - expected)
    found = attached(target.reference)
    if expected == 3:
        assert found == {one.digest: one.blobs() for one in some}
    elif expected:
        (manifest,) = (json.loads(blobs[digest]) for digest, blobs in found.items())
        assert manifest["layers"] == json.loads(signed.raw)["layers"]
    else:
        assert found == {}


def attached(reference):
    """The attachments at a destination, by digest, with their blobs."""
    with open_source(reference, TemporarySpool()) as source:
        selection = Selector(source, Wanted()).select()
        assert len(selection.images) == 1
        blobs = EmbeddedBlobs(source, selection.embedded, TemporarySpool())
        found = {}
        for one in selection.attachments:
            found[one.digest] = {one.digest: one.manifest}
            for blob in one.blobs:
                reader = blobs.open_blob(blob.digest)
                found[one.digest][blob.digest] = b"".join(VerifiedReader(reader, blob.digest, blob.size))
                reader.close()
        return found


def test_nothing_is_there_before_publish(target):
    with suppress(RuntimeError), target.opened() as sink:
        put(sink, b"layer" * 1000)
        assert target.is_pipe or not target.path.exists() or target.kind in copies.DIRECTORIES
        for name in ("index.json", "manifest.json"):
            assert not (target.path / name).exists()
        raise RuntimeError
    if target.kind in copies.FILES:
        assert not target.path.exists()
        assert os.listdir(target.path.parent) == []


def test_leaving_in_the_middle_of_a_blob_leaves_no_file(target):
    with suppress(RuntimeError), target.opened() as sink:
        writer = sink.writer(Descriptor(images.OCI_LAYER, Digest.of(b"other"), 5))
        try:
            writer.write(b"oth")
            raise RuntimeError
        finally:
            writer.close()
    if not target.is_pipe:
        assert os.listdir(target.path.parent) == []


def test_leaving_without_a_word_leaves_no_file(target):
    with target.opened():
        pass
    if target.kind in copies.FILES:
        assert os.listdir(target.path.parent) == []


def test_a_blob_that_was_finished_is_held(target):
    with target.opened() as sink:
        descriptor = Descriptor(images.OCI_LAYER, Digest.of(b"x" * 700), 700)
        assert not sink.holds(descriptor)
        put(sink, b"x" * 700)
        assert sink.holds(descriptor)


def test_a_copy_that_failed_is_given_again(target, tmp_path, source):
    broken = images.write_oci_archive(tmp_path / "broken.tar", PICTURE, replace={PICTURE.layers[2].digest: b"short"})
    with pytest.raises(Exception, match="ends after 5 of"):
        copies.copy(broken, target)
    copies.copy(source, target)
    assert copies.read(target.reference).one.config == PICTURE.config


@pytest.mark.parametrize("kind", [*copies.FILES, *copies.DIRECTORIES])
def test_again_is_the_same(kind, tmp_path, source):
    target = copies.target(kind, tmp_path)
    copies.copy(source, target)
    before = copies.everything(tmp_path)
    copies.copy(source, target)
    assert copies.everything(tmp_path) == before


@pytest.mark.parametrize("kind", copies.FILES)
def test_a_pipe_gets_the_bytes_of_the_file(kind, tmp_path, source):
    file, pipe = copies.target(kind, tmp_path, "file"), copies.target(f"{kind}-pipe", tmp_path, "pipe")
    copies.copy(source, file)
    copies.copy(source, pipe)
    assert file.path.read_bytes() == pipe.path.read_bytes()


@pytest.mark.parametrize("kind", copies.FILES)
def test_a_file_is_replaced_at_once_and_keeps_its_mode(kind, tmp_path, source):
    target = copies.target(kind, tmp_path)
    target.path.write_bytes(b"before")
    target.path.chmod(0o640)
    held = target.path.open("rb")
    with suppress(RuntimeError), target.opened() as sink:
        put(sink, b"layer")
        raise RuntimeError
    assert target.path.read_bytes() == b"before"
    copies.copy(source, target)
    assert held.read() == b"before"
    held.close()
    assert stat.S_IMODE(target.path.stat().st_mode) == 0o640
    assert copies.read(target.reference).one.config == PICTURE.config


@pytest.mark.parametrize("kind", copies.FILES)
def test_a_link_is_followed(kind, tmp_path, source):
    (tmp_path / "there").mkdir()
    target = copies.target(kind, tmp_path)
    target.path.symlink_to("there/file")
    copies.copy(source, target)
    assert target.path.is_symlink()
    assert os.listdir(tmp_path / "there") == ["file"]


@pytest.mark.parametrize("kind", copies.FILES)
def test_a_directory_in_place_of_a_file(kind, tmp_path, source):
    (tmp_path / "copy").mkdir()
    with pytest.raises(ConflictError, match="is a directory"):
        copies.copy(source, copies.target(kind, tmp_path))


@pytest.mark.parametrize("kind", [*copies.FILES, *copies.DIRECTORIES])
def test_a_place_in_a_store_is_refused(kind, tmp_path, source):
    with stores.opened(tmp_path) as store:
        before = stores.State(store)
        for below in ("copy", "blobs/sha256/copy", "ingest/copy"):
            with pytest.raises(ConflictError, match="is inside the store"):
                copies.copy(source, copies.Target(kind, tmp_path / "root" / below))
        before.verify()


@pytest.mark.parametrize("kind", copies.DIRECTORIES)
def test_a_store_and_what_holds_one_is_refused(kind, tmp_path, source):
    with stores.opened(tmp_path) as store:
        before = stores.State(store)
        with pytest.raises(ConflictError, match="is a store"):
            copies.copy(source, copies.Target(kind, tmp_path / "root"))
        with pytest.raises(ConflictError, match="contains a store"):
            copies.copy(source, copies.Target(kind, tmp_path))
        before.verify()


MULTI = images.index(
    images.example([]),
    stores.simple("other", architecture="riscv64", compression="zstd"),
    images.index(stores.simple("deep", architecture="s390x")),
    names=["multi:1"],
)


def test_an_index_with_all_its_images(target, tmp_path):
    source = images.write_oci_archive(tmp_path / "source.tar", MULTI)
    if target.kind.startswith("docker-archive"):
        with pytest.raises(UsageError, match="cannot hold an index"):
            copies.copy(source, target, wanted=Wanted(every=True))
        return
    copies.copy(source, target, wanted=Wanted(every=True))
    if target.kind == "dir":
        # The form has no place for nested indexes, only for the files of their images.
        found = copies.read(target.reference, every=True)
    else:
        found = copies.read(target.reference, every=True)
        assert found.indexes[MULTI.digest] == (MULTI.raw, ("multi:1",))
    assert set(found.images) == {part.digest for part in (*MULTI.parts[:2], *MULTI.parts[2].parts)}


def test_two_images(target, tmp_path):
    one, two = stores.simple("a", names=("a:1",)), stores.simple("b", names=("b:1", "c:1"))
    source = images.write_oci_archive(tmp_path / "source.tar", one, two)
    if target.kind == "dir":
        with pytest.raises(UsageError, match="holds one image, but 2 are to be copied"):
            copies.copy(source, target)
        return
    copies.copy(source, target)
    found = copies.read(target.reference)
    assert {image.config: tuple(sorted(image.names)) for image in found.images.values()} == {
        one.config: one.names,
        two.config: two.names,
    }


def test_preserved_digests(target, source):
    options = ExportOptions(preserve_digests=True)
    if target.kind in copies.MANIFESTS:
        copies.copy(source, target, options)
    else:
        with pytest.raises(ConversionError, match="cannot hold a manifest"):
            copies.copy(source, target, options)


def test_sha512(target, tmp_path):
    """Layers, a config and a manifest with sha512 digests."""
    picture, blobs = sha512_image()
    source = tmp_path / "source"
    write_sha512(source, picture, blobs)
    copies.copy(source, target)
    found = copies.read(target.reference).one
    assert found.config == blobs[picture["config"]["digest"]]
    if target.kind in copies.MANIFESTS:
        assert [digest for digest, _, _ in found.layers] == [one["digest"] for one in picture["layers"]]


def sha512(data):
    return str(Digest.of(data, "sha512"))


def sha512_image():
    layer = images.layer([images.file("a", b"a" * 3000)])
    config = images.dump(
        {
            "architecture": images.HOST_ARCHITECTURE,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [sha512(layer.tar)]},
        }
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": images.OCI_MANIFEST,
        "config": {"mediaType": images.OCI_CONFIG, "digest": sha512(config), "size": len(config)},
        "layers": [{**layer.descriptor(), "digest": sha512(layer.blob)}],
    }
    return manifest, {sha512(config): config, sha512(layer.blob): layer.blob}


def write_sha512(source, manifest, blobs):
    raw = images.dump(manifest)
    top = {"mediaType": images.OCI_MANIFEST, "digest": sha512(raw), "size": len(raw)}
    (source / "blobs/sha512").mkdir(parents=True)
    for data in (*blobs.values(), raw):
        (source / "blobs/sha512" / sha512(data).partition(":")[2]).write_bytes(data)
    (source / "oci-layout").write_bytes(images.LAYOUT)
    (source / "index.json").write_bytes(images.dump({"schemaVersion": 2, "manifests": [top]}))
