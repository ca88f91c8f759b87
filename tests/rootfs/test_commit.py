"""Commits: the new image shows the same as the container; its documents are the base's plus one layer."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import images, stores, treelist
from support.scrambling import scramble, socket_at

from arstore.errors import InUseError, InvalidReferenceError, NotFoundError, TarError, UsageError
from arstore.mounts.table import MountTable
from arstore.oci.config import ImageConfig
from arstore.oci.instruction import Instruction
from arstore.oci.manifest import Manifest
from arstore.rootfs import mount as rootfs
from arstore.rootfs.commit import CommitOptions, commit
from arstore.rootfs.diff import differences, opened_stacks
from arstore.tar.compression import Compression, decompressed

pytestmark = [pytest.mark.root, pytest.mark.mounts]

NOW = 1_700_000_000


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        stores.umount_all(made)


@pytest.fixture
def box(store):
    """A container over the example image."""
    stores.bring(store, images.example())
    return rootfs.create_container(store, store.find("example:1"), "box")


@contextlib.contextmanager
def mounted(store, container):
    record = rootfs.mount_container(store, container)
    try:
        yield Path(record.target)
    finally:
        MountTable(store.directories).umount(record.id)


def shown(store, name):
    record = rootfs.mount_image(store, store.find(name))
    try:
        return treelist.listing(record.target)
    finally:
        MountTable(store.directories).umount(record.id)


def committed(store, container, name="new:1", **options):
    return commit(store, container, CommitOptions(name, NOW, **options)).image


def documents(store, image):
    """The manifest and the config of an image that a commit gave."""
    manifest = Manifest.parse(store.read_blob(image.digest))
    return manifest, ImageConfig.parse(store.read_blob(manifest.config.digest))


def tar_of(store, image):
    """The uncompressed tar of the top layer."""
    with open(store.directories.blob(image.layers[-1].digest), "rb") as file:
        return decompressed(file).read()


def members(store, image):
    with tarfile.open(fileobj=io.BytesIO(tar_of(store, image))) as archive:
        return archive.getnames()


# --- the root file system -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("still_mounted", [True, False])
def test_the_image_shows_what_the_container_showed(store, box, still_mounted):
    with mounted(store, box) as root:
        scramble(root)
        expected = treelist.listing(root)
        if still_mounted:
            committed(store, box)
    if not still_mounted:
        committed(store, box)
    assert treelist.differences(expected, shown(store, "new:1")) == []
    stores.verify_clean(store)
    stores.verify_layout(store)


def test_a_commit_of_a_container_of_a_commit(store, box):
    with mounted(store, box) as root:
        scramble(root)
    committed(store, box, "first:1")
    second = rootfs.create_container(store, store.find("first:1"))
    with mounted(store, second) as root:
        (root / "gone/fresh").unlink()
        (root / "opt").unlink()
        (root / "opt").mkdir()
        os.rename(root / "data/renamed", root / "data/big")
        expected = treelist.listing(root)
    image = committed(store, second, "second:1")
    assert len(image.layers) == 5
    assert treelist.differences(expected, shown(store, "second:1")) == []
    assert treelist.differences(expected, shown(store, "first:1")) != []


@pytest.mark.parametrize("layers", [[], images.implied_layers()], ids=["no layers", "implied directories"])
def test_unusual_bases(store, layers):
    stores.bring(store, images.image(*layers, names=["base:1"]))
    container = rootfs.create_container(store, store.find("base:1"))
    with mounted(store, container) as root:
        (root / "data").mkdir(exist_ok=True)
        (root / "data/file").write_bytes(b"1")
        expected = treelist.listing(root)
    committed(store, container)
    assert treelist.differences(expected, shown(store, "new:1")) == []


def test_nothing_changed(store, box):
    image = committed(store, box)
    assert members(store, image) == ["."]
    assert treelist.differences(shown(store, "example:1"), shown(store, "new:1")) == []


def test_only_what_changed_is_in_the_layer(store, box):
    with mounted(store, box) as root:
        (root / "data/new").touch()
        (root / "etc/issue").unlink()
    assert members(store, committed(store, box)) == [".", "data", "data/new", "etc", "etc/.wh.issue"]


def test_what_a_runtime_made_for_its_mounts(store, box):
    with mounted(store, box) as root:
        for name in ("proc", "vol/data", "used"):
            (root / name).mkdir(parents=True)
        (root / "etc/hosts").touch()
        (root / "used/file").touch()
    points = frozenset({b"proc", b"vol/data", b"used", b"etc/hosts"})
    assert members(store, committed(store, box, mount_points=points)) == [".", "used", "used/file"]


def test_sockets_are_told(store, box):
    with mounted(store, box) as root:
        (root / "etc/issue").unlink()
        socket_at(root / "etc/issue")
        expected = treelist.listing(root)
    done = commit(store, box, CommitOptions("new:1", NOW))
    assert done.sockets.paths == [b"etc/issue"]
    del expected[b"etc/issue"]
    assert treelist.differences(expected, shown(store, "new:1")) == []


def write(path, flag, text):
    # The FIFO has no reader: without O_NONBLOCK, opening it would block for ever.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | flag, 0o640)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


PATHS = ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "b/b/b", "c"]
ACTIONS = {
    "write": lambda path, other: write(path, os.O_TRUNC, other.name),
    "append": lambda path, other: write(path, os.O_APPEND, "more"),
    "mkdir": lambda path, other: path.mkdir(0o750),
    "remove": lambda path, other: shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(),
    "rename": lambda path, other: os.rename(path, other),
    "link": lambda path, other: os.link(path, other, follow_symlinks=False),
    "symlink": lambda path, other: os.symlink("a/b", path),
    "chmod": lambda path, other: os.chmod(path, 0o705),
    "chown": lambda path, other: os.chown(path, 7, 8, follow_symlinks=False),
    "fifo": lambda path, other: os.mkfifo(path),
    "device": lambda path, other: os.mknod(path, 0o20600, os.makedev(1, 3)),
    "xattr": lambda path, other: os.setxattr(path, "trusted.x", b"1", follow_symlinks=False),
    "touch": lambda path, other: os.utime(path, ns=(0, 5), follow_symlinks=False),
}
"""Actions on a path, some with another path; impossible ones are skipped."""
PLACES = st.sampled_from(PATHS)
STEPS = st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), PLACES, PLACES), max_size=25)


@pytest.fixture
def playground(store):
    lower = [images.directory("./"), images.directory("a"), images.directory("a/a"), images.file("a/a/a", b"1")]
    lower += [images.file("a/b", b"2"), images.directory("b"), images.hardlink("b/a", "a/b"), images.symlink("c", "b")]
    upper = [images.directory("b"), images.opaque("b"), images.directory("b/b"), images.whiteout("a/b")]
    stores.bring(store, images.image(images.layer(lower), images.layer(upper), names=["base:1"]))
    return store


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_a_container_did(playground, actions):
    container = rootfs.create_container(playground, playground.find("base:1"))
    with mounted(playground, container) as root:
        for action, path, other in actions:
            with contextlib.suppress(OSError):
                ACTIONS[action](root / path, root / other)
        expected = treelist.listing(root)
    committed(playground, container)
    assert treelist.differences(expected, shown(playground, "new:1")) == []
    with opened_stacks(playground) as stacks:
        made, had = stacks.image(playground.find("new:1")), stacks.container(container)
        assert differences(made, had) == []
        told = {one.path for one in differences(had[1:], had)}
    assert {path for path in expected if path and path not in told} <= set(shown(playground, "base:1"))


# --- documents ------------------------------------------------------------------------------------------------------


def test_the_documents(store, box):
    base, _ = documents(store, store.find("example:1"))
    changes = tuple(Instruction.parse(text) for text in ("ENV A=1", 'CMD ["/new"]'))
    image = committed(store, box, author="me", message="why", changes=changes)
    manifest, config = documents(store, image)
    assert manifest.layers[:-1] == base.layers
    new = manifest.layers[-1]
    assert (new.media_type, new.digest) == (images.OCI_LAYER + "+gzip", image.layers[-1].digest)
    assert new.size == os.stat(store.directories.blob(new.digest)).st_size
    assert [str(layer.diff_id) for layer in image.layers] == [*images.example().diff_ids, config.diff_ids[-1]]
    assert images.sha256(tar_of(store, image)) == config.diff_ids[-1]
    assert (config.created, config.author) == ("2023-11-14T22:13:20Z", "me")
    last = config.history[-1]
    assert (last.created_by, last.comment, last.author) == ("arstore commit box", "why", "me")
    assert (last.created, last.empty_layer, len(config.history)) == (config.created, False, 4)
    assert (config.env, config.cmd, config.working_dir) == (("PATH=/usr/bin:/bin", "A=1"), ("/new",), "/data")
    record = store.find("new:1").record
    assert (record.platform, record.created) == (f"linux/{images.HOST_ARCHITECTURE}", config.created)


def test_annotations_and_kind_are_the_bases(store):
    picture = images.image(
        *images.example_layers(), names=["base:1"], edit_manifest=lambda m: m.update(annotations={"a": "b"})
    )
    docker = images.example(["docker:1"], docker=True)
    stores.bring(store, picture, docker)
    for name, media_type, layer in (
        ("base:1", images.OCI_MANIFEST, images.OCI_LAYER + "+zstd"),
        ("docker:1", images.DOCKER_MANIFEST, images.DOCKER_LAYER + ".zstd"),
    ):
        container = rootfs.create_container(store, store.find(name))
        manifest, _ = documents(store, committed(store, container, compression=Compression.ZSTD))
        assert (manifest.media_type, manifest.layers[-1].media_type) == (media_type, layer)
        assert manifest.annotations == ({"a": "b"} if name == "base:1" else {})
        old, _ = documents(store, store.find(name))
        assert manifest.config.media_type == old.config.media_type


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD, Compression.NONE])
def test_compressions(store, box, compression):
    with mounted(store, box) as root:
        (root / "zeros").write_bytes(bytes(1 << 22))
    image = committed(store, box, compression=compression)
    layer = image.layers[-1]
    assert layer.size > 1 << 22
    assert (layer.compressed_size < 1 << 20) == (compression is not Compression.NONE)
    manifest, _ = documents(store, image)
    suffix = {"none": ""}.get(compression.value, "+" + compression.value)
    assert manifest.layers[-1].media_type == images.OCI_LAYER + suffix
    assert images.sha256(tar_of(store, image)) == layer.diff_id


def test_levels(store, box):
    with mounted(store, box) as root:
        (root / "text").write_bytes(b"".join(b"%d " % (n * n) for n in range(50_000)))
    fast, small = (committed(store, box, f"level:{level}", level=level).layers[-1] for level in (1, 9))
    assert fast.diff_id == small.diff_id
    assert fast.compressed_size > small.compressed_size


def test_equal_commits_are_equal(store, box):
    with mounted(store, box) as root:
        scramble(root)
    first = committed(store, box, "first:1")
    assert committed(store, box, "second:1").digest == first.digest
    assert store.find(first.digest).names == ("first:1", "second:1")
    later = commit(store, box, CommitOptions("later:1", NOW + 1)).image
    assert later.digest != first.digest
    assert later.layers == tuple(
        type(layer)(layer.digest, layer.diff_id, layer.chain_id, layer.size, layer.compressed_size, True)
        for layer in later.layers
    )


def test_a_name_moves(store, box):
    old = store.find("example:1").digest
    image = committed(store, box, "example:1")
    assert stores.names(store) == {"example:1": image.digest}
    assert store.find(old).names == ()


# --- what does not work leaves nothing ------------------------------------------------------------------------------


def test_bad_arguments(store, box):
    before = stores.State(store)
    for name in ("UPPER", "", "a:b:c"):
        with pytest.raises(InvalidReferenceError):
            committed(store, box, name)
    for created in (-1, 1 << 40):
        with pytest.raises(UsageError):
            commit(store, box, CommitOptions("new:1", created))
    before.verify()


def test_what_no_layer_can_hold(store, box):
    Path(box.upper, ".wh.x").touch()
    before = stores.State(store)
    with pytest.raises(TarError):
        committed(store, box)
    before.verify()


class Meddling:
    """A progress that runs an action when the first bytes are reported."""

    def __init__(self, action):
        self.action = action

    def start(self, key, label, total):
        pass

    def advance(self, key, count):
        action, self.action = self.action, lambda: None
        action()

    def worked(self, key, steps):
        pass

    def finish(self, key, reused=False):
        pass


def test_a_container_that_is_removed_meanwhile(store, box):
    with mounted(store, box) as root:
        for number in range(3):
            (root / f"{number}").write_bytes(os.urandom(1 << 20))
    meddling = Meddling(lambda: store.containers.remove("box"))
    with pytest.raises((NotFoundError, InUseError)):
        commit(store, box, CommitOptions("new:1", NOW), meddling)
    assert stores.names(store) == {"example:1": images.example().digest}
    stores.verify_clean(store)


def test_a_directory_that_is_removed_meanwhile(store, box):
    with mounted(store, box) as root:
        (root / "a").write_bytes(os.urandom(1 << 20))
        (root / "z").mkdir()
    before = stores.records(store)
    with pytest.raises(InUseError):
        commit(store, box, CommitOptions("new:1", NOW), Meddling(lambda: os.rmdir(f"{box.upper}/z")))
    assert stores.records(store) == before
    stores.verify_clean(store)


def test_a_failing_disk(store, box, monkeypatch):
    with mounted(store, box) as root:
        (root / "a").write_bytes(os.urandom(1 << 20))
    before = stores.State(store)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("arstore.rootfs.commit.write_all", full)
    with pytest.raises(OSError, match="No space"):
        committed(store, box)
    before.verify()
