"""Backups that would lose something: backups of other stores, and other files at the destination."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import images, programs, stores

from arstore.errors import BackupRefusedError, ConflictError, UsageError
from arstore.maintenance.backup import back_up
from arstore.maintenance.check import check, repair
from arstore.maintenance.destination import listing
from arstore.maintenance.gc import collect
from arstore.maintenance.remove import remove_images
from arstore.store.progress import NoProgress
from arstore.store.store import Store
from arstore.transport.copy import import_reference

ONE = stores.simple("one", names=("one:1", "one:latest"))
TWO = stores.simple("two", names=("two:1",))
THREE = stores.simple("three", names=("three:1",))


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, ONE, TWO) as made:
        yield made


@pytest.fixture
def target(store, tmp_path):
    back_up(store, str(tmp_path / "backup"), NoProgress())
    return tmp_path / "backup"


@pytest.fixture
def other(tmp_path):
    with stores.made(tmp_path / "other", tmp_path / "other-run") as made:
        stores.bring(made, ONE)
        stores.bring(made, THREE)
        yield made


def make(store, target, **options):
    return back_up(store, str(target), NoProgress(), **options)


def held(target):
    """All content of the backup."""
    return {path.relative_to(target): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def listed(target):
    return set(listing((target / "index.json").read_bytes()).images)


def refused(store, target, match, **options):
    before = held(target)
    with pytest.raises(BackupRefusedError, match=match):
        make(store, target, **options)
    assert held(target) == before


def test_what_the_store_has_removed_is_forgotten_and_told(store, target):
    store.untag("one:latest")
    remove_images(store, ["two:1"])
    report = make(store, target, prune=True)
    assert (report.forgotten_images, report.forgotten_names) == (1, 2)
    assert listed(target) == {ONE.digest}
    assert report.pruned == len(TWO.blobs())
    report = make(store, target)
    assert (report.forgotten_images, report.forgotten_names) == (0, 0)


def test_a_name_that_moves_is_nothing_lost(store, target):
    store.tag(TWO.digest, "one:latest")
    assert make(store, target).forgotten_names == 0


@pytest.mark.parametrize("prune", [False, True])
def test_a_store_without_images(store, target, tmp_path, prune):
    """New, or emptied: both are a reason to refuse."""
    with stores.made(tmp_path / "new", tmp_path / "new-run") as new:
        refused(new, target, "no images; 2 of its 2 images and 3 names would", prune=prune)
    remove_images(store, ["one:1", "one:latest", "two:1"])
    refused(store, target, "no images", prune=prune)
    report = make(store, target, prune=prune, replace=True)
    assert report.forgotten_images == 2
    assert listed(target) == set()


def test_another_store(store, target, other):
    refused(other, target, "another store")
    assert make(other, target, replace=True).forgotten_images == 1
    assert listed(target) == {ONE.digest, THREE.digest}
    refused(store, target, "another store")
    make(other, target)


def test_another_store_with_all_that_is_there(target, other):
    """A store that goes on with this backup would not know what the other store removes."""
    stores.bring(other, TWO)
    refused(other, target, "another store .*; 0 of its 2 images and 0 names")


def test_a_store_whose_graph_was_made_again(store, target):
    store.close()
    shutil.rmtree(store.directories.graph)
    repair(store, check(store))
    assert len(store.images()) == 2
    refused(store, target, "rebuilt since")
    make(store, target, replace=True)
    remove_images(store, ["two:1"])
    assert make(store, target).forgotten_images == 1


def test_a_store_that_is_older_than_its_backup(store, target, tmp_path):
    """The store was restored from a copy of the disk: later imports are in the backup alone."""
    kept = tmp_path / "kept.mdb"
    store.close()
    data, identity = Path(store.directories.graph, "data.mdb"), Path(store.directories.root, "store.json")
    shutil.copy(data, kept)
    known = identity.read_bytes()
    stores.bring(store, THREE)
    make(store, target)
    store.close()
    # The same file, as restored from a snapshot of the file system.
    data.write_bytes(kept.read_bytes())
    identity.write_bytes(known)
    refused(store, target, "older than the backup; 1 of its 3 images and 1 name would")
    make(store, target, replace=True)


def test_a_copy_of_the_store(store, target, tmp_path):
    """The copy goes on with the backup, and must not lose what the store itself has added since."""
    store.close()
    shutil.copytree(store.directories.root, tmp_path / "copy")
    with Store(str(tmp_path / "copy"), str(tmp_path / "copy-run")) as copy:
        for number in range(9):
            copy.tag("one:1", f"more:{number}")
        make(copy, target)
        stores.bring(store, THREE)
        for number in range(20):
            store.tag("one:1", f"more:{number}")
        make(store, target)
        for number in range(30):
            copy.tag("one:1", f"again:{number}")
        refused(copy, target, "copy of the store")


def test_what_another_tool_has_put_there_since(store, target):
    document = json.loads((target / "index.json").read_bytes())
    theirs = {**document["manifests"][0], "digest": "sha256:" + "7" * 64}
    document["manifests"].append(theirs)
    (target / "index.json").write_text(json.dumps(document))
    refused(store, target, "something else", prune=True)
    document["manifests"].pop()
    (target / "index.json").write_text(json.dumps(document))
    make(store, target, prune=True)
    assert make(store, target).copied == 0


def test_a_backup_without_a_record(store, target):
    """A backup of an older arstore: arstore goes on if nothing is lost, and then writes the record."""
    (target / "backup.json").unlink()
    make(store, target)
    assert (target / "backup.json").exists()
    (target / "backup.json").unlink()
    remove_images(store, ["two:1"])
    refused(store, target, "does not name the store")
    make(store, target, replace=True)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"store": 1}', b'{"store": {"id": "x"}}', b"\xff"])
def test_a_record_that_says_nothing(store, target, content):
    (target / "backup.json").write_bytes(content)
    remove_images(store, ["two:1"])
    refused(store, target, "does not name the store")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"manifests": [1]}', b"\xff"])
def test_an_index_that_cannot_be_read(store, target, content):
    (target / "index.json").write_bytes(content)
    refused(store, target, "cannot be read", prune=True)
    make(store, target, replace=True)
    assert listed(target) == {ONE.digest, TWO.digest}


def test_a_backup_whose_index_is_lost(store, target, other, tmp_path):
    (target / "index.json").unlink()
    refused(other, target, "another store")
    with stores.made(tmp_path / "new", tmp_path / "new-run") as new:
        refused(new, target, "no images", prune=True)
    make(store, target)
    assert listed(target) == {ONE.digest, TWO.digest}


def test_a_layout_of_another_tool(store, tmp_path):
    artifact = images.layer([images.file("x", b"x")])
    target = images.write_layout(tmp_path / "layout", ONE)
    document = json.loads((target / "index.json").read_bytes())
    path = target / "blobs/sha256" / artifact.digest[7:]
    path.write_bytes(artifact.blob)
    document["manifests"].append({"mediaType": "text/x", "digest": artifact.digest, "size": len(artifact.blob)})
    (target / "index.json").write_text(json.dumps(document))
    refused(store, target, "does not name the store", prune=True)
    assert path.exists()
    report = make(store, target, replace=True, prune=True)
    assert report.forgotten_images == 1
    assert not path.exists()


def test_other_platforms_of_an_index_are_not_pruned(store, tmp_path):
    """A tool has copied all of them, and the store has one."""
    members = [stores.simple(name, names=(), architecture=name) for name in ("amd64", "arm64")]
    many = images.index(*members, names=["many:1"])
    target = images.write_layout(tmp_path / "layout", many)
    import_reference(store, f"oci:{target}")
    archive = images.write_oci_archive(tmp_path / "many.tar", many)
    import_reference(store, str(archive), stores.ImportOptions(wanted=stores.Wanted(every=True)))
    with store.graph.write() as change:
        record = change.image(many.digest)
        change.put_image(many.digest, record._replace(manifests=record.manifests[:1]))
        change.delete("images", members[1].digest)
    before = {path.name for path in target.glob("blobs/*/*")}
    for _ in range(2):
        make(store, target, prune=True, replace=True)
        assert {path.name for path in target.glob("blobs/*/*")} >= before


def test_a_killed_one_is_still_the_backup_of_its_store(store, target):
    stores.bring(store, THREE)
    store.close()

    def killed():
        from arstore.maintenance import backup

        real = backup._put_document

        def put(directory, name, data):
            if name == "index.json":
                os.kill(os.getpid(), 9)
            real(directory, name, data)

        backup._put_document = put
        with Store(store.directories.root, store.directories.runroot) as own:
            make(own, target)

    stores.forked(killed, -9)
    assert listed(target) == {ONE.digest, TWO.digest}
    remove_images(store, ["two:1"])
    assert make(store, target).forgotten_images == 1


# --- stores in the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "blobs", "blobs/sha256/x", "x", "containers/x/upper"])
def test_this_store(store, tmp_path, where):
    place = tmp_path / "root" / where
    place.mkdir(parents=True, exist_ok=True)
    before = held(tmp_path / "root")
    (tmp_path / "link").symlink_to(place)
    for target in (place, tmp_path / "link", tmp_path / "link" / "new"):
        with pytest.raises(UsageError):
            make(store, target, prune=True, replace=True)
    assert held(tmp_path / "root").keys() == before.keys()


@pytest.mark.parametrize("where", ["", "blobs", "trees/new"])
def test_another_store_in_the_way(store, other, where):
    place = Path(other.directories.root, where)
    with pytest.raises(ConflictError, match="store"):
        make(store, place, prune=True, replace=True)
    collect(other)
    assert [finding for finding in check(other) if not finding.harmless] == []


def test_an_older_store_in_the_way(store, other):
    stores.make_older(other)
    with pytest.raises(ConflictError, match="store"):
        make(store, other.directories.root, prune=True, replace=True)


def test_a_directory_with_a_store_in_it(store, tmp_path, other):
    (tmp_path / "oci-layout").write_text("x")
    with pytest.raises(UsageError):
        make(store, tmp_path)
    place = tmp_path / "place"
    place.mkdir()
    (place / "oci-layout").write_text("x")
    other.close()
    os.rename(other.directories.root, place / "other")
    with pytest.raises(ConflictError, match="contains a store"):
        make(store, place)


@pytest.mark.root
@pytest.mark.skipif(bool(programs.why_no_mounts()), reason="no mounts")
@pytest.mark.parametrize("where", ["", "blobs", "containers/box/upper/data"])
def test_by_a_bind_mount(store, tmp_path, where):
    place = tmp_path / "root" / where
    place.mkdir(parents=True, exist_ok=True)
    bound = tmp_path / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", place, bound], check=True)
    try:
        for target in (bound, bound / "new"):
            with pytest.raises((UsageError, ConflictError)):
                make(store, target, prune=True, replace=True)
    finally:
        subprocess.run(["umount", bound], check=True)


def test_a_fresh_disk(store, tmp_path):
    (tmp_path / "disk/lost+found").mkdir(parents=True)
    assert make(store, tmp_path / "disk").images == 2
