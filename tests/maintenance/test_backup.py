"""Backups of a store in use: complete, of one moment, incremental, and never worse than the one before."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess

import pytest
from support import images, stores

from arstore.errors import ConflictError, InUseError, MissingBlobError, StoreDamagedError, UsageError
from arstore.maintenance.backup import back_up
from arstore.maintenance.check import check
from arstore.maintenance.gc import collect
from arstore.maintenance.remove import remove_images
from arstore.store.progress import NoProgress
from arstore.store.store import Store
from arstore.transport.copy import ImportOptions, import_reference
from arstore.transport.selection.selector import Wanted

ONE = stores.simple("one", names=("one:1", "one:latest"))
TWO = stores.simple("two", names=("two:1",))
OTHER = stores.simple("other", names=())


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, ONE, TWO, OTHER) as made:
        yield made


@pytest.fixture
def target(tmp_path):
    return tmp_path / "backup"


class Watched(NoProgress):
    """Runs an action when work on a blob begins."""

    def __init__(self, action, at=0):
        self._action = action
        self._left = at

    def start(self, key, label, total):
        if self._left == 0:
            self._action()
        self._left -= 1


def make(store, target, progress=None, **options):
    return back_up(store, str(target), progress or NoProgress(), **options)


def contents(store):
    return {(image.digest, image.names) for image in store.images()}


def restored(tmp_path, target):
    """A new store restored from the backup; it must be whole."""
    with Store(str(tmp_path / "restored"), str(tmp_path / "restored-run")) as other:
        import_reference(other, str(target), ImportOptions(wanted=Wanted(None, True)))
        assert [finding for finding in check(other) if not finding.harmless] == []
        return contents(other)


def files(target):
    return {path.relative_to(target): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def blob_in(target, digest):
    return target / "blobs" / digest.replace(":", "/")


def test_all_images_come_back_with_their_names(store, target, tmp_path):
    report = make(store, target)
    assert report.images == 3
    assert report.copied == report.blobs == len(list(target.glob("blobs/*/*")))
    assert report.bytes == sum(path.stat().st_size for path in target.glob("blobs/*/*"))
    assert restored(tmp_path, target) == contents(store)


def test_a_multi_platform_index_comes_back(tmp_path, store, target):
    members = [stores.simple(f"arch{n}", names=(), architecture=name) for n, name in enumerate(("amd64", "arm64"))]
    archive = images.write_oci_archive(tmp_path / "multi.tar", images.index(*members, names=["multi:1"]))
    import_reference(store, str(archive), ImportOptions(wanted=Wanted(None, True)))
    make(store, target)
    assert restored(tmp_path, target) == contents(store)


def test_nobody_else_can_reach_it(store, target):
    old = os.umask(0)
    try:
        make(store, target)
    finally:
        os.umask(old)
    for path in (target, *target.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_directory_that_was_open_to_all_is_closed(store, target, tmp_path):
    """It is closed before anything is copied into it; an earlier backup that was opened is closed again."""
    target.mkdir()
    target.chmod(0o755)
    seen = []
    make(store, target, Watched(lambda: seen.append(stat.S_IMODE(target.stat().st_mode))))
    assert seen == [0o700]
    target.chmod(0o755)
    make(store, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    for path in target.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("verify", [False, True])
def test_a_symlink_in_a_blobs_place_is_replaced(store, target, tmp_path, verify):
    """It leads to the right bytes today, but they may be on another disk, or in the store itself."""
    make(store, target)
    path = blob_in(target, TWO.layers[0].digest)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    assert make(store, target, verify=verify).copied == 1
    assert not path.is_symlink()
    assert path.read_bytes() == elsewhere.read_bytes() == before
    assert restored(tmp_path, target) == contents(store)


def test_a_symlink_in_a_blobs_place_in_the_store_is_not_followed(store, target, tmp_path):
    path = blob_in(tmp_path / "root", TWO.layers[0].digest)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        make(store, target)
    assert not (target / "index.json").exists()


def test_the_next_one_copies_what_is_new(store, target, tmp_path):
    make(store, target)
    before = {path: path.stat().st_ino for path in target.glob("blobs/*/*")}
    assert make(store, target).copied == 0
    new = stores.simple("three", names=("three:1",))
    stores.bring(store, new)
    report = make(store, target)
    assert report.images == 4
    assert report.copied == len(new.blobs())
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    assert restored(tmp_path, target) == contents(store)


def test_an_empty_store(tmp_path, target):
    with Store(str(tmp_path / "empty"), str(tmp_path / "empty-run")) as empty:
        assert make(empty, target).images == 0
    assert (target / "index.json").exists()


@pytest.mark.parametrize("at", [0, 3, 8])
def test_what_others_do_meanwhile_does_not_matter(store, target, tmp_path, at):
    """Removed, collected, imported: the backup is of the moment in which it began."""
    before = contents(store)
    late = stores.archive_for(store, stores.simple("late", names=("late:1",)))

    def meanwhile():
        store.close()
        stores.forked(others)

    def others():
        with Store(store.directories.root, store.directories.runroot) as own:
            own.untag("two:1")
            collect(own)
            with pytest.raises(InUseError):
                remove_images(own, [ONE.digest])
            import_reference(own, str(late))
            own.tag("one:1", "moved:1")

    make(store, target, Watched(meanwhile, at))
    assert restored(tmp_path, target) == before
    collect(store)
    names = {name for _, names in contents(store) for name in names}
    assert names >= {"one:1", "one:latest", "late:1", "moved:1"}
    assert TWO.digest not in {digest for digest, _ in contents(store)}


def test_a_damaged_blob_leaves_the_earlier_backup(store, target, tmp_path):
    make(store, target)
    before = files(target)
    held = contents(store)
    new = stores.simple("three", names=("three:1",))
    stores.bring(store, new)
    damage(blob_in(tmp_path / "root", new.layers[0].digest))
    with pytest.raises(StoreDamagedError, match=new.layers[0].digest):
        make(store, target)
    assert {path: data for path, data in files(target).items() if path in before} == before
    assert not list(target.rglob(".partial*"))
    assert restored(tmp_path, target) == held


def test_a_missing_blob(store, target, tmp_path):
    blob_in(tmp_path / "root", ONE.layers[0].digest).unlink()
    with pytest.raises(MissingBlobError):
        make(store, target)
    assert not (target / "index.json").exists()


@pytest.mark.parametrize("how", ["altered", "truncated"])
def test_what_was_altered_in_the_backup(store, target, tmp_path, how):
    make(store, target)
    path = blob_in(target, TWO.layers[0].digest)
    damage(path) if how == "altered" else os.truncate(path, 1)
    assert make(store, target).copied == (how == "truncated")
    assert make(store, target, verify=True).copied == (how == "altered")
    assert restored(tmp_path, target) == contents(store)


def test_pruning(store, target, tmp_path):
    make(store, target)
    (target / "blobs/sha256/.partial-0123").write_bytes(b"x")
    (target / ".partial-0123").write_bytes(b"x")
    store.untag("two:1")
    collect(store)
    assert make(store, target).pruned == 0
    assert not list(target.rglob(".partial*"))
    assert make(store, target, prune=True).pruned == len(TWO.blobs())
    assert {path.name for path in target.glob("blobs/*/*")} == {digest[7:] for digest in (*ONE.blobs(), *OTHER.blobs())}
    assert restored(tmp_path, target) == contents(store)


def test_a_killed_one_leaves_the_earlier_backup(store, target, tmp_path):
    make(store, target)
    held = contents(store)
    stores.bring(store, stores.simple("three", "four", names=("three:1",)))
    store.close()

    def killed():
        with Store(store.directories.root, store.directories.runroot) as own:
            make(own, target, Watched(lambda: os.kill(os.getpid(), 9), 12))

    stores.forked(killed, -9)
    assert restored(tmp_path, target) == held
    with store.graph.read() as snapshot:
        assert len(list(snapshot.leases())) == 1
    partial = target / "blobs/sha256/.partial-0123456789abcdef"
    partial.write_text("what a killed one has left")
    make(store, target)
    # The killed backup has left no garbage, neither here nor there.
    assert not collect(store).leases
    assert not partial.exists()
    (tmp_path / "restored").rename(tmp_path / "old")
    assert restored(tmp_path, target) == contents(store)


def test_places_that_are_refused(store, target, tmp_path):
    with pytest.raises(UsageError):
        make(store, tmp_path / "root" / "backup")
    target.mkdir()
    (target / "mine").write_text("x")
    with pytest.raises(ConflictError):
        make(store, target)
    assert os.listdir(target) == ["mine"]
    with pytest.raises(FileNotFoundError):
        make(store, tmp_path / "no" / "parent")


def test_one_at_a_time(store, target):
    make(store, target)
    fd = os.open(target, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(InUseError):
        make(store, target)
    os.close(fd)
    make(store, target)


@pytest.mark.tools("skopeo")
def test_other_tools_read_it(store, target):
    make(store, target)
    done = subprocess.run(["skopeo", "inspect", f"oci:{target}:one:1"], capture_output=True, text=True, check=True)
    assert ONE.digest in done.stdout


def test_a_store_that_cannot_be_read_makes_no_backup(store, target):
    store.close()
    with open(f"{store.directories.graph}/data.mdb", "r+b") as file:
        file.write(b"\xff" * 8192)
    with Store(store.directories.root, store.directories.runroot) as damaged, pytest.raises(StoreDamagedError):
        make(damaged, target)
    assert not target.exists()
