"""Bad input: one line with what and why, the documented exit status, and the store exactly as before."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from support import images, stores
from support.cli import Arstore, exit_status

from arstore.store.store import Store

EXAMPLE = images.example()


class Snapshot:
    """State that must not change: files and their sizes, the graph's records; and the store must be sound."""

    def __init__(self, store):
        self.store = store
        self.state = self.look()

    def look(self):
        sizes = {name: (self.store.root / name).lstat().st_size for name in self.store.files()}
        with Store(str(self.store.root), str(self.store.runroot)) as opened:
            return sizes, stores.records(opened)

    def verify(self):
        assert self.look() == self.state
        self.store.ok("check")


@pytest.fixture
def before(store, tmp_path):
    """A store with one image, and its state."""
    other = images.image(images.layer([images.file("before")]), names=["before:1"])
    with Store(str(store.root), str(store.runroot)) as opened:
        stores.bring(opened, other)
    return Snapshot(store)


def refused(before, path, *kinds):
    """Import *path*, which must fail with one of *kinds*, in one line, and leave no trace; returns the line."""
    return failed(before, before.store.run("-q", "import", path), kinds)


def failed(before, outcome, kinds):
    """Check the outcome of a failed import."""
    assert outcome.status in {exit_status(kind) for kind in kinds}, (outcome.status, outcome.err)
    assert outcome.out == b""
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("arstore: ")
    before.verify()
    return outcome.err


# --- not an image ---------------------------------------------------------------------------------------------------


def plain_tar(path):
    path.write_bytes(images.tar([images.file("a", b"b")]))


def empty_directory(path):
    path.mkdir()


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an image\n" * 100),
    "zeros": lambda path: path.write_bytes(bytes(20480)),
    "random": lambda path: path.write_bytes(bytes((n * 7919) % 251 for n in range(5000))),
    "an ELF": lambda path: path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(2000)),
    "a zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(2000)),
    "a plain tar": plain_tar,
    "an empty directory": empty_directory,
    "gzip of text": lambda path: path.write_bytes(images.compressed(b"text" * 500, "gzip")),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_image(before, tmp_path, kind):
    path = tmp_path / "foreign.tar"
    FOREIGN[kind](path)
    assert str(path) in refused(before, path, "UnknownFormat")


def test_what_is_not_there(before, tmp_path):
    assert "missing.tar" in refused(before, tmp_path / "missing.tar", "NotFound")


def test_an_unknown_transport(before):
    refused(before, "nonsense:thing:1", "NotFound", "InvalidReference")


def test_an_empty_stream(before):
    failed(before, before.store.run("-q", "import", "-", data=b""), ["UnknownFormat", "Truncated"])


# --- truncated and altered ------------------------------------------------------------------------------------------

DAMAGE = [f"{kind}Mismatch" for kind in ("Digest", "Size")]
DAMAGE += ["UnknownFormat", "Truncated", "Compression", "Manifest", "MissingBlob", "Tar", "UnsafePath"]
CUT = ["UnknownFormat", "Truncated", "MissingBlob", "Compression"]


@pytest.mark.parametrize("outer", ["none", "gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("place", [1, 511, 512, 1500, 0.3, 0.5, 0.8, 0.97])
def test_truncated_anywhere(before, tmp_path, outer, place):
    path = images.write_oci_archive(tmp_path / "cut.tar", EXAMPLE, compression=outer)
    whole = path.read_bytes()
    path.write_bytes(whole[: at(whole, place)])
    cut(before, path)


@pytest.mark.parametrize("style", ["podman", "old", "hybrid"])
@pytest.mark.parametrize("place", [700, 0.4, 0.9])
def test_truncated_docker_archives(before, tmp_path, style, place):
    path = images.write_docker_archive(tmp_path / "cut.tar", EXAMPLE, style=style)
    whole = path.read_bytes()
    path.write_bytes(whole[: at(whole, place)])
    cut(before, path)


def at(whole, place):
    """An offset: *place* itself, or that part of the length before the zeros at the end."""
    return place if place >= 1 else int(len(whole.rstrip(b"\0")) * place)


def cut(before, source, data=None):
    """Import a cut archive: any of the errors for it is accepted."""
    failed(before, before.store.run("-q", "import", source, data=data), CUT)


@pytest.mark.long
def test_truncated_at_every_block(before, tmp_path):
    path = images.write_oci_archive(tmp_path / "cut.tar", EXAMPLE)
    whole = path.read_bytes()
    for end in range(0, len(whole.rstrip(b"\0")), 512):
        path.write_bytes(whole[:end])
        outcome = before.store.run("-q", "import", path)
        assert outcome.status in {exit_status(kind) for kind in CUT}, (end, outcome.err)
    before.verify()


def test_a_truncated_stream(before, tmp_path):
    whole = images.write_oci_archive(tmp_path / "x.tar", EXAMPLE, compression="gzip").read_bytes()
    cut(before, "-", whole[: len(whole) // 2])


def blob_offset(data, digest):
    """Where a blob's content begins in an uncompressed archive."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmember("blobs/" + digest.replace(":", "/")).offset_data


@pytest.mark.parametrize("blob", ["manifest", "config", "first layer", "last layer"])
@pytest.mark.parametrize("place", [0.1, 0.9])
def test_an_altered_byte(before, tmp_path, blob, place):
    path = images.write_oci_archive(tmp_path / "altered.tar", EXAMPLE)
    digest, size = {
        "manifest": (EXAMPLE.digest, len(EXAMPLE.manifest)),
        "config": (EXAMPLE.config_digest, len(EXAMPLE.config)),
        "first layer": (EXAMPLE.layers[0].digest, len(EXAMPLE.layers[0].blob)),
        "last layer": (EXAMPLE.layers[2].digest, len(EXAMPLE.layers[2].blob)),
    }[blob]
    data = bytearray(path.read_bytes())
    data[blob_offset(bytes(data), digest) + int(size * place)] ^= 0x20
    path.write_bytes(data)
    # a damaged stream may be detected before its digest is
    refused(before, path, "DigestMismatch", "Compression")


@pytest.mark.parametrize("place", [0.2, 0.6])
def test_an_altered_byte_in_a_compressed_archive(before, tmp_path, place):
    path = images.write_oci_archive(tmp_path / "altered.tar.gz", EXAMPLE, compression="gzip")
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0x55
    path.write_bytes(data)
    refused(before, path, *DAMAGE)


# --- documents that lie ---------------------------------------------------------------------------------------------


def layer_of(edit):
    """An image whose manifest's first layer descriptor was edited."""
    return images.image(*images.example_layers(), names=["lie:1"], edit_manifest=lambda one: edit(one["layers"][0]))


def config_of(edit):
    return images.image(*images.example_layers(), names=["lie:1"], edit_config=edit)


def manifest_of(edit):
    return images.image(*images.example_layers(), names=["lie:1"], edit_manifest=edit)


def one_layer(data, **more):
    return images.image(images.layer(data, **more), names=["lie:1"])


def broken_tar():
    data = bytearray(images.tar([images.file("a", b"x"), images.file("b", b"y")]))
    data[1024 + 150] ^= 1
    return bytes(data)


def lz4(media_type="application/vnd.oci.image.layer.v1.tar+lz4"):
    data = images.tar([images.file("a")])
    return images.image(images.Layer(data, b"\x04\x22\x4d\x18" + data, "none", media_type), names=["lie:1"])


def half_gzip():
    data = images.tar([images.file("a", bytes(range(256)) * 200)])
    return images.image(images.Layer(data, images.compressed(data, "gzip")[:-600], "gzip"), names=["lie:1"])


LIES = {
    "layer longer than announced": (lambda: layer_of(lambda one: one.update(size=one["size"] - 1)), ["SizeMismatch"]),
    "layer shorter than announced": (
        lambda: layer_of(lambda one: one.update(size=one["size"] + 1)),
        ["SizeMismatch", "Truncated"],
    ),
    "negative size": (lambda: layer_of(lambda one: one.update(size=-1)), ["Manifest"]),
    "huge size": (lambda: layer_of(lambda one: one.update(size=2**70)), ["Manifest", "Limit"]),
    "size as text": (lambda: layer_of(lambda one: one.update(size="12")), ["Manifest"]),
    "missing layer": (lambda: layer_of(lambda one: one.update(digest="sha256:" + "0" * 64)), ["MissingBlob"]),
    "digest with a path": (
        lambda: layer_of(lambda one: one.update(digest="sha256:../../../etc/passwd")),
        ["Manifest", "InvalidReference"],
    ),
    "upper-case digest": (
        lambda: layer_of(lambda one: one.update(digest=one["digest"].upper())),
        ["Manifest", "InvalidReference"],
    ),
    "unknown algorithm": (
        lambda: layer_of(lambda one: one.update(digest="md5:" + "0" * 32)),
        ["Manifest", "InvalidReference"],
    ),
    "unknown compression": (lz4, ["Compression"]),
    "unknown compression under a known name": (lambda: lz4(""), ["Compression", "Tar", "DigestMismatch"]),
    "compressed stream that ends early": (half_gzip, ["Compression", "Truncated"]),
    "other diff ID": (
        lambda: config_of(lambda one: one["rootfs"]["diff_ids"].__setitem__(1, "sha256:" + "1" * 64)),
        ["DigestMismatch"],
    ),
    "a diff ID too many": (
        lambda: config_of(lambda one: one["rootfs"]["diff_ids"].append("sha256:" + "1" * 64)),
        ["Manifest"],
    ),
    "a diff ID too few": (lambda: config_of(lambda one: one["rootfs"]["diff_ids"].pop()), ["Manifest"]),
    "config without rootfs": (lambda: config_of(lambda one: one.pop("rootfs")), ["Manifest"]),
    "manifest and index in one": (lambda: manifest_of(lambda one: one.update(manifests=[])), ["Manifest"]),
    "schema 1": (lambda: manifest_of(lambda one: one.update(schemaVersion=1, fsLayers=[])), ["Manifest"]),
    "layers that are no list": (lambda: manifest_of(lambda one: one.update(layers={})), ["Manifest"]),
    "config that is the layer": (
        lambda: manifest_of(lambda one: one.update(config=one["layers"][0])),
        ["Manifest", "Limit"],
    ),
    "damaged tar": (lambda: one_layer(broken_tar()), ["Tar"]),
    "truncated tar": (lambda: one_layer(images.tar([images.file("a", bytes(5000))])[:2000]), ["Truncated"]),
    "a layer that is no tar": (lambda: one_layer(b"no tar" * 200), ["Tar"]),
    "path out of the tree": (lambda: one_layer([images.file("../../../escaped", b"x")]), ["UnsafePath"]),
    "hard link out of the tree": (lambda: one_layer([images.hardlink("a", "../../../../etc/passwd")]), ["UnsafePath"]),
    "hard link to nothing": (lambda: one_layer([images.hardlink("a", "nowhere")]), ["Tar"]),
    "whiteout of the parent": (lambda: one_layer([images.directory("a"), images.file("a/.wh...")]), ["UnsafePath"]),
    "whiteout of nothing": (lambda: one_layer([images.file(".wh.")]), ["UnsafePath"]),
}


@pytest.mark.parametrize("lie", LIES)
def test_documents_and_layers_that_lie(before, tmp_path, lie):
    make, kinds = LIES[lie]
    refused(before, images.write_oci_archive(tmp_path / "lie.tar", make()), *kinds)
    assert not [*tmp_path.rglob("escaped"), *Path("/").glob("escaped")]


@pytest.mark.parametrize("place", ["manifest", "config", "index"])
@pytest.mark.parametrize("document", [b"", b"[]", b"{", b"\xff\xfe", b'{"a":1,"a":2}', b"[" * 100_000, b'{"x":NaN}'])
def test_documents_that_are_no_documents(before, tmp_path, place, document):
    one = images.image(images.layer([images.file("a")]), names=["lie:1"])
    if place == "index":
        files = [images.file("oci-layout", images.LAYOUT), images.file("index.json", document)]
    elif place == "config":
        lying = {"edit_manifest": lambda it: it.update(config=config(document))}
        one = images.image(images.layer([images.file("a")]), **lying)
        files = images.layout_files(one, replace={images.sha256(document): document})
    else:
        entry = {"mediaType": images.OCI_MANIFEST, "digest": images.sha256(document), "size": len(document)}
        files = images.layout_files(one, replace={images.sha256(document): document})
        files[1] = images.file("index.json", images.dump({"schemaVersion": 2, "manifests": [entry]}))
    path = images.write_archive(tmp_path / "lie.tar", files)
    refused(before, path, "Manifest", "Limit", "UnknownFormat")


def config(data):
    return {"mediaType": images.OCI_CONFIG, "digest": images.sha256(data), "size": len(data)}


def test_a_platform_that_is_not_there(before, tmp_path):
    one = images.image(images.layer([images.file("a")]), architecture="s390x")
    path = images.write_oci_archive(tmp_path / "x.tar", images.index(one, names=["other:1"]))
    failed(before, before.store.run("-q", "import", "--platform", "linux/riscv64", path), ["Platform"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_blob_that_is_no_file(before, tmp_path, kind):
    files = images.layout_files(EXAMPLE)
    victim = next(one for one in files if EXAMPLE.layers[0].digest[7:] in one.info.name)
    victim.info.type, victim.info.linkname, victim.info.size, victim.content = kind, "/etc/passwd", 0, b""
    refused(before, images.write_archive(tmp_path / "x.tar", files), *DAMAGE)


def test_a_layouts_blob_that_is_a_symlink(before, tmp_path):
    layout = images.write_layout(tmp_path / "layout", EXAMPLE)
    blob = layout / "blobs" / "sha256" / EXAMPLE.layers[0].digest[7:]
    blob.rename(tmp_path / "moved")
    blob.symlink_to(tmp_path / "moved")
    refused(before, layout, *DAMAGE)


def test_one_bad_image_of_two_leaves_neither(before, tmp_path):
    bad = layer_of(lambda one: one.update(size=one["size"] - 1))
    good = images.image(images.layer([images.file("good")]), names=["good:1"])
    refused(before, images.write_oci_archive(tmp_path / "x.tar", good, bad), "SizeMismatch")


def test_garbage_after_the_end_is_no_matter(store, tmp_path):
    path = images.write_oci_archive(tmp_path / "x.tar", EXAMPLE)
    path.write_bytes(path.read_bytes() + b"garbage" * 1000)
    store.ok("import", path)
    store.ok("check")


def test_errors_name_the_thing(before, tmp_path):
    path = images.write_oci_archive(tmp_path / "lie.tar", EXAMPLE, omit=[EXAMPLE.config_digest])
    outcome = before.store.run("-q", "import", "--json", path)
    error = json.loads(outcome.err)["error"]
    assert (error["kind"], error["exit_code"]) == ("MissingBlob", exit_status("MissingBlob"))
    assert EXAMPLE.config_digest in error["what"] + error["why"]
    before.verify()


@pytest.mark.root
@pytest.mark.mounts
def test_no_space(tmp_path, archive):
    """A file system that is too small: one line, nothing left, and the store works again once there is space."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", place], check=True)
    try:
        store = Arstore(place / "root", tmp_path / "run")
        small = images.image(images.layer([images.file("a")]), names=["small:1"])
        store.ok("import", images.write_oci_archive(tmp_path / "small.tar", small))
        big = images.image(images.layer([images.file("b", os.urandom(6 << 20))], "none"), names=["big:1"])
        before = Snapshot(store)
        path = images.write_oci_archive(tmp_path / "big.tar", big)
        store.fails("NoSpace", "-q", "import", path)
        before.verify()
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        store.ok("import", path)
        store.ok("check")
    finally:
        subprocess.run(["umount", place], check=True)
