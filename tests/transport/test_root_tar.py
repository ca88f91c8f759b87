"""`import --rootfs`: one layer with the given bytes, a config of this platform, and hostile tars refused as usual."""

from __future__ import annotations

import os
import subprocess

import pytest
from support import images, stores, treelist

from arstore.errors import (
    CompressionError,
    ConflictError,
    InvalidReferenceError,
    LimitError,
    NotFoundError,
    TarError,
    TruncatedError,
    UnknownFormatError,
    UnsafePathError,
    UsageError,
)
from arstore.mounts.table import MountTable
from arstore.oci.config import ImageConfig
from arstore.oci.instruction import Instruction
from arstore.oci.manifest import Manifest
from arstore.oci.platform import Platform
from arstore.rootfs import mount as rootfs
from arstore.tar.limits import Limits
from arstore.transport.root_tar import RootTarOptions, import_root_tar

MEMBERS = (images.directory("etc"), images.file("etc/hi", b"hello\n"), images.symlink("hi", "etc/hi"))
HERE = Platform("linux", "amd64")


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        stores.umount_all(made)


def brought(store, path, name="base:1", **options):
    return import_root_tar(store, str(path), RootTarOptions(name, HERE, 5, **options))


def written(tmp_path, data, name="root.tar"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def documents(store, taken):
    manifest = Manifest.parse(store.read_blob(taken.digest))
    return manifest, ImageConfig.parse(store.read_blob(manifest.config.digest))


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_layer_is_the_given_bytes(store, tmp_path, compression):
    data = images.compressed(images.tar(MEMBERS), compression)
    taken = brought(store, written(tmp_path, data))
    manifest, config = documents(store, taken)
    assert store.read_blob(manifest.layers[0].digest) == data
    assert manifest.layers[0].media_type.endswith("tar" if compression == "none" else f"tar+{compression}")
    assert config.diff_ids == (images.sha256(images.tar(MEMBERS)),)
    assert (config.platform, config.created) == (HERE, "1970-01-01T00:00:05Z")
    assert [step.created_by for step in config.history] == ["arstore import --rootfs"]
    stores.verify_clean(store)


@pytest.mark.parametrize("compression", ["xz", "bzip2"])
def test_what_no_layer_may_be_compressed_with_becomes_gzip_always_the_same(store, tmp_path, compression):
    data = images.compressed(images.tar(MEMBERS), compression)
    first = brought(store, written(tmp_path, data))
    again = brought(store, written(tmp_path, data, "again"), "other:1")
    manifest, config = documents(store, first)
    assert manifest.layers[0].media_type.endswith("tar+gzip")
    assert config.diff_ids == (images.sha256(images.tar(MEMBERS)),)
    assert first.digest == again.digest
    stores.verify_clean(store)


def test_changes_and_message_are_in_the_config(store, tmp_path):
    changes = (Instruction.parse('CMD ["/bin/sh"]'), Instruction.parse("ENV A=b"))
    taken = brought(store, written(tmp_path, images.tar(MEMBERS)), message="from a disk", changes=changes)
    _, config = documents(store, taken)
    assert (config.cmd, config.env) == (("/bin/sh",), ("A=b",))
    assert config.history[0].comment == "from a disk"


@pytest.mark.root
@pytest.mark.mounts
def test_the_image_shows_what_the_tar_has(store, tmp_path):
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hi").write_text("hello")
    os.link(root / "etc/hi", root / "etc/too")
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.setxattr(root / "etc/hi", "user.note", b"x")
    packed = tmp_path / "root.tar"
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-C", root, "-cf", packed, "."], check=True)
    brought(store, packed)
    record = rootfs.mount_image(store, store.find("base:1"))
    try:
        assert treelist.listing(record.target) == treelist.listing(root)
    finally:
        MountTable(store.directories).umount(record.id)


def test_an_empty_tar_makes_an_image_with_an_empty_layer(store, tmp_path):
    taken = brought(store, written(tmp_path, bytes(10240)))
    assert len(taken.layers) == 1


BOMB = images.compressed(bytes(3 << 20), "gzip")


@pytest.mark.parametrize(
    ("data", "limits", "error"),
    [
        (b"", {}, UnknownFormatError),
        (b"#!/bin/sh\n" * 100, {}, UnknownFormatError),
        (images.compressed(b"no tar" * 200, "gzip"), {}, UnknownFormatError),
        (images.compressed(images.compressed(images.tar(MEMBERS), "gzip"), "gzip"), {}, UnknownFormatError),
        (b"\x04\x22\x4d\x18" + bytes(600), {}, CompressionError),
        (images.compressed(images.tar(MEMBERS), "zstd")[:-9], {}, TruncatedError),
        (images.compressed(images.tar(MEMBERS), "gzip") + b"garbage", {}, CompressionError),
        (images.tar(MEMBERS)[:700], {}, TruncatedError),
        (images.tar([images.file("../out", b"x")]), {}, UnsafePathError),
        (images.tar([images.hardlink("a", "nowhere")]), {}, TarError),
        (BOMB, {"inflated": 1 << 20}, LimitError),
        (images.tar(MEMBERS), {"headers": 2}, LimitError),
        (bytes(1 << 20), {"trailing": 1 << 19}, LimitError),
    ],
)
def test_hostile_input_leaves_the_store_as_it_was(store, tmp_path, data, limits, error):
    before = stores.records(store)
    with pytest.raises(error):
        brought(store, written(tmp_path, data), limits=Limits(**limits))
    assert stores.records(store) == before
    stores.verify_clean(store)


@pytest.mark.parametrize(
    ("text", "name", "error"),
    [
        ("oci:{}", "base:1", UsageError),
        ("{}/missing", "base:1", NotFoundError),
        ("{}", "Base", InvalidReferenceError),
        ("{}", "base:1", UnknownFormatError),
    ],
)
def test_what_is_no_tar_or_no_name(store, tmp_path, text, name, error):
    with pytest.raises((error, ConflictError)):
        brought(store, text.format(tmp_path), name)
