"""A store on a read-only file system can be read, and refuses changes clearly; one in use is never misread."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager

import pytest
from support import disks, images, programs, treelist
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts]

EXAMPLE = images.example()
READING = [
    ("images",),
    ("layers",),
    ("inspect", "example:1"),
    ("history", "example:1"),
    ("mounts",),
    ("ps", "--all"),
    ("du",),
    ("check",),
    ("check", "--quick"),
    ("gc", "--dry-run"),
    ("save", "example:1", "-o", "/dev/null"),
    ("save", "example:1", "--format", "docker-archive", "-o", "/dev/null"),
]
WRITING = [
    ("gc",),
    ("rm", "example:1"),
    ("tag", "example:1", "other:1"),
    ("untag", "example:1"),
    ("convert", "--all", "--tree", "directory"),
    ("mount", "--rw", "example:1"),
    ("container", "rm", "box"),
]


def ext4(source, place):
    disks.formatted("ext4", place.with_name("image"), "-d", source)
    return ["-o", "loop,ro", place.with_name("image")]


def squashfs(source, place):
    made(["mksquashfs", source, place.with_name("image"), "-quiet", "-no-progress"])
    return ["-o", "loop", place.with_name("image")]


def erofs(source, place):
    made(["mkfs.erofs", "--quiet", place.with_name("image"), source])
    return ["-o", "loop", place.with_name("image")]


def made(words):
    if programs.program(words[0]) is None:
        pytest.skip(f"not installed: {words[0]}")
    if why := disks.said(words):
        pytest.skip(f"{words[0]}: {why}")


@pytest.fixture
def source(tmp_path):
    """A directory with a settled store, which has the example image and a container."""
    (tmp_path / "source").mkdir()
    store = Arstore(tmp_path / "source/root", tmp_path / "run")
    store.ok("import", images.write_oci_archive(tmp_path / "example.tar", EXAMPLE))
    store.ok("mount", "--rw", "--name", "box", "example:1")
    store.ok("umount", "--all")
    store.ok("gc")
    return tmp_path / "source"


@contextmanager
def shown(store, *words):
    view = store.ok("mount", *words).text.strip()
    try:
        yield treelist.listing(view)
    finally:
        store.ok("umount", view)


def verify(frozen, source, tmp_path):
    """All reading commands work, with the same output as on the store itself; all others fail with one line."""
    original = Arstore(source / "root", tmp_path / "run")
    assert frozen.json("images") == original.json("images")
    for words in READING:
        frozen.json(*words) if words[0] != "gc" else frozen.ok(*words)
    assert [one for one in frozen.json("check")["findings"] if not one["harmless"]] == []
    with shown(frozen, "example:1") as found, shown(original, "example:1") as expected:
        assert treelist.differences(found, expected) == []
    frozen.ok("unpack", "example:1", tmp_path / "unpacked")
    assert treelist.differences(treelist.listing(tmp_path / "unpacked"), expected) == []
    frozen.ok("backup", tmp_path / "backup")
    restored = Arstore(tmp_path / "restored", tmp_path / "restoredrun")
    restored.ok("import", tmp_path / "backup")
    assert [one["digest"] for one in restored.json("images")] == [EXAMPLE.digest]
    for words in (*WRITING, ("import", tmp_path / "example.tar")):
        line = frozen.fails("PermissionDenied", *words)
        assert f"{frozen.root}: the store is on a read-only file system" in line
    assert frozen.json("mounts") == []


@pytest.mark.parametrize(
    "make", [ext4, squashfs, pytest.param(erofs, marks=pytest.mark.long)], ids=["ext4", "squashfs", "erofs"]
)
def test_a_store_on_a_read_only_file_system_can_be_read(make, source, tmp_path):
    with disks.attached(tmp_path / "disk", *make(source, tmp_path / "disk")) as place:
        verify(Arstore(place / "root", tmp_path / "frozenrun"), source, tmp_path)


def test_a_read_only_snapshot_of_btrfs_can_be_read(tmp_path, archive):
    with disks.mounted("btrfs", tmp_path / "disk") as place:
        made(["btrfs", "-q", "subvolume", "create", place / "source"])
        original = Arstore(place / "source/root", tmp_path / "run")
        original.ok("import", archive)
        original.ok("mount", "--rw", "--name", "box", "example:1")
        original.ok("umount", "--all")
        made(["btrfs", "-q", "subvolume", "snapshot", "-r", place / "source", place / "snapshot"])
        verify(Arstore(place / "snapshot/root", tmp_path / "frozenrun"), place / "source", tmp_path)


@pytest.mark.parametrize("kind", ["bind", "overlay", "readonly-volume"])
def test_a_read_only_mount_of_a_live_store_is_refused(kind, source, tmp_path):
    """LMDB itself would work without its lock, and read pages that a writer is reusing."""
    words = {
        "bind": ["--bind", source],
        "overlay": ["-t", "overlay", "-o", f"lowerdir={source}:{tmp_path / 'empty'}", "overlay"],
        "readonly-volume": ["--bind", "-o", "ro", source],
    }[kind]
    (tmp_path / "empty").mkdir()
    with disks.attached(tmp_path / "disk", *words) as place:
        if kind == "bind":
            subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        frozen = Arstore(place / "root", tmp_path / "frozenrun")
        for words in (("images",), ("check",), ("du",), ("unpack", "example:1", tmp_path / "unpacked")):
            assert f"{frozen.root}: is read-only here but may be written" in frozen.fails("PermissionDenied", *words)
        assert not (tmp_path / "unpacked").exists()
        other = Arstore(tmp_path / "other", tmp_path / "otherrun")
        other.ok("import", f"oci:{frozen.root}")


def test_trees_that_are_not_trusted_are_not_shown(source, tmp_path):
    """Files copied by mkfs may lack what copies lack; unpack makes them from the blobs."""
    store = Arstore(source / "root", tmp_path / "run")
    plain = images.image(images.layer([images.file("f", b"f")]), names=["plain:1"])
    store.ok("import", "--tree", "directory", images.write_oci_archive(tmp_path / "plain.tar", plain))
    store.ok("gc")
    with disks.attached(tmp_path / "disk", *squashfs(source, tmp_path / "disk")) as place:
        frozen = Arstore(place / "root", tmp_path / "frozenrun")
        line = frozen.fails("PermissionDenied", "mount", "plain:1")
        assert "cannot be built on a read-only file system" in line
        assert "unpack" in line
        frozen.ok("unpack", "plain:1", tmp_path / "unpacked")
        assert (tmp_path / "unpacked/f").read_bytes() == b"f"
        assert {one["kind"] for one in frozen.json("check")["findings"]} == {"tree-untrusted"}


def test_a_runroot_that_cannot_be_written_to_forbids_nothing_but_mounts(source, tmp_path):
    with disks.attached(tmp_path / "disk", *squashfs(source, tmp_path / "disk")) as place:
        frozen = Arstore(place / "root", place / "run")
        assert [one["names"] for one in frozen.json("images")] == [["example:1"]]
        frozen.ok("check")
        frozen.ok("du")
        frozen.ok("unpack", "example:1", tmp_path / "unpacked")
        outcome = frozen.run("-q", "mount", "example:1")
        assert outcome.status != 0
        assert len(outcome.err.splitlines()) == 1


def test_there_is_no_store_on_an_empty_read_only_disk(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/root").mkdir(mode=0o700)
    with disks.attached(tmp_path / "disk", *squashfs(tmp_path / "source", tmp_path / "disk")) as place:
        frozen = Arstore(place / "root", tmp_path / "run")
        outcome = frozen.run("-q", "images")
        assert outcome.status != 0
        assert str(frozen.root) in outcome.err
        assert len(outcome.err.splitlines()) == 1
        frozen.fails("PermissionDenied", "import", tmp_path / "source")


@contextmanager
def near(far, place):
    """The directory *far* at *place*, through sshfs, which talks to its server through pipes."""
    server = "/usr/lib/openssh/sftp-server"
    if not os.path.exists(server):
        pytest.skip("not installed: sftp-server")
    theirs, ours = os.pipe(), os.pipe()
    with subprocess.Popen([server], stdin=ours[0], stdout=theirs[1]) as serving:
        words = [programs.program("sshfs"), "-f", "-o", "slave", f"host:{far}", place]
        with subprocess.Popen(words, stdin=theirs[0], stdout=ours[1]) as mounting:
            for fd in (*theirs, *ours):
                os.close(fd)
            try:
                deadline = time.monotonic() + 30
                while not os.path.ismount(place):
                    if mounting.poll() is not None or time.monotonic() > deadline:
                        pytest.skip("sshfs mounts nothing here")
                    time.sleep(0.05)
                yield place
            finally:
                subprocess.run(["umount", place], check=False, capture_output=True)
                mounting.terminate()
                serving.terminate()


@pytest.mark.tools("sshfs")
def test_a_network_file_system_is_refused_for_a_store_and_takes_backups(tmp_path, archive):
    for name in ("far", "near"):
        (tmp_path / name).mkdir()
    with near(tmp_path / "far", tmp_path / "near") as place:
        store = Arstore(place / "root", tmp_path / "run")
        line = store.fails("Host", "import", archive)
        assert "network file system (fuse.sshfs)" in line
        assert "backup" in line
        local = Arstore(tmp_path / "root", tmp_path / "localrun")
        local.ok("import", archive)
        local.ok("backup", place / "backup")
        other = Arstore(tmp_path / "other", tmp_path / "otherrun")
        other.ok("import", place / "backup")
        assert other.json("images")[0]["digest"] == EXAMPLE.digest
        # A store that was copied there cannot be opened either; its layout is read.
        subprocess.run(["cp", "-r", local.root, place / "copied"], check=True)
        copied = Arstore(place / "copied", tmp_path / "run2")
        assert "network file system" in copied.fails("Host", "images")
        leaning = Arstore(tmp_path / "leaning", tmp_path / "leaningrun")
        variables = {"ARSTORE_ADDITIONAL_STORES": str(copied.root)}
        assert leaning.json("images", **variables)[0]["store"] == str(copied.root)
        view = leaning.ok("mount", "example:1", **variables).text.strip()
        found = treelist.listing(view)
        leaning.ok("umount", view)
        with shown(local, "example:1") as expected:
            assert treelist.differences(found, expected) == []
        leaning.ok("unpack", "example:1", tmp_path / "fromafar", **variables)
        assert treelist.differences(treelist.listing(tmp_path / "fromafar"), expected) == []
        other.ok("import", f"oci:{copied.root}")
