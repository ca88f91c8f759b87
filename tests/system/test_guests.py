"""A store belongs to the owner of its root: root can read a user's store, and never locks the user out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import disks, images, stores
from support.cli import Arstore

from arstore.errors import PermissionDeniedError
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect
from arstore.maintenance.remove import remove_images
from arstore.store.store import Store
from arstore.transport.copy import import_reference

pytestmark = pytest.mark.root

NOBODY = 65534
EXAMPLE = images.example()
FOREIGN = [
    ("mount", "example:1"),
    ("mount", "--rw", "example:1"),
    ("run", "--rm", "example:1", "true"),
    ("tag", "example:1", "other:1"),
    ("untag", "example:1"),
    ("rm", "example:1"),
    ("gc",),
    ("convert", "--all", "--tree", "directory"),
]


@pytest.fixture
def place():
    """A directory that everyone can reach, with one that belongs to `nobody` in it."""
    found = Path(tempfile.mkdtemp(prefix="arstore-guest-", dir="/var/tmp"))
    found.chmod(0o755)
    (found / "home").mkdir()
    os.chown(found / "home", NOBODY, NOBODY)
    try:
        yield found
    finally:
        subprocess.run(["umount", "--recursive", "--quiet", found / "home"], check=False, capture_output=True)
        shutil.rmtree(found)


@pytest.fixture
def archive(place):
    path = images.write_oci_archive(place / "example.tar", EXAMPLE)
    path.chmod(0o644)
    return path


def as_nobody(work):
    """Run *work* in a process of the user `nobody`."""

    def demoted():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        work()

    stores.forked(demoted)


def theirs(place):
    return Store(str(place / "home/root"), str(place / "home/run"))


def imported(place, archive):
    def work():
        with theirs(place) as store:
            import_reference(store, str(archive))

    # Import everything now: `nobody` may not be able to read this Python's library.
    with Store(str(place / "warm"), str(place / "warmrun")) as store:
        import_reference(store, str(archive))
        remove_images(store, ["example:1"])
    as_nobody(work)
    return Arstore(place / "home/root", place / "run")


def owners(root):
    found = {os.lstat(os.path.join(at, name)).st_uid for at, names, files in os.walk(root) for name in [*names, *files]}
    return found | {os.stat(root).st_uid}


def test_root_reads_a_users_store(place, archive):
    store = imported(place, archive)
    # As in a copy without the lock file: the first process that opens the graph makes it again.
    (store.root / "graph/lock.mdb").unlink()
    assert [one["names"] for one in store.json("images")] == [["example:1"]]
    for words in (("inspect", "example:1"), ("du",), ("check",), ("ps", "--all"), ("mounts",)):
        store.json(*words)
    store.ok("gc", "--dry-run")
    store.ok("unpack", "example:1", place / "unpacked")
    store.ok("backup", place / "backup")
    assert owners(store.root) == {NOBODY}

    def work():
        with theirs(place) as again:
            assert again.find("example:1").digest == EXAMPLE.digest
            remove_images(again, ["example:1"])
            assert again.images() == []

    as_nobody(work)


@pytest.mark.mounts
def test_root_writes_nothing_to_a_users_store(place, archive):
    store = imported(place, archive)
    before = store.files()
    for words in (*FOREIGN, ("import", archive), ("load", "-i", archive)):
        outcome = store.run("-q", *words)
        assert outcome.status in {42, 125}
        assert len(outcome.err.splitlines()) == 1
        assert f"{store.root}: belongs to nobody" in outcome.err
        assert "sudo -u nobody" in outcome.err
    assert store.files() == before
    assert owners(store.root) == {NOBODY}
    assert store.json("mounts") == []


def test_root_makes_no_store_in_a_users_directory(place, archive):
    (place / "home/empty").mkdir()
    os.chown(place / "home/empty", NOBODY, NOBODY)
    store = Arstore(place / "home/empty", place / "run")
    assert "belongs to nobody" in store.fails("PermissionDenied", "import", archive)
    assert os.listdir(store.root) == []
    # A store that root makes itself belongs to root.
    own = Arstore(place / "home/own", place / "run")
    own.ok("import", archive)
    assert owners(own.root) == {0}


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_user_has_no_part_in_roots_store(place, archive, mode):
    store = Arstore(place / "root", place / "run")
    store.ok("import", archive)
    store.root.chmod(mode)

    def work():
        place_of_theirs = str(place / "home/run")
        with pytest.raises(PermissionDeniedError) as caught, Store(str(place / "root"), place_of_theirs) as found:
            found.images()
        assert str(place / "root") in caught.value.what

    as_nobody(work)
    store.ok("check", "--quick")


@pytest.mark.mounts
def test_a_user_can_have_a_whole_disk(place, archive):
    """Its `lost+found` belongs to root, and other users cannot read it."""
    with disks.mounted("ext4", place / "home/root") as disk:
        os.chown(disk, NOBODY, NOBODY)
        imported(place, archive)

        def work():
            with theirs(place) as store:
                assert measure(store).total > 0
                stores.verify_clean(store)
                collect(store)

        as_nobody(work)
