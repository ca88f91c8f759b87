"""`save` and `copy` that are killed, interrupted, or meet a full disk, a reader that ends, or a read-only directory."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from support import copies, disks, images
from support.cli import Arstore

MIB = 1 << 20
NOISE = random.Random(1).randbytes(6 * MIB)
BIG = images.image(
    *(images.layer([images.file(f"file{n}", NOISE[n * MIB : (n + 2) * MIB])], "none") for n in range(5)),
    names=["big:1"],
)
OLD = images.image(images.layer([images.file("old", b"old")]), names=["old:1"])
DESTINATIONS = {
    "oci-archive": "oci-archive:{}",
    "docker-archive": "docker-archive:{}",
    "oci": "oci:{}",
    "dir": "dir:{}",
}


@pytest.fixture
def big(store, tmp_path):
    """A store with a large image and a small one."""
    store.ok("import", images.write_oci_archive(tmp_path / "big.tar", BIG))
    store.ok("import", images.write_oci_archive(tmp_path / "old.tar", OLD))
    return store


def alone(place):
    """The names in a directory, none of which belongs to an incomplete file."""
    found = os.listdir(place)
    assert not [name for name in found if "partial" in name], found
    return found


# --- killed and interrupted -----------------------------------------------------------------------------------------


def configs(kind, path):
    return {image.config for image in copies.read(f"{kind}:{path}").images.values()}


def ended_early(store, delay, number, *words):
    """Whether the command was still running when it got this signal."""
    process = store.begun(*words)
    time.sleep(delay)
    was_running = process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert b"Traceback" not in said
    if number == signal.SIGINT:
        assert process.returncode in {0, 130, -signal.SIGINT}, said
    return was_running


def takes(store, *words):
    began = time.monotonic()
    store.ok(*words)
    return time.monotonic() - began


QUICK = {("oci-archive", "SIGKILL"), ("oci", "SIGKILL"), ("dir", "SIGINT"), ("docker-archive", "SIGTERM")}
ENDS = [
    pytest.param(
        kind, signal.Signals[name], marks=() if (kind, name) in QUICK else pytest.mark.long, id=f"{kind}-{name}"
    )
    for kind in DESTINATIONS
    for name in ("SIGKILL", "SIGTERM", "SIGINT")
]


@pytest.mark.parametrize(("kind", "number"), ENDS)
def test_ended_at_any_moment(big, tmp_path, kind, number):
    """The old file is there, or the new one, and nothing half done; the same command does the rest."""
    chance = random.Random(f"{kind} {number}")
    whole = takes(big, "copy", "big:1", DESTINATIONS[kind].format(tmp_path / "trial"))
    place = tmp_path / "out"
    place.mkdir()
    target = DESTINATIONS[kind].format(place / "copy")
    hits = 0
    for number_of_tries in range(24):
        if hits and number_of_tries >= 4:
            break
        big.ok("copy", "old:1", target)
        hits += ended_early(big, whole * chance.uniform(0.2, 1), number, "copy", "big:1", target)
        assert os.listdir(place) == ["copy"]
        found = configs(kind, place / "copy")
        assert found in ({OLD.config}, {BIG.config}, {OLD.config, BIG.config})
    assert hits
    big.ok("copy", "big:1", target)
    assert BIG.config in configs(kind, place / "copy")
    assert not [name for _, _, names in os.walk(place) for name in names if "partial" in name]
    big.ok("gc")
    assert big.ok("check").status == 0


# --- readers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", copies.FILES)
def test_a_reader_of_stdout_that_goes(big, kind):
    reading, writing = os.pipe()
    process = subprocess.Popen(
        big.words("save", "big:1", "--format", kind, "--progress", "none"),
        stdout=writing,
        stderr=subprocess.PIPE,
        env=big.environment(),
    )
    os.close(writing)
    os.read(reading, 1000)
    os.close(reading)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (141, b"")


def test_a_reader_of_a_named_pipe_that_goes(big, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = big.start("save", "big:1", "-o", pipe)
    with pipe.open("rb") as reader:
        reader.read(1000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 40
    assert said.splitlines()[-1].decode() == f"arstore: {pipe}: broken pipe"


def test_stdout_that_is_closed(big, tmp_path):
    line = " ".join(big.words("save", "big:1"))
    done = subprocess.run(["sh", "-c", f"{line} >&-"], capture_output=True, env=big.environment(), check=False)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert big.ok("check").status == 0


def test_a_slow_reader(big, tmp_path):
    """The reader's pipe does not block: nothing is lost, and arstore does not spin."""
    big.ok("save", "big:1", "-o", tmp_path / "file")
    command = [*big.words("save", "big:1"), "|", "(sleep 1; cat)"]
    got = subprocess.run(["sh", "-c", " ".join(command)], capture_output=True, env=big.environment(), check=True)
    assert got.stdout == (tmp_path / "file").read_bytes()


def test_a_pipe_that_does_not_block(big, tmp_path):
    big.ok("save", "big:1", "-o", tmp_path / "file")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen(
        big.words("save", "big:1", "--progress", "none"),
        stdout=writing,
        stderr=subprocess.PIPE,
        env=big.environment(),
    )
    os.close(writing)
    time.sleep(1)
    with os.fdopen(reading, "rb") as file:
        got = file.read()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert got == (tmp_path / "file").read_bytes()


# --- disks ----------------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(place, room):
    """A small file system with *room* bytes left."""
    with disks.mounted("ext4", place) as disk:
        status = os.statvfs(disk)
        fill = status.f_bavail * status.f_frsize - room
        fd = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
        os.posix_fallocate(fd, 0, fill)
        os.close(fd)
        yield disk


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.parametrize("kind", DESTINATIONS)
def test_a_destination_that_is_full(big, tmp_path, kind):
    with full_disk(tmp_path / "disk", 3 * MIB) as disk:
        target = DESTINATIONS[kind].format(disk / "copy")
        big.ok("copy", "old:1", target)
        said = big.fails("NoSpace", "copy", "big:1", target)
        assert str(disk / "copy") in said
        assert "no space left on device" in said
        assert "partial" not in said
        assert "arstore gc" not in said
        assert configs(kind, disk / "copy") == {OLD.config}
        assert set(alone(disk)) == {"copy", "filler", "lost+found"}
        (disk / "filler").unlink()
        big.ok("copy", "big:1", target)
        assert BIG.config in configs(kind, disk / "copy")


@pytest.mark.root
@pytest.mark.mounts
def test_no_room_for_what_is_spooled(tmp_path):
    """A docker-archive to a pipe from a source without tars: the spool is in TMPDIR, which is full."""
    picture = images.image(images.layer([images.file("x", NOISE)]), names=["x:1"])
    source = images.write_oci_archive(tmp_path / "x.tar", picture)
    arstore = Arstore(tmp_path / "root", tmp_path / "run")
    with full_disk(tmp_path / "disk", MIB) as disk:
        said = arstore.fails("NoSpace", "copy", f"oci-archive:{source}", "docker-archive:-", TMPDIR=str(disk))
        assert "no space left on device" in said
        assert set(os.listdir(disk)) == {"filler", "lost+found"}
    arstore.ok("copy", f"oci-archive:{source}", "docker-archive:-")


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.parametrize("kind", DESTINATIONS)
def test_a_destination_that_is_read_only(big, tmp_path, kind):
    with disks.mounted("ext4", tmp_path / "disk") as disk:
        target = DESTINATIONS[kind].format(disk / "copy")
        big.ok("copy", "old:1", target)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        said = big.fails("PermissionDenied", "copy", "big:1", target)
        assert str(disk / "copy") in said
        assert "read-only file system" in said
        assert configs(kind, disk / "copy") == {OLD.config}


def test_the_store_is_as_before(big, tmp_path):
    """Check the store after any end of a copy."""
    before = big.bill()
    big.run("copy", "big:1", f"{tmp_path}/no/such/place")
    big.run("save", "big:1", "-o", "/dev/full")
    big.run("save", "big:1", "nothing:1", "-o", tmp_path / "x")
    assert big.bill() == before
    assert not (tmp_path / "x").exists()
