"""Sources whose bytes are altered, short or missing: each ends the copy with a specific error, and leaves no output."""

from __future__ import annotations

import os
import time

import pytest
from support import copies, images, stores

from arstore.errors import (
    ArstoreError,
    CompressionError,
    DigestMismatchError,
    InUseError,
    MissingBlobError,
    NotFoundError,
    SizeMismatchError,
    StoreDamagedError,
    TruncatedError,
)
from arstore.maintenance.remove import remove_images
from arstore.store.progress import NoProgress
from arstore.tar.compression import Compression
from arstore.transport.export.copying import export_stored
from arstore.transport.export.options import ExportOptions
from arstore.transport.selection.selector import Wanted

PICTURE = images.example(["example:1"])
PARTS = {
    "bottom": PICTURE.layers[0].digest,
    "top": PICTURE.layers[2].digest,
    "config": PICTURE.config_digest,
    "manifest": PICTURE.digest,
}
CONTENT = PICTURE.blobs()
ALTER = {
    "altered": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "short": lambda data: data[:-1],
    "empty": lambda _data: b"",
    "long": lambda data: data + b"x",
}
ERRORS = {
    "altered": DigestMismatchError,
    "short": TruncatedError,
    "empty": TruncatedError,
    "long": SizeMismatchError,
}


def none_left(target):
    """Check that a reader would find no image there."""
    if target.kind in copies.DIRECTORIES:
        assert not (target.path / "index.json").exists()
        assert not (target.path / "manifest.json").exists()
        assert not [name for _, _, names in os.walk(target.path) for name in names if name.startswith(".")]
    elif not target.is_pipe:
        assert not target.path.exists()


@pytest.fixture(params=["oci", "oci-archive", "oci-archive-pipe", "docker-archive", "dir"])
def target(request, tmp_path):
    (tmp_path / "out").mkdir()
    return copies.target(request.param, tmp_path / "out")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fault", ALTER)
def test_a_layout_that_is_damaged(tmp_path, target, part, fault):
    digest = PARTS[part]
    source = images.write_layout(tmp_path / "layout", PICTURE, replace={digest: ALTER[fault](CONTENT[digest])})
    # Inflating detects the damage before the whole blob was read.
    inflated = target.kind == "docker-archive" and part in {"bottom", "top"}
    with pytest.raises((ERRORS[fault], CompressionError) if inflated else ERRORS[fault]) as caught:
        copies.copy(f"oci:{source}", target)
    assert digest in caught.value.what
    none_left(target)


@pytest.mark.parametrize("part", PARTS)
def test_a_layout_in_which_a_blob_is_missing(tmp_path, target, part):
    source = images.write_layout(tmp_path / "layout", PICTURE, omit=[PARTS[part]])
    with pytest.raises(MissingBlobError):
        copies.copy(f"oci:{source}", target)
    none_left(target)


@pytest.mark.parametrize("fault", ["altered", "short", "cut", "garbage"])
def test_a_layer_that_cannot_be_inflated(tmp_path, fault):
    """The blob has its digest, but its content is damaged."""
    layer = PICTURE.layers[1]
    blob = {
        "altered": layer.blob[:-8] + b"\0\0\0\0" + layer.blob[-4:],
        "short": layer.blob[:-8],
        "cut": layer.blob[: len(layer.blob) // 2],
        "garbage": layer.blob[:40] + os.urandom(1000),
    }[fault]
    broken = images.Layer(layer.tar, blob, "gzip")
    source = images.write_oci_archive(tmp_path / "x.tar", images.image(broken, names=["x:1"]))
    for kind, options in (
        ("docker-archive", ExportOptions()),
        ("docker-archive-pipe", ExportOptions()),
        ("oci", ExportOptions(compression=Compression.ZSTD)),
    ):
        with pytest.raises((CompressionError, TruncatedError, DigestMismatchError)):
            copies.copy(source, copies.target(kind, tmp_path, kind), options)
        none_left(copies.target(kind, tmp_path, kind))


@pytest.mark.parametrize("kind", ["docker-archive", "docker-archive-pipe"])
def test_a_tar_that_has_not_its_diff_id(tmp_path, kind):
    lying = images.Layer(b"another tar".ljust(1024, b"\0"), PICTURE.layers[0].blob, "gzip")
    source = images.write_oci_archive(tmp_path / "x.tar", images.image(lying, names=["x:1"]))
    with pytest.raises(DigestMismatchError):
        copies.copy(source, copies.target(kind, tmp_path))


def test_one_blob_of_two_sizes(tmp_path, target):
    """One of two images lies about the size of a layer that both have."""
    if target.kind == "docker-archive":
        pytest.skip("the tar is written once, by its diff ID, without the wrong size")
    layer = images.layer([images.file("a", b"a" * 900)])

    def lie(manifest):
        manifest["layers"][0]["size"] += 1

    pictures = (images.image(layer, names=["x:1"]), images.image(layer, names=["y:1"], edit_manifest=lie))
    for order in (pictures, pictures[::-1]):
        source = images.write_layout(tmp_path / f"layout-{order[0].names[0][0]}", *order)
        if target.kind == "dir":
            source = f"{source}:y:1"
        with pytest.raises((SizeMismatchError, TruncatedError)):
            copies.copy(f"oci:{source}", target)
        none_left(target)


def test_thousands_of_layers_are_dealt_at_once(tmp_path):
    """Work must grow with the number of blobs, not with its square."""
    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.export.transfer import _dealt

    blobs = [Descriptor("", Digest.of(b"%d" % n), n % 7) for n in range(40_000)]
    began = time.process_time()
    lists = _dealt(blobs)
    assert time.process_time() - began < 2
    assert sorted(map(len, lists))[0] > 5000
    assert sum(map(len, lists)) == 40_000


# --- the store ------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, PICTURE) as made:
        yield made


def save(store, target, *texts, options=None):
    with target.destination() as place:
        return export_stored(store, texts or ("example:1",), place, Wanted(), options or ExportOptions())


def blob_of(store, digest):
    return store.directories.blob(digest)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fault", [*ALTER, "missing"])
def test_a_store_that_is_damaged(store, target, part, fault):
    digest = PARTS[part]
    path = blob_of(store, digest)
    os.chmod(path, 0o600)
    if fault == "missing":
        os.unlink(path)
    else:
        with open(path, "wb") as file:
            file.write(ALTER[fault](CONTENT[digest]))
    if target.kind == "docker-archive" and part in {"bottom", "top"}:
        # Its layers are read from the trees, which have them as tars.
        save(store, target)
        assert copies.read(target.reference).one.config == PICTURE.config
        return
    with pytest.raises(StoreDamagedError) as caught:
        save(store, target)
    assert digest in caught.value.what
    assert caught.value.hint
    none_left(target)
    assert os.listdir(store.directories.ingest) == []


def test_what_was_damaged_is_healed_and_saved(store, tmp_path):
    path = blob_of(store, PARTS["top"])
    os.unlink(path)
    target = copies.target("oci-archive", tmp_path)
    with pytest.raises(StoreDamagedError):
        save(store, target)
    with open(path, "wb") as file:
        file.write(CONTENT[PARTS["top"]])
    save(store, target)
    assert copies.read(target.reference).one == copies.expected(PICTURE)


def test_an_image_that_would_be_removed_meanwhile(store, tmp_path):
    target = copies.target("oci", tmp_path)

    class Removing(NoProgress):
        def start(self, *_):
            with pytest.raises(InUseError, match=r"is being read by process .* \(copy\)"):
                remove_images(store, ["example:1"])

    with target.destination() as place:
        export_stored(store, ["example:1"], place, Wanted(), ExportOptions(), Removing())
    assert copies.read(target.reference).one == copies.expected(PICTURE)
    remove_images(store, ["example:1"])
    with pytest.raises(NotFoundError):
        save(store, target)


def test_nothing_by_that_name(store, target):
    for text in ("nothing:1", "sha256:" + "0" * 64, ""):
        with pytest.raises(ArstoreError):
            save(store, target, text)
        assert target.is_pipe or not os.path.lexists(target.path)


def test_the_store_is_as_before(store, target):
    before = stores.State(store)
    save(store, target)
    before.verify()
    assert not [key for key in stores.records(store) if key.startswith("leases/")]
