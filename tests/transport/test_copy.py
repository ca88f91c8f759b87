"""Import from every medium: the same image from each, names by option, all or nothing."""

from __future__ import annotations

import os

import pytest
from support import images, stores

from arstore.errors import ArstoreError, InvalidReferenceError, PlatformError, UsageError
from arstore.oci.platform import parse
from arstore.transport.copy import ImportOptions, import_opened, import_reference
from arstore.transport.detect import open_source_fd
from arstore.transport.selection.selector import Wanted

EXAMPLE = images.example()


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def descriptors():
    return len(os.listdir("/proc/self/fd"))


MEDIA = {
    "layout": lambda path: images.write_layout(path / "layout", EXAMPLE),
    "archive": lambda path: images.write_oci_archive(path / "x.tar", EXAMPLE),
    "gzip": lambda path: images.write_oci_archive(path / "x.tar.gz", EXAMPLE, compression="gzip"),
    "zstd": lambda path: images.write_oci_archive(path / "x.tar.zst", EXAMPLE, compression="zstd"),
    "xz": lambda path: images.write_oci_archive(path / "x.tar.xz", EXAMPLE, compression="xz"),
    "bzip2": lambda path: images.write_oci_archive(path / "x.tar.bz2", EXAMPLE, compression="bzip2"),
    "dir": lambda path: images.write_dir(path / "dir", EXAMPLE),
    "podman": lambda path: images.write_docker_archive(path / "x.tar", EXAMPLE),
    "old": lambda path: images.write_docker_archive(path / "x.tar", EXAMPLE, style="old"),
    "hybrid": lambda path: images.write_docker_archive(path / "x.tar", EXAMPLE, style="hybrid"),
    "podman gzip": lambda path: images.write_docker_archive(path / "x.tar", EXAMPLE, compression="gzip"),
}


@pytest.mark.parametrize("medium", MEDIA)
def test_every_medium_brings_the_same_layers(store, tmp_path, medium):
    path = MEDIA[medium](tmp_path)
    before = descriptors()
    (taken,) = import_reference(store, str(path))
    store.close()
    assert descriptors() <= before
    assert [layer.diff_id for layer in taken.layers] == EXAMPLE.diff_ids
    assert [layer.chain_id for layer in taken.layers] == EXAMPLE.chain_ids
    assert taken.config == EXAMPLE.config_digest
    if medium not in {"podman", "old", "hybrid", "podman gzip"}:
        assert taken.digest == EXAMPLE.digest
    if medium != "dir":
        assert taken.names == ("example:1",)
    stores.verify_layout(store)
    stores.verify_clean(store)


def test_a_file_descriptor(store, tmp_path):
    path = images.write_oci_archive(tmp_path / "x.tar", EXAMPLE)
    fd = os.open(path, os.O_RDONLY)
    path.unlink()
    (taken,) = import_opened(store, lambda spool: open_source_fd(fd, "x.tar", spool, "x.tar"))
    assert taken.digest == EXAMPLE.digest
    os.close(fd)


def test_a_name_takes_the_place_of_all_others(store, tmp_path):
    path = images.write_oci_archive(tmp_path / "x.tar", images.example(names=["a:1", "b:1"]))
    (taken,) = import_reference(store, str(path), ImportOptions(name="mine"))
    assert taken.names == ("mine:latest",)
    assert set(stores.names(store)) == {"mine:latest"}


def test_one_name_for_a_whole_index(store, tmp_path):
    whole = images.index(stores.simple("a"), images.index(stores.simple("b", architecture="arm64")), names=["x:1"])
    path = images.write_oci_archive(tmp_path / "x.tar", whole)
    import_reference(store, str(path), ImportOptions("mine:2", Wanted(every=True)))
    assert stores.names(store) == {"mine:2": whole.digest}


def test_one_name_for_several_images(store, tmp_path):
    path = images.write_oci_archive(tmp_path / "x.tar", *[stores.simple(name, names=(f"{name}:1",)) for name in "ab"])
    before = stores.State(store)
    with pytest.raises(UsageError, match="2 images"):
        import_reference(store, str(path), ImportOptions(name="mine"))
    with pytest.raises(UsageError, match="only one is allowed"):
        import_reference(store, str(path), ImportOptions(single=True))
    before.verify()
    assert len(import_reference(store, str(path))) == 2


def test_a_name_that_is_none(store, tmp_path):
    path = images.write_oci_archive(tmp_path / "x.tar", EXAMPLE)
    before = stores.State(store)
    with pytest.raises(InvalidReferenceError):
        import_reference(store, str(path), ImportOptions(name="NO GOOD"))
    before.verify()


def test_platforms(store, tmp_path):
    parts = [stores.simple("a"), stores.simple("b", architecture="s390x")]
    path = images.write_oci_archive(tmp_path / "x.tar", images.index(*parts, names=["x:1"]))
    (taken,) = import_reference(store, str(path), ImportOptions(wanted=Wanted(parse("linux/s390x"))))
    assert (taken.digest, taken.platform) == (parts[1].digest, "linux/s390x")
    (taken,) = import_reference(store, str(path))
    assert taken.digest == parts[0].digest
    assert stores.names(store)["x:1"] == parts[0].digest
    with pytest.raises(PlatformError):
        import_reference(store, str(path), ImportOptions(wanted=Wanted(parse("linux/ppc64le"))))


def test_one_bad_image_of_several_and_none_comes(store, tmp_path):
    good, bad = stores.simple("good", names=("good:1",)), stores.simple("bad", names=("bad:1",))
    path = images.write_oci_archive(tmp_path / "x.tar", good, bad, omit=[bad.layers[0].digest])
    before = stores.State(store)
    with pytest.raises(ArstoreError, match=bad.layers[0].digest):
        import_reference(store, str(path))
    before.verify()
