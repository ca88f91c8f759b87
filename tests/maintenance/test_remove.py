"""Removal by name and by digest: what is removed, kept, refused; and removal on a full disk."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest
from support import images, stores

from arstore import trace
from arstore.errors import AmbiguousError, ArstoreError, InUseError, NoSpaceError, NotFoundError
from arstore.maintenance.gc import collect
from arstore.maintenance.remove import remove_images
from arstore.rootfs import mount as rootfs
from arstore.store.store import Store
from arstore.transport.copy import import_reference

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


A = stores.simple("shared", "a", names=("a:1", "a:2"))
B = stores.simple("shared", "b", names=("b:1",))


def digests(store):
    return {image.digest for image in store.images()}


def test_a_name_of_several_is_only_taken_away(store):
    stores.bring(store, A)
    done = remove_images(store, ["a:1"])
    assert (done.untagged, done.removed.images) == (("a:1",), ())
    assert store.find("a:2").names == ("a:2",)
    stores.verify_layout(store)


def test_the_last_name_takes_the_image_along(store):
    stores.bring(store, A, B)
    done = remove_images(store, ["a:2", "a:1"])
    assert (sorted(done.untagged), done.removed.images) == (["a:1", "a:2"], (A.digest,))
    assert digests(store) == {B.digest}
    assert stores.blobs(store) == set(B.blobs())
    assert stores.trees(store) == set(B.diff_ids)
    stores.verify_layout(store)
    stores.verify_clean(store)


@pytest.mark.parametrize("text", [A.digest, A.digest[7:19], A.digest[:30]])
def test_a_digest_takes_all_names_along(store, text):
    stores.bring(store, A, B)
    done = remove_images(store, [text])
    assert set(done.untagged) == {"a:1", "a:2"}
    assert digests(store) == {B.digest}
    stores.verify_clean(store)


def test_one_name_twice_is_one_name(store):
    stores.bring(store, A)
    assert remove_images(store, ["a:1", "a:1"]).untagged == ("a:1",)
    assert store.find("a:2").names == ("a:2",)


def test_all_or_nothing(store):
    stores.bring(store, A, B)
    before = stores.State(store)
    with pytest.raises(NotFoundError):
        remove_images(store, ["a:1", "b:1", "none:1"])
    rootfs.create_container(store, store.find("b:1"), "c")
    with pytest.raises(InUseError, match="container c"):
        remove_images(store, ["a:1", "a:2", "b:1"])
    rootfs.remove_container(store, "c")
    before.verify()


def test_ambiguous_beginnings(store):
    stores.bring(store, A)
    twin = A.digest[:20] + "0" * (len(A.digest) - 20)
    with store.graph.write() as change:
        change.put_image(twin, change.image(A.digest))
    with pytest.raises(AmbiguousError):
        remove_images(store, [A.digest[:20]])
    assert digests(store) == {A.digest, twin}


def test_a_member_of_an_index_is_not_taken_out_of_it(store):
    arm = stores.simple("arm", architecture="arm64")
    whole = images.index(A, arm, names=["whole:1"])
    stores.bring(store, whole, every=True)
    with pytest.raises(InUseError, match="index"):
        remove_images(store, [arm.digest])
    store.tag(A.digest, "own:1")
    remove_images(store, ["whole:1"])
    assert digests(store) == {A.digest}
    stores.verify_clean(store)


def test_indexes_within_an_index_go_with_it(store):
    inner = images.index(A, names=[])
    stores.bring(store, images.index(inner, names=["outer:1"]), every=True)
    assert inner.digest in digests(store)
    assert store.find_image("outer:1").digest == A.digest
    with pytest.raises(InUseError):
        remove_images(store, [inner.digest])
    remove_images(store, ["outer:1"])
    assert store.images() == []
    assert stores.blobs(store) == set()


def test_an_abandoned_container_does_not_hold(store):
    stores.bring(store, B)
    rootfs.create_container(store, store.find("b:1"), "lost", ephemeral=True)
    with pytest.raises(InUseError):
        remove_images(store, ["b:1"])
    stores.edit(store, "containers", "lost", start=stores.dead_owner().start)
    remove_images(store, ["b:1"])
    collect(store)
    stores.verify_clean(store)


# --- a full disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A store on a separate file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    store = Store(str(place / "root"), str(tmp_path / "run"))
    yield store
    store.close()
    subprocess.run(["umount", place], check=True)


def fill(store):
    """Fill the disk to the last block; return the file that took the blocks."""
    path = os.path.join(os.path.dirname(store.directories.root), "ballast")
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def large(name, size, names=()):
    members = [images.directory("./"), images.file(name, os.urandom(size))]
    return images.image(images.layer(members, "none"), names=names)


@pytest.mark.mounts
@pytest.mark.parametrize("size", [1 << 20, 3 << 20, 8 << 20])
def test_an_import_that_does_not_fit_leaves_nothing(small, tmp_path, size):
    path = images.write_oci_archive(tmp_path / "first.tar", large("kept", 400_000, ["kept:1"]))
    import_reference(small, str(path))
    collect(small)
    before = stores.State(small)
    used = stores.du(small.directories.root)
    path = images.write_oci_archive(tmp_path / "large.tar", large("large", size, ["large:1"]))
    if size > 1 << 20:
        with pytest.raises((ArstoreError, OSError)) as caught:
            import_reference(small, str(path))
        assert "no space" in str(caught.value).lower()
        before.verify()
        assert abs(stores.du(small.directories.root) - used) <= 128 << 10
    else:
        import_reference(small, str(path))


@pytest.mark.mounts
@pytest.mark.parametrize("way", ["rm", "gc"])
def test_a_full_disk_is_no_reason_not_to_remove(small, tmp_path, way):
    for name in ("a", "b"):
        path = images.write_oci_archive(tmp_path / "x.tar", large(name, 300_000, [f"{name}:1"]))
        import_reference(small, str(path))
    if way == "gc":
        small.untag("a:1")
    ballast = fill(small)
    if way == "rm":
        remove_images(small, ["a:1"])
    else:
        collect(small)
    assert set(stores.names(small)) == {"b:1"}
    assert len(small.images()) == 1
    os.unlink(ballast)
    stores.verify_layout(small)
    stores.verify_clean(small)


@pytest.mark.mounts
def test_a_full_disk_and_a_new_store(tmp_path):
    """LMDB maps its lock file: if the disk has no page for it, a write would raise SIGBUS."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        for free in range(13):
            for name in os.listdir(place):
                subprocess.run(["rm", "-rf", place / name], check=True)
            store = Store(str(place / "root"), str(tmp_path / "run"))
            (place / "ballast").write_bytes(b"x" * ((16 - free) * 4096))

            def work(store=store):
                with contextlib.suppress(NoSpaceError):
                    stores.records(store)

            stores.forked(work)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_name_that_is_given_meanwhile_keeps_its_image(store):
    """Two processes, interleaved where `rm` is about to look up the name."""
    stores.bring(store, stores.simple("a", names=("x:1",)))

    def tagged(point):
        if point == "ingest.made":
            trace.listen(None)
            stores.forked(lambda: Store(store.directories.root, store.directories.runroot).tag("x:1", "y:1"))

    store.close()
    trace.listen(tagged)
    try:
        done = remove_images(store, ["x:1"])
    finally:
        trace.listen(None)
    assert (done.untagged, bool(done.removed)) == (("x:1",), False)
    assert list(stores.names(store)) == ["y:1"]
