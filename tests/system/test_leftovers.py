"""Killed imports, and the imports after them, through the command line and measured with du(1)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from support import images, stores
from support.cli import Arstore, kill

pytestmark = [pytest.mark.root]

MIB = 1 << 20


def large(name, size=20 * MIB, layers=3):
    """An image of random bytes, which take time and do not compress."""
    parts = [
        images.layer([images.file(f"f{n}", os.urandom(size))], "none") for n in range(layers)
    ]  # fmt: skip
    return images.image(*parts, names=[name])


def bring_and_kill(store, archive, size):
    """Start an import, and kill it when it has written more than *size*; its workers end with it."""
    process = store.start("import", archive)
    deadline = time.monotonic() + 60
    while in_flight(store.root, f"{process.pid}-") <= size and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, "it was too quick to be killed"
    kill(process)


def in_flight(root, start=""):
    """Bytes in the ingests whose names begin with *start*; a blob and a tree may be one file with two names."""
    found = {}
    for directory, _, files in os.walk(root / "ingest"):
        if not os.path.relpath(directory, root / "ingest").startswith(start):
            continue
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                about = os.lstat(os.path.join(directory, name))
                found[about.st_ino] = about.st_blocks * 512
    return sum(found.values())


def test_five_killed_imports_leave_nothing_after_the_next_one(store, archive, tmp_path):
    big = images.write_oci_archive(tmp_path / "big.tar", large("big:1"))
    for number in range(5):
        bring_and_kill(store, big, (number + 1) * 8 * MIB)
    told = store.ok("import", archive)
    assert "left in the store by killed commands" in told.err
    clean = Arstore(tmp_path / "clean", tmp_path / "clean-run")
    clean.ok("import", archive)
    assert os.listdir(store.root / "ingest") == []
    assert store.bill() == clean.bill()
    # The graph has written a few more pages.
    assert stores.du(store.root) - stores.du(clean.root) < MIB
    assert store.json("gc", "--dry-run")["bytes"] == 0


def test_it_is_reported_in_json_and_not_when_there_is_nothing(store, archive, tmp_path):
    big = images.write_oci_archive(tmp_path / "big.tar", large("big:1"))
    bring_and_kill(store, big, 8 * MIB)
    assert store.json("import", archive)["cleared"] >= 8 * MIB
    again = store.ok("import", "--json", archive)
    assert again.json["cleared"] == 0
    assert "killed" not in again.err


def test_a_stream_that_was_killed_while_it_was_spooled(store, archive, tmp_path):
    big = images.write_oci_archive(tmp_path / "big.tar", large("big:1"))
    reading, writing = os.pipe()
    process = subprocess.Popen(
        store.words("import", "-"), stdin=reading, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=store.environment(), cwd="/", start_new_session=True,
    )  # fmt: skip
    os.close(reading)
    os.write(writing, b"")
    data = big.read_bytes()[: 30 * MIB]
    view = memoryview(data)
    while view:
        view = view[os.write(writing, view[:MIB]) :]
    deadline = time.monotonic() + 30
    while in_flight(store.root) < 8 * MIB and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(process)
    os.close(writing)
    assert in_flight(store.root) >= 8 * MIB
    store.ok("import", archive)
    assert os.listdir(store.root / "ingest") == []


@pytest.fixture
def disk(tmp_path):
    """A file system of 220 MB."""
    file, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    with open(file, "wb") as image:
        image.truncate(220 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", file], check=True)
    done = subprocess.run(["mount", "-o", "loop", file, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop mounts here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def full_store(disk, tmp_path):
    (disk / "lost+found").rmdir()
    return Arstore(disk / "store", tmp_path / "disk-run")


@pytest.mark.mounts
@pytest.mark.tools("mkfs.ext4", "mount", "umount")
def test_an_import_fits_because_of_it(disk, tmp_path):
    store = full_store(disk, tmp_path)
    big = images.write_oci_archive(tmp_path / "big.tar", large("big:1"))
    bring_and_kill(store, big, 50 * MIB)
    other = images.write_oci_archive(tmp_path / "other.tar", large("other:1", 25 * MIB))
    store.ok("import", "--tree", "directory", other)
    assert os.listdir(store.root / "ingest") == []


@pytest.mark.mounts
@pytest.mark.tools("mkfs.ext4", "mount", "umount")
def test_what_no_list_tells_of_goes_before_an_import_is_refused(disk, tmp_path, archive):
    """As after a power cut in the middle of a publication, whose list was lost."""
    store = full_store(disk, tmp_path)
    store.ok("import", archive)
    Path(store.root, "blobs/sha256", os.urandom(32).hex()).write_bytes(bytes(100 * MIB))
    other = images.write_oci_archive(tmp_path / "other.tar", large("other:1", 25 * MIB))
    done = store.ok("import", "--tree", "directory", other)
    assert "removed 104.9 MB left in the store by killed commands" in done.err
    too_large = images.write_oci_archive(tmp_path / "large.tar", large("large:1", 70 * MIB))
    assert store.run("import", too_large).status == 41
    assert store.run("check").status == 0
