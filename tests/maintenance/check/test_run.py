"""`check`: every kind of damage is made on purpose, found, and repaired or reported as lasting."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
from functools import partial
from pathlib import Path

import pytest
from support import images, stores

from arstore.errors import HostError
from arstore.linux.isolation import landlock, seccomp
from arstore.linux.process import boot_id
from arstore.maintenance.check import HARMLESS, Damage, blob_repair, check, repair, run
from arstore.mounts.record import MountRecord
from arstore.mounts.table import MountTable
from arstore.rootfs import mount as rootfs
from arstore.store.container_document import write_request
from arstore.store.container_uses import Uses

EXAMPLE = images.example()
LAYER = EXAMPLE.layers[0].digest
TREE = EXAMPLE.diff_ids[0]
NOTHING = "sha256:" + "0" * 64

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, EXAMPLE) as made:
        made.sync_trees()
        assert check(made) == []
        yield made


def blob(store, digest=LAYER):
    return Path(store.directories.blob(digest))


def delete(store, table, key):
    with store.graph.write() as change:
        assert change.delete(table, key)


def alter(store):
    data = bytearray(blob(store).read_bytes())
    data[len(data) // 2] ^= 3  # one bit would be found by trying
    blob(store).write_bytes(data)


def directory_blob(store):
    blob(store).unlink()
    blob(store).mkdir()


def fifo_blob(store):
    blob(store).unlink()
    os.mkfifo(blob(store))


def link_blob(store):
    blob(store).rename(blob(store).with_name("f" * 64))
    blob(store).symlink_to("f" * 64)


def name_nothing(store):
    with store.graph.write() as change:
        change.put_name("lost:1", NOTHING)


def container(store):
    rootfs.create_container(store, store.find("example:1"), "c")


def container_without_image(store):
    container(store)
    stores.edit(store, "containers", "c", image=NOTHING)


def container_without_attributes(store):
    made = store.containers.create(EXAMPLE.digest, "copied")
    os.removexattr(f"{made.path}/whole", "trusted.arstore")


def container_without_directory(store):
    container(store)
    shutil.rmtree(store.directories.container("c"))


def volume_without_record(store):
    made = store.volumes.create("v", {"a": "b"})
    Path(made.mountpoint, "file").write_bytes(b"x")
    Path(made.path, "volume.json").write_bytes(b"{}")


def container_without_volume(store):
    made = store.volumes.create("gone")
    store.containers.create(EXAMPLE.digest, "user", uses=Uses(("gone",)))
    shutil.rmtree(made.path)


def stale_mount(store):
    record = MountRecord(
        id="stale",
        target=f"{store.directories.runroot}/mounts/stale",
        source="arstore:stale",
        read_only=True,
        boot=boot_id(),
        namespace=os.stat("/proc/self/ns/mnt").st_ino,
        created=1.0,
        image=EXAMPLE.digest,
        container="",
        own_target=True,
    )
    MountTable(store.directories).add(record)


def untrusted(store):
    stores.edit(store, "trees", TREE, boot="another", synced=False)


def unknown_form(store):
    stores.edit(store, "trees", TREE, form="unheard-of")


def stale_ingest(store):
    os.mkdir(f"{store.directories.ingest}/{stores.dead_owner().directory_name()}")


def container_with_damaged_request(store):
    container = store.containers.create(EXAMPLE.digest, "asked")
    store.containers.keep(container.id)
    write_request(container.path, {"Request": {"image": EXAMPLE.digest}}, durable=False)
    path = Path(container.path, "run.json")
    path.write_bytes(path.read_bytes().replace(b"Request", b"Requesu"))


def other_index(store):
    Path(store.directories.root, "index.json").write_text("{}")


def no_index(store):
    Path(store.directories.root, "index.json").unlink()


def default_acl(store):
    """As `setfacl -d -m u::rwx,g::rx,o::- .` sets it (linux/posix_acl_xattr.h)."""
    entries = [(0x01, 7), (0x04, 5), (0x20, 0)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, mode, 0xFFFFFFFF) for tag, mode in entries)
    os.setxattr(store.directories.containers, "system.posix_acl_default", acl)


MENDED = [
    (Damage.TREE_MISSING, lambda store: shutil.rmtree(store.directories.tree(TREE))),
    (Damage.TREE_MISSING, unknown_form),
    (Damage.TREE_MISSING, lambda store: delete(store, "trees", TREE)),
    (Damage.TREE_UNTRUSTED, untrusted),
    (Damage.INDEX_STALE, other_index),
    (Damage.INDEX_STALE, no_index),
    (Damage.LAYOUT, lambda store: Path(store.directories.root, "oci-layout").write_text("{}")),
    (Damage.LAYOUT, lambda store: Path(store.directories.root, "oci-layout").unlink()),
    (Damage.PERMISSIONS, lambda store: os.chmod(store.directories.root, 0o755)),
    (Damage.PERMISSIONS, default_acl),
    (Damage.ORPHAN, lambda store: blob(store, NOTHING).write_bytes(b"x")),
    (Damage.STALE_INGEST, stale_ingest),
    (Damage.STALE_MOUNT, stale_mount),
    (Damage.VOLUME_RECORD, volume_without_record),
]
GAPS = [
    (Damage.LAYER_PARENT, lambda store: stores.edit(store, "layers", EXAMPLE.chain_ids[2], parent=NOTHING)),
    (Damage.LAYER_BLOB, lambda store: stores.edit(store, "layers", EXAMPLE.chain_ids[2], blobs=(NOTHING,))),
    (Damage.IMAGE_BLOB, lambda store: delete(store, "blobs", EXAMPLE.config_digest)),
    (Damage.IMAGE_LAYER, lambda store: delete(store, "layers", EXAMPLE.chain_ids[2])),
    (Damage.NAME_IMAGE, lambda store: delete(store, "images", EXAMPLE.digest)),
]
KEPT = [
    (Damage.BLOB_MISSING, lambda store: blob(store).unlink()),
    (Damage.BLOB_MISSING, directory_blob),
    (Damage.BLOB_MISSING, fifo_blob),
    (Damage.BLOB_MISSING, link_blob),
    (Damage.BLOB_SIZE, lambda store: blob(store).write_bytes(b"x")),
    (Damage.BLOB_DIGEST, alter),
    (Damage.NAME_IMAGE, name_nothing),
    (Damage.CONTAINER_IMAGE, container_without_image),
    (Damage.CONTAINER_MISSING, container_without_directory),
    (Damage.CONTAINER_ATTRIBUTES, container_without_attributes),
    (Damage.CONTAINER_REQUEST, container_with_damaged_request),
    (Damage.CONTAINER_USES, container_without_volume),
]


def test_every_kind_is_tried():
    elsewhere = {Damage.TREE_ALTERED, Damage.TREE_UNRECORDED}  # test_altered_trees
    elsewhere |= {Damage.ATTACHMENT_BLOB, Damage.ATTACHMENT_SUBJECT}  # tests/store/test_attachments
    elsewhere |= {Damage.LENT_ABSENT}  # tests/system/test_additional_stores
    elsewhere |= {Damage.CONTENTS_INDEX}  # tests/cli/upkeep/test_find
    elsewhere |= {Damage.STRAY}  # which stays: test_hosts
    elsewhere |= {Damage.GRAPH_PAGES, Damage.RECORD_DAMAGED, Damage.RECORD_WRONG}  # test_damaged_graph
    elsewhere |= {Damage.GRAPH_LOST, Damage.STORE_ID, Damage.CONTAINER_UNRECORDED}  # test_identity
    assert {damage for damage, _ in [*MENDED, *GAPS, *KEPT]} == set(Damage) - elsewhere


@pytest.mark.parametrize(("damage", "harm"), MENDED)
def test_what_the_store_can_mend(store, damage, harm):
    records = stores.records(store)
    harm(store)
    findings = check(store)
    assert damage in {finding.damage for finding in findings}
    repaired = repair(store, findings)
    assert [dataclasses.replace(finding, repaired=False) for finding in repaired] == findings
    assert all(finding.repaired for finding in repaired)
    store.sync_trees()
    assert stores.records(store) == records
    stores.verify_clean(store)


@pytest.mark.parametrize(("damage", "harm"), GAPS)
def test_what_documents_tell_of_the_graph(store, damage, harm):
    harm(store)
    findings = check(store)
    assert damage in {finding.damage for finding in findings}
    assert all(finding.repaired for finding in repair(store, findings))
    store.sync_trees()
    stores.verify_clean(store)
    assert store.find("example:1").record.layers == tuple(layer.digest for layer in EXAMPLE.layers)


@pytest.mark.parametrize(("damage", "harm"), KEPT)
def test_what_stays_is_said(store, damage, harm):
    harm(store)
    findings = check(store)
    found = [finding for finding in findings if finding.damage is damage]
    assert found
    assert all(finding.why and not finding.harmless for finding in found)
    repaired = [finding for finding in repair(store, findings) if finding.damage is damage]
    assert repaired
    assert not any(finding.repaired for finding in repaired)
    assert any(not finding.harmless for finding in check(store))


@pytest.mark.parametrize(("damage", "harm"), KEPT[:6])
def test_an_import_after_a_repair_brings_blobs_again(store, damage, harm):
    harm(store)
    repair(store, check(store))
    assert Damage.BLOB_MISSING in {finding.damage for finding in check(store)}
    stores.bring(store, EXAMPLE)
    repair(store, check(store))
    stores.verify_clean(store)


def size_of_contents(store):
    """Bytes of all blobs and tars, each file once."""
    files = [*Path(store.directories.trees).glob("*/layer.tar"), *map(partial(blob, store), stores.blobs(store))]
    return sum({file.stat().st_ino: file.stat().st_size for file in files}.values())


def test_a_layer_of_one_file_is_read_once_and_reported_as_blob_and_tree(tmp_path):
    with stores.opened(tmp_path) as store:
        contents = [images.directory("./"), images.file("f", b"content" * 4000)]
        picture = images.image(images.layer(contents, "none"), names=["plain:1"])
        stores.bring(store, picture)
        (layer,) = picture.layers
        tar = Path(store.directories.tree(layer.diff_id), "layer.tar")
        if not tar.exists():
            pytest.skip("trees keep no tar here")
        read = []
        assert check(store, report=read.append) == []
        assert sum(read) == size_of_contents(store)
        data = bytearray(tar.read_bytes())
        data[700] ^= 1
        tar.write_bytes(data)
        found = {finding.damage: finding for finding in check(store)}
        assert set(found) == {Damage.BLOB_DIGEST, Damage.TREE_ALTERED}
        assert found[Damage.TREE_ALTERED].what == layer.diff_id
        digest = found[Damage.BLOB_DIGEST].why.split()[-1]
        assert found[Damage.TREE_ALTERED].why == f"its tar has the digest {digest}"
        # Two files are two, whatever their content was.
        os.unlink(tar)
        tar.write_bytes(data)
        assert {finding.damage for finding in check(store)} == set(found)
        read.clear()
        check(store, report=read.append)
        assert sum(read) == size_of_contents(store)


def test_quick_does_not_read(store):
    read = []
    assert check(store, report=read.append) == []
    assert sum(read) == size_of_contents(store)
    read.clear()
    alter(store)
    assert check(store, quick=True, report=read.append) == []
    assert read == []
    assert [finding.damage for finding in check(store)] == [Damage.BLOB_DIGEST]


def test_a_repair_leaves_unnamed_images_alone(store):
    stores.bring(store, stores.simple("unnamed", names=("u:1",)))
    store.untag("u:1")
    stale_ingest(store)
    blob(store, NOTHING).write_bytes(b"x")
    repair(store, check(store))
    assert len(store.images()) == 2
    stores.verify_clean(store)


def test_a_blob_that_was_mended_meanwhile_stays(store):
    good = blob(store).read_bytes()
    alter(store)
    findings = check(store)
    blob(store).write_bytes(good)
    repair(store, findings)
    stores.verify_clean(store)


def test_a_tree_that_cannot_be_built_again_stays_missing(store):
    blob(store).unlink()
    shutil.rmtree(store.directories.tree(TREE))
    repaired = {finding.damage: finding.repaired for finding in repair(store, check(store))}
    assert repaired == {Damage.BLOB_MISSING: False, Damage.TREE_MISSING: False}


def test_serious_findings_come_first(store):
    blob(store, NOTHING).write_bytes(b"x")
    untrusted(store)
    blob(store).unlink()
    findings = check(store)
    assert [finding.harmless for finding in findings] == [False, True, True]
    assert {finding.damage for finding in findings[1:]} <= HARMLESS


def test_an_empty_store_is_well(tmp_path):
    with stores.opened(tmp_path / "empty") as empty:
        assert check(empty) == []


# --- the readers' rights --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not seccomp.supported(), reason="no seccomp filters for this machine")
@pytest.mark.parametrize("what", ["blobs._digest", "trees._fault", "run.against_documents"])
@pytest.mark.parametrize(
    "deed",
    [
        lambda root: os.execv("/bin/true", ["true"]),
        lambda root: os.unlink(f"{root}/index.json"),
        lambda root: os.mkdir(f"{root}/new"),
        lambda root: os.chmod(root, 0o777),
        lambda root: os.kill(os.getppid(), 0),
    ],
    ids=["exec", "unlink", "mkdir", "chmod", "kill"],
)
def test_who_reads_content_can_do_nothing_else(store, monkeypatch, what, deed):
    monkeypatch.setattr(f"arstore.maintenance.check.{what}", lambda *_words: deed(store.directories.root))
    with pytest.raises(HostError, match="never needs"):
        check(store)
    monkeypatch.undo()
    assert check(store) == []


@pytest.mark.skipif(not landlock.version(), reason="no Landlock")
@pytest.mark.parametrize("what", ["blobs._digest", "trees._fault"])
def test_who_reads_content_reaches_no_other_files(store, monkeypatch, tmp_path, what):
    (tmp_path / "secret").write_text("x")

    def curious(*_words):
        found = []
        for path, flags in (
            (tmp_path / "secret", os.O_RDONLY),
            ("/etc/passwd", os.O_RDONLY),
            (f"{store.directories.root}/index.json", os.O_WRONLY),
            (f"{store.directories.root}/new", os.O_WRONLY | os.O_CREAT),
        ):
            try:
                os.close(os.open(path, flags))
                found.append(str(path))
            except PermissionError:
                pass
        raise HostError("curious", str(found))

    monkeypatch.setattr(f"arstore.maintenance.check.{what}", curious)
    with pytest.raises(HostError) as caught:
        check(store)
    assert caught.value.why == "[]"


def test_a_store_is_checked_where_nobody_can_be_confined(store, monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(seccomp, "supported", lambda: False)
    assert check(store) == []
    alter(store)
    assert {finding.damage for finding in check(store)} == {Damage.BLOB_DIGEST}


def test_progress_is_told_as_it_comes():
    def job(report):
        for _ in range(10):
            report(1 << 20)
        return []

    seen = []
    assert run._work(job, False, None, seen.append) == []
    assert sum(seen) == 10 << 20
    assert len([count for count in seen if count]) > 2


def test_a_lost_blob_is_not_called_its_own_substitute(store):
    """An altered blob is still a file; the layer's substitute is another blob, or the tree's tar."""
    contents = [images.directory("./"), images.file("f", b"content" * 4000)]
    one, other = (images.image(images.layer(contents, how), names=[f"{how}:1"]) for how in ("gzip", "none"))
    stores.bring(store, one)
    path = Path(store.directories.blob(one.layers[0].digest))
    path.write_bytes(b"x" * path.stat().st_size)
    (lost,) = [left for left in repair(store, check(store)) if left.what == one.layers[0].digest]
    assert not lost.repaired
    assert "still exists in blob" not in lost.why
    stores.bring(store, other)
    (lost,) = [left for left in repair(store, check(store)) if left.what == one.layers[0].digest]
    assert f"still exists in blob {other.layers[0].digest}" in lost.why


def test_only_small_blobs_are_guessed(tmp_path):
    """Each bit of a small blob is tried; anything but a file of the store is not opened."""
    (tmp_path / "small").write_bytes(b"x" * blob_repair._LARGEST_GUESS)
    (tmp_path / "large").write_bytes(b"x" * (blob_repair._LARGEST_GUESS + 1))
    (tmp_path / "link").symlink_to("small")
    os.mkfifo(tmp_path / "fifo")
    assert len(blob_repair._small(str(tmp_path / "small"))) == blob_repair._LARGEST_GUESS
    for name in ("large", "link", "fifo", "none"):
        assert blob_repair._small(str(tmp_path / name)) == b""
