"""A full btrfs, which writes changes to new places, even those through a mapping, such as LMDB's lock file. Without
space this is a SIGBUS."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import images
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.tools("mkfs.btrfs", "mount", "umount", "lsattr")]


@pytest.fixture
def disk(tmp_path):
    image, mounted = tmp_path / "disk.img", tmp_path / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(300 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, mounted], check=False, capture_output=True).returncode:
        pytest.skip("no btrfs can be mounted here")
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)


@pytest.fixture
def store(disk, tmp_path, archive):
    made = Arstore(disk / "root", tmp_path / "run")
    made.ok("-q", "import", archive)
    more = images.image(images.layer([images.file("more", b"x" * 100_000)]), names=["more:1"])
    made.ok("-q", "import", images.write_oci_archive(tmp_path / "more.tar", more))
    made.ok("untag", "more:1")
    return made


def fill(disk):
    for number in range(4):
        try:
            with (disk / f"ballast-{number}").open("wb", buffering=0) as file:
                while file.write(b"x" * (1 << (20 - 4 * number))):
                    pass
        except OSError:
            subprocess.run(["sync", "-f", disk], check=False)


def lock(store):
    return store.root / "graph/lock.mdb"


def test_the_lock_file_stays_in_its_place(store, disk):
    assert "C" in subprocess.run(["lsattr", lock(store)], check=True, capture_output=True, text=True).stdout.split()[0]
    fill(disk)
    for words in (("images",), ("check",), ("check", "--quick"), ("du",), ("inspect", "example:1")):
        outcome = store.run("-q", *words)
        assert (outcome.status, outcome.err) in {(0, ""), (41, outcome.err)}, words
        assert len(outcome.err.splitlines()) <= 1
    outcome = store.ok("gc")
    assert "freed" in outcome.text
    assert store.ok("check", "--quick").out == b""


def test_a_lock_file_of_an_older_arstore_is_set_up_anew(store):
    size = lock(store).stat().st_size
    lock(store).unlink()
    with lock(store).open("wb") as file:
        file.truncate(size - 4096)
    number = lock(store).stat().st_ino
    store.ok("images")
    assert (lock(store).stat().st_ino, lock(store).stat().st_size) == (number, size)
    assert "C" in subprocess.run(["lsattr", lock(store)], check=True, capture_output=True, text=True).stdout.split()[0]


@pytest.mark.parametrize("as_json", [False, True])
def test_without_room_for_the_lock_file_it_is_an_error(store, disk, as_json):
    # As in a copy of the store: of full size, and written to new places.
    copy = lock(store).with_name("copy")
    copy.write_bytes(lock(store).read_bytes())
    copy.rename(lock(store))
    fill(disk)
    met = 0
    for words in (("images",), ("check",), ("gc", "--dry-run"), ("mounts",), ("tag", "example:1", "other:1")):
        outcome = store.run("-q", *words, *(["--json"] if as_json else []))
        assert outcome.status in {0, 41}, (words, outcome.err)
        assert "Traceback" not in outcome.err
        assert len(outcome.err.splitlines()) <= 1
        met += str(lock(store)) in outcome.err
    assert met
    for ballast in disk.glob("ballast-*"):
        ballast.unlink()
    subprocess.run(["sync", "-f", disk], check=True)
    store.ok("images")


def test_a_lock_file_in_use_is_left_alone(store):
    """A file that another process has locked must not be truncated."""
    size = lock(store).stat().st_size
    shutil.copy(lock(store), Path(f"{lock(store)}.short"))
    with open(f"{lock(store)}.short", "r+b") as file:
        file.truncate(size - 4096)
    Path(f"{lock(store)}.short").rename(lock(store))
    code = "import lmdb, sys; e = lmdb.open(sys.argv[1], max_readers=64); print('open', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(store.root / "graph")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        store.ok("images")
        assert lock(store).stat().st_size == size - 4096
        other.communicate("")
    store.ok("images")
    assert lock(store).stat().st_size == size
