"""A layer that is not compressed is one file: what shares it, what removes it, and where there are two files."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
from support import images, stores

from arstore.errors import DigestMismatchError
from arstore.linux.process import boot_id
from arstore.maintenance.check import check
from arstore.maintenance.check.findings import Damage
from arstore.maintenance.check.repair import repair
from arstore.maintenance.convert import Fate, convert, target_forms
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.remove import plan_removal, remove_images
from arstore.rootfs.mount import mount_image
from arstore.store.ingest import one_file
from arstore.store.store import Store

CONTENT = [images.directory("./"), images.file("big", os.urandom(300_000))]
PLAIN, GZIPPED = images.layer(CONTENT, "none"), images.layer(CONTENT, "gzip")


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        if not made.tree_forms("auto")[0].properties.keeps_tar:
            pytest.skip("trees keep no tar here")
        yield made


def blob(store: Store, layer=PLAIN) -> str:
    return store.directories.blob(layer.digest)


def tar(store: Store) -> str:
    return f"{store.directories.tree(PLAIN.digest)}/layer.tar"


def is_one(store: Store) -> bool:
    return os.path.samefile(blob(store), tar(store))


def distrust(store: Store) -> None:
    stores.edit(store, "trees", PLAIN.digest, boot="00000000-0000-0000-0000-000000000000", synced=False)


@pytest.mark.parametrize("write", [images.write_layout, images.write_oci_archive, images.write_docker_archive])
def test_an_import_writes_one_file(store, tmp_path, write):
    picture = images.image(PLAIN, names=["a:1"])
    stores.bring(store, picture) if write is images.write_layout else bring_file(store, write(tmp_path / "in", picture))
    assert is_one(store)
    assert os.stat(blob(store)).st_nlink == 2
    assert measure(store).total == stores.du(store.directories.root)
    stores.verify_clean(store)


def bring_file(store: Store, path) -> None:
    from arstore.transport.copy import import_reference

    import_reference(store, str(path))


def test_a_compressed_layer_has_two(store):
    stores.bring(store, images.image(GZIPPED, names=["a:1"]))
    assert os.stat(blob(store, GZIPPED)).st_nlink == os.stat(tar(store)).st_nlink == 1


def test_a_compressed_blob_that_claims_to_be_plain_is_refused(store):
    """Its digest is that of the gzip file, and the diff ID is declared to be the same."""
    wrong = images.Layer(GZIPPED.blob, GZIPPED.blob, "gzip")
    with pytest.raises(DigestMismatchError, match="is compressed, so its own digest cannot be its diff ID"):
        stores.bring(store, images.image(wrong, names=["a:1"]))
    assert stores.blobs(store) == stores.trees(store) == set()


def test_two_files_where_links_are_not_possible(store, monkeypatch):
    def refused(*_args, **_more):
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(one_file.os, "link", refused)
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    assert not is_one(store)
    assert measure(store).total == stores.du(store.directories.root)
    stores.verify_clean(store)


def test_a_full_directory_ends_the_import(store, monkeypatch):
    def full(*_args, **_more):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(one_file.os, "link", full)
    with pytest.raises(OSError, match="full"):
        stores.bring(store, images.image(PLAIN, names=["a:1"]))
    assert os.listdir(store.directories.ingest) == []


def test_a_tree_that_is_built_again_is_linked_again(store):
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    distrust(store)
    before = os.stat(blob(store)).st_ino
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    assert is_one(store)
    assert os.stat(blob(store)).st_ino == before
    with store.graph.read() as snapshot:
        assert snapshot.tree(PLAIN.digest).boot == boot_id()
    stores.verify_clean(store)


def test_while_a_tree_is_built_again_the_blob_has_no_name_in_the_ingest(store, monkeypatch):
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    distrust(store)
    seen = []
    real = one_file.prepared

    def watching(work, directories):
        done = real(work, directories)
        seen.append((done.is_linked, os.stat(blob(store)).st_nlink))
        return done

    monkeypatch.setattr("arstore.store.ingest.layer_jobs.prepared", watching)
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    assert seen == [(False, 2)]


def converted(store: Store, form: str) -> None:
    (done,) = convert(store, store.images(), target_forms(store, form))
    assert (done.outcome, done.form) == (Fate.CONVERTED, form)


def test_forms_are_converted_both_ways(store):
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    converted(store, "directory")
    assert os.stat(blob(store)).st_nlink == 1
    assert measure(store).total == stores.du(store.directories.root)
    converted(store, "erofs")
    assert is_one(store)
    stores.verify_clean(store)


def test_removal_frees_the_file_once_and_the_plan_says_so(store):
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    usage = measure(store).images[0]
    planned = plan_removal(store, ["a:1"]).freed
    done = remove_images(store, ["a:1"]).freed
    assert planned == done == usage.unique == usage.size
    assert done >= 300_000
    assert done < 600_000
    assert not os.path.exists(blob(store))


def test_what_another_image_uses_of_the_file_is_shared(store):
    """One image has the layer plain, the other has it compressed: its tree is the plain one's blob."""
    one, other = images.image(PLAIN, names=["a:1"]), images.image(GZIPPED, names=["b:1"])
    stores.bring(store, one)
    stores.bring(store, other)
    for name, picture in (("a:1", one), ("b:1", other)):
        before = stores.du(store.directories.root)
        usage = next(item for item in measure(store).images if item.digest == picture.digest)
        planned = plan_removal(store, [name]).freed
        assert planned == remove_images(store, [name]).freed == usage.unique
        assert abs(before - stores.du(store.directories.root) - planned) <= 64 << 10
        assert measure(store).total == stores.du(store.directories.root)
    # The file goes with the second one.
    assert planned >= 300_000


def test_the_index_that_lists_both_owns_it_all(store):
    one = images.image(PLAIN)
    other = images.image(GZIPPED, architecture="arm64")
    both = images.index(one, other, names=["both:1"])
    stores.bring(store, both, every=True)
    usage = next(item for item in measure(store).images if item.digest == both.digest)
    assert usage.unique == plan_removal(store, ["both:1"]).freed == remove_images(store, ["both:1"]).freed


def test_the_collector_counts_what_it_frees(store):
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    store.untag("a:1")
    plan = plan_collection(store)
    assert plan.bytes == collect(store, plan).bytes


def test_a_copy_without_links_is_whole(store, tmp_path):
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    store.close()
    shutil.copytree(store.directories.root, tmp_path / "copy")
    with stores.made(tmp_path / "copy", tmp_path / "run2") as copy:
        assert not is_one(copy)
        stores.verify_clean(copy)
        assert measure(copy).total == stores.du(copy.directories.root)


def flipped(store: Store) -> None:
    with open(blob(store), "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))


def test_a_tar_apart_becomes_the_blob_that_comes(store):
    stores.bring(store, images.image(GZIPPED, names=["b:1"]))
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    assert is_one(store)
    stores.verify_clean(store)


def test_a_mounted_tree_keeps_its_tar(store):
    stores.bring(store, images.image(GZIPPED, names=["b:1"]))
    mounted = mount_image(store, store.find_image("b:1"))
    try:
        stores.bring(store, images.image(PLAIN, names=["a:1"]))
        assert not is_one(store)
        assert os.path.getsize(f"{mounted.target}/big") == 300_000
        stores.verify_clean(store)
    finally:
        stores.umount_all(store)


def test_a_flipped_byte_is_lost_and_told(store):
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    flipped(store)
    findings = check(store)
    assert {one.damage for one in findings} == {Damage.BLOB_DIGEST, Damage.TREE_ALTERED}
    left = {one.damage: one for one in repair(store, findings)}
    assert not left[Damage.BLOB_DIGEST].repaired
    assert "stored once, so there is no second copy" in left[Damage.BLOB_DIGEST].why
    stores.bring(store, images.image(PLAIN, names=["a:1"]))
    stores.verify_clean(store)
    assert is_one(store)


def test_a_source_mends_it_and_the_tree_follows(store, tmp_path):
    picture = images.image(PLAIN, names=["a:1"])
    stores.bring(store, picture)
    flipped(store)
    source = images.write_oci_archive(tmp_path / "again.tar", picture)
    assert all(one.repaired for one in repair(store, check(store), [str(source)]))
    assert is_one(store)
    stores.verify_clean(store)
