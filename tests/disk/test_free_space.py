"""Free space: an import ends before a file system is full, whatever was announced, by any transport."""

from __future__ import annotations

import io
import os
import random

import pytest
from support import images, stores

from arstore.disk import free_space
from arstore.disk.free_space import EVERY, Room, default_reserve
from arstore.errors import NoSpaceError
from arstore.linux.mounting import mount
from arstore.tar.limits import ACCEPTED, Limits
from arstore.transport.copy import ImportOptions, import_opened, import_reference
from arstore.transport.detect import open_source

pytestmark = [pytest.mark.root, pytest.mark.mounts]

MIB = 1 << 20
KEPT = Limits(reserve=8 * MIB)


@pytest.mark.parametrize(
    ("size", "reserve"),
    [
        (0, 0),
        (32 * MIB, 2 * MIB),
        (184 * MIB, 184 * MIB // 16),
        (1 << 30, 16 * MIB),
        (100 << 30, (100 << 30) // 200),
        (10 << 40, 1 << 30),
    ],
)
def test_the_reserve_fits_the_file_system(size, reserve):
    assert default_reserve(size) == reserve


@pytest.fixture
def small(tmp_path):
    """A file system of 64 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount.mount("tmpfs", str(place), "tmpfs", data="size=64m")
    yield place
    mount.umount(str(place))


@pytest.fixture
def store(small):
    with stores.opened(small) as made:
        yield made


def free(place):
    status = os.statvfs(place)
    return status.f_bfree * status.f_frsize


def noise(count):
    return random.Random(3).randbytes(count)


def test_what_is_written_ends_at_the_reserve(small):
    with open(small / "f", "wb", buffering=0) as file:
        room = Room(file.fileno(), KEPT, "it")

        def write():
            while True:
                file.write(bytes(EVERY // 4))
                room.note(EVERY // 4)

        with pytest.raises(NoSpaceError, match="8388608 are reserved"):
            write()
    assert KEPT.reserve - 2 * EVERY < free(small) < KEPT.reserve


def test_what_is_announced_counts_as_written(small):
    announced = free(small) - 8 * MIB
    room = Room(str(small), KEPT, "it", announced)
    room.check()
    room.expect(announced + 2)
    with pytest.raises(NoSpaceError, match="bytes are still needed"):
        room.check()
    room.came(1)
    with pytest.raises(NoSpaceError, match=f" {announced + 1} bytes are still needed"):
        room.check()
    room.came(1)
    room.check()
    Room(str(small), ACCEPTED, "it").check()


def archive(tmp_path, *layers, compression="none"):
    picture = images.image(*layers, names=["large:1"])
    return images.write_oci_archive(tmp_path / "large.tar", picture, compression=compression)


def taken(store, path, limits, *, stream=False):
    options = ImportOptions(limits=limits)
    if not stream:
        return import_reference(store, str(path), options)
    with open(path, "rb") as file:
        data = io.BytesIO(file.read())
    return import_opened(store, lambda spool: open_source("-", spool, data, limits), options)


@pytest.mark.parametrize("stream", [False, True])
def test_blobs_that_leave_no_reserve_are_refused_at_once(store, tmp_path, stream):
    path = archive(tmp_path, images.layer([images.file("f", noise(40 * MIB))], "none"))
    before = stores.State(store)
    with pytest.raises(NoSpaceError, match="still needed") as caught:
        taken(store, path, Limits(reserve=30 * MIB), stream=stream)
    assert "reserve" in caught.value.hint
    before.verify()


@pytest.mark.parametrize("tree", ["erofs", "directory"])
def test_a_layer_that_grows_past_its_announcement_ends_before_the_disk_is_full(store, tmp_path, tree):
    """Blobs of a few KiB, and trees larger than the disk: arstore must stop before the kernel reports a full disk."""
    path = archive(tmp_path, *(images.layer([images.file(name, bytes(50 * MIB))], "gzip") for name in "ab"))
    before = stores.State(store)
    with pytest.raises(NoSpaceError, match="8388608 are reserved"):
        import_reference(store, str(path), ImportOptions(tree=tree, limits=KEPT))
    before.verify()


# --- inodes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def few_inodes(tmp_path):
    """A file system of 4,000 inodes."""
    place = tmp_path / "few"
    place.mkdir()
    mount.mount("tmpfs", str(place), "tmpfs", data="size=64m,nr_inodes=4000")
    yield place
    mount.umount(str(place))


def free_inodes(place):
    return os.statvfs(place).f_ffree


def names(kind, count):
    make = {
        "files": lambda n: images.file(f"d{n % 7}/f{n}"),
        "directories": lambda n: images.directory(f"d{n}"),
        "implied directories": lambda n: images.hardlink(f"d{n}/h", "of-all"),
        "symlinks": lambda n: images.symlink(f"l{n}", "t"),
        "FIFOs": lambda n: images.fifo(f"p{n}"),
        "whiteouts": lambda n: images.whiteout(f"w{n}"),
    }[kind]
    return images.layer([images.file("of-all"), *(make(n) for n in range(count))])


@pytest.mark.parametrize("kind", ["files", "directories", "implied directories", "symlinks", "FIFOs", "whiteouts"])
def test_files_end_at_the_reserve_of_inodes(few_inodes, tmp_path, kind):
    path = archive(tmp_path, names(kind, 3950))
    with stores.opened(few_inodes) as store:
        before = stores.State(store)
        with pytest.raises(NoSpaceError, match=r"no inodes left: [0-9]+ are free, and 200 are reserved") as caught:
            import_reference(store, str(path), ImportOptions(tree="directory"))
        assert "--limit inodes" in caught.value.hint
        before.verify()
        # An index takes a handful of inodes, whatever its content.
        free = free_inodes(few_inodes)
        import_reference(store, str(path), ImportOptions(tree="erofs"))
        assert free - free_inodes(few_inodes) < 100


def test_inodes_are_looked_at_before_they_are_gone(few_inodes):
    for number in range(3799 - (4000 - free_inodes(few_inodes))):
        os.close(os.open(few_inodes / f"{number}", os.O_WRONLY | os.O_CREAT))
    room = Room(str(few_inodes), Limits(), "it")
    room.check()
    for number in range(2):
        os.close(os.open(few_inodes / f"last-{number}", os.O_WRONLY | os.O_CREAT))
    with pytest.raises(NoSpaceError, match="199 are free, and 200"):
        room.check()
    with pytest.raises(NoSpaceError, match="199 are free, and 200"):
        room.note_inode()
    # A new blob is not begun either, but an accepted one may use the rest.
    Room(str(few_inodes), Limits(inodes=199), "it").check()
    for limits in (Limits(inodes=0), ACCEPTED):
        Room(str(few_inodes), limits, "it").check()


def test_a_file_system_that_counts_no_inodes_has_enough(tmp_path):
    place = tmp_path / "uncounted"
    place.mkdir()
    mount.mount("tmpfs", str(place), "tmpfs", data="size=1m,nr_inodes=0")
    try:
        Room(str(place), Limits(inodes=1 << 40, reserve=0), "it").check()
    finally:
        mount.umount(str(place))


def test_without_a_reserve_the_last_byte_may_be_taken(store, tmp_path):
    path = archive(tmp_path, images.layer([images.file("f", noise(54 * MIB))], "none"))
    with pytest.raises(NoSpaceError):
        taken(store, path, Limits(reserve=12 * MIB))
    taken(store, path, Limits(reserve=0))
    stores.verify_clean(store)
    # Existing blobs can be built and imported again, whatever space is left.
    assert free(store.directories.root) < 12 * MIB
    taken(store, path, Limits(reserve=40 * MIB))


def test_root_of_a_user_namespace_may_not_use_the_space_of_root(monkeypatch):
    class Status:
        f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail = 4096, 100, 50, 45, 1000, 900, 850

    monkeypatch.setattr(free_space.os, "statvfs", lambda _place: Status)
    monkeypatch.setattr(free_space.os, "geteuid", lambda: 0)
    monkeypatch.setattr(free_space.user_namespace, "is_initial", lambda: True)
    assert (free_space.free_space("/")[0], free_space.free_inodes("/")[0]) == (50 * 4096, 900)
    monkeypatch.setattr(free_space.user_namespace, "is_initial", lambda: False)
    assert (free_space.free_space("/")[0], free_space.free_inodes("/")[0]) == (45 * 4096, 850)
