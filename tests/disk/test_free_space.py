"""Room: an import ends before a file system is full, whatever was announced and however it comes."""

from __future__ import annotations

import io
import os
import random

import pytest
from support import images, stores

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

        with pytest.raises(NoSpaceError, match="8388608 are to stay so"):
            write()
    assert KEPT.reserve - 2 * EVERY < free(small) < KEPT.reserve


def test_what_is_announced_counts_as_written(small):
    announced = free(small) - 8 * MIB
    room = Room(str(small), KEPT, "it", announced)
    room.check()
    room.expect(announced + 2)
    with pytest.raises(NoSpaceError, match="bytes are to come"):
        room.check()
    room.came(1)
    with pytest.raises(NoSpaceError, match=f" {announced + 1} bytes are to come"):
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
    with pytest.raises(NoSpaceError, match="to come") as caught:
        taken(store, path, Limits(reserve=30 * MIB), stream=stream)
    assert "reserve" in caught.value.hint
    before.verify()


@pytest.mark.parametrize("tree", ["erofs", "directory"])
def test_a_layer_that_grows_past_its_announcement_ends_before_the_disk_is_full(store, tmp_path, tree):
    """Blobs of a few KiB, and trees larger than the disk: the kernel has nothing to say in it."""
    path = archive(tmp_path, *(images.layer([images.file(name, bytes(50 * MIB))], "gzip") for name in "ab"))
    before = stores.State(store)
    with pytest.raises(NoSpaceError, match="8388608 are to stay so"):
        import_reference(store, str(path), ImportOptions(tree=tree, limits=KEPT))
    before.verify()


def test_without_a_reserve_the_last_byte_may_be_taken(store, tmp_path):
    path = archive(tmp_path, images.layer([images.file("f", noise(27 * MIB))], "none"))
    with pytest.raises(NoSpaceError):
        taken(store, path, Limits(reserve=12 * MIB))
    taken(store, path, Limits(reserve=0))
    stores.verify_clean(store)
    # What is there can be built again, and comes again, whatever is left.
    assert free(store.directories.root) < 12 * MIB
    taken(store, path, Limits(reserve=40 * MIB))
