"""Targets around EROFS indexes: the builder fed by any tar, and reading, verifying and merging of damaged ones."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from pathlib import Path

from support import images
from trees.erofs import trees

from arstore.errors import StoreDamagedError
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.tar.reader import TarReader
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.builder import ErofsBuilder
from arstore.trees.erofs.devices import device_files
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.erofs.merging import merge
from arstore.trees.erofs.superblock import seal
from arstore.trees.erofs.verification import verify
from arstore.trees.format import UnrepresentableError
from arstore.trees.forms import INDEX, MERGED_INDEX, TAR
from fuzzing import mutators
from fuzzing.archives import LIMITS, tar_seeds
from fuzzing.target import Scratch, Target, scratch

SAMPLE = int(os.environ.get("ARSTORE_FUZZING_SAMPLE", "0"))
"""Every so many built indexes, one is checked by the kernel and fsck.erofs; 0: never."""

_FORM = ErofsFormat()
_KEYS = ("sha256:" + "0" * 64, "sha256:" + "1" * 64)
_built = 0


def build(data: bytes) -> None:
    """Build an index over any tar: verification, the kernel and fsck.erofs must accept it."""
    place = scratch("built")
    _build(place, data)
    _accepted(place)
    global _built
    _built += 1
    if SAMPLE and _built % SAMPLE == 0:
        with open(os.path.join(place.path, "..", "sampled"), "ab") as log:
            log.write(_ask_others(place))


def _build(place: Scratch, data: bytes, limits: Limits = LIMITS) -> None:
    place.put(TAR, data)
    place.forget(INDEX)
    builder = ErofsBuilder(place.fd)
    try:
        reader = TarReader(io.BytesIO(data), "layer", limits)
        for entry in reader:
            builder.add(entry, reader)
        builder.finish()
    finally:
        builder.close()


def _accepted(place: Scratch) -> None:
    try:
        verify(place.fd)
    except StoreDamagedError as error:
        raise AssertionError(f"what was built is found to be damaged: {error}") from error


def _ask_others(place: Scratch) -> bytes:
    """Check with the kernel and fsck.erofs; return one letter for each that was run."""
    asked = b""
    path = Path(place.path)
    if not trees.why_no_fsck():
        trees.fsck(path)
        asked += b"f"
    if not trees.why_no_erofs():
        asked += b"m"
        with trees.seen(path) as mounted:
            for directory, _, files in os.walk(os.fsencode(mounted)):
                for name in files:
                    file = directory + b"/" + name
                    if os.path.isfile(file) and not os.path.islink(file):
                        with open(file, "rb") as opened:
                            opened.read(1 << 20)
    return asked


# --- damaged indexes ------------------------------------------------------------------------------------------------

_MANY = [f"many/{number:0110}" for number in range(5)]
"""Names that take two blocks of a directory."""
_MEMBERS = (
    (
        images.directory("d", xattrs={"user.a": b"1", "trusted.b": b"own"}),
        images.file("d/f", b"content", xattrs={"user.a": b"1"}),
        images.hardlink("h", "d/f"),
        images.symlink("l", "d/f"),
    ),
    (
        images.file("d/g", b"other", uid=70_000),
        images.file("d/.wh.f"),
        images.file("many/.wh..wh..opq"),
        images.directory("e/x/y"),
    ),
    (
        images.device("c", "c", 1, 3),
        images.file("e/.wh.x"),
        *[images.fifo(name) for name in _MANY],
    ),
    (
        images.symlink("long", "t" * 600),
        images.directory("many", xattrs={"user.a": b"1"}),
        images.file("e/x", b"in the way"),
    ),
)
"""Small layers, which take little time and in which few changes go unnoticed."""
_PATHS = (b"d/f", b"h", b"l", b"c", b"e/x", b"long", _MANY[-1].encode(), b"none/x", b"")


@functools.cache
def _bases() -> tuple[tuple[bytes, list[int]], ...]:
    """Indexes, each with the offsets that are worth changing; a merged one is last."""
    place = scratch("bases")
    made = []
    for number, members in enumerate(_MEMBERS):
        _build(place, images.tar(members), DEFAULT_LIMITS)
        with open(f"{place.path}/{INDEX}", "rb") as file:
            made.append(file.read())
        _member(number, made[-1])
    fd = place.put(MERGED_INDEX, b"")
    merge([(key, scratch(f"member{number}").path) for number, key in enumerate(_KEYS)], fd)
    made.append(os.pread(fd, 1 << 20, 0))
    return tuple((data, mutators.used(data)) for data in made)


_there: dict[int, tuple[bytes, bool]] = {}
"""The present content of the members."""


def _member(number: int, data: bytes, sealed: bool = True) -> Scratch:
    """A tree with the index *data*, sealed again unless the change is to be seen."""
    place = scratch(f"member{number}")
    if _there.get(number) == (data, sealed):
        return place
    _there[number] = data, sealed
    fd = place.put(INDEX, data)
    place.keep(TAR, bytes(16 << 10))
    if sealed and len(data) >= layout.SUPER_OFFSET + layout.BLOCK:
        block = bytearray(data[layout.SUPER_OFFSET : layout.SUPER_OFFSET + layout.BLOCK])
        block[4:8] = bytes(4)
        block[48:64] = bytes(16)
        seal(fd, bytes(block))
    return place


def _damaged(data: bytes, number: int = 0) -> Scratch:
    """The tree whose index is changed by *data*; the first byte selects how."""
    how = data[0] if data else 0
    base, places = _bases()[(how >> 1) % len(_MEMBERS)]
    return _member(number, mutators.patched(base, places, data[1:]), how % 11 != 7)


def check(data: bytes) -> None:
    """Verify an index: verification must end, and if it has no finding, the index must be readable."""
    place = _damaged(data)
    verify(place.fd)
    try:
        _look(place, data[:1])
    except StoreDamagedError as error:
        raise AssertionError(f"verified, and damaged all the same: {error}") from error


def look(data: bytes) -> None:
    """Look up in an index that was not verified."""
    _look(_damaged(data), data[:1])


def _look(place: Scratch, which: bytes) -> None:
    """Look up the node at one of the paths, or read what is there; the byte *which* selects."""
    how = which[0] if which else 0
    path = _PATHS[(how >> 3) % len(_PATHS)]
    if how & 1:
        _FORM.lookup(place.fd, path)
    else:
        with contextlib.suppress(FileNotFoundError), _FORM.open_file(place.fd, path) as file:
            file.read(100)


def devices(data: bytes) -> None:
    """Read the device table of a merged index."""
    base, places = _bases()[-1]
    head = [at for at in places if layout.SUPER_OFFSET <= at < 3 * layout.BLOCK]
    files = device_files(scratch("merged").put(MERGED_INDEX, mutators.patched(base, head, data)), "index")
    assert all(name.startswith("../") and name.endswith((TAR, INDEX)) and "/" not in name[3:67] for name in files)


def merge_damaged(data: bytes) -> None:
    """Merge two members, either damaged: they make an index with its devices, or are refused."""
    one, _, other = data.partition(b"|")
    members = [
        (key, _damaged(part, number).path) for number, (key, part) in enumerate(((_KEYS[0], one), (_KEYS[1], other)))
    ]
    fd = scratch("merged").put(MERGED_INDEX, b"")
    merge(members, fd)
    device_files(fd, "index")


def _pairs() -> list[bytes]:
    patches = _PATCHES()
    return [b"|", *(one + b"|" for one in patches), *(b"|" + one for one in patches)]


_PATCHES = mutators.seeds_of_patches(60)
TARGETS = (
    Target("erofs-builder", build, tar_seeds, 5120, mutators.tar, (UnrepresentableError,)),
    Target("erofs-verify", check, _PATCHES, 64),
    Target("erofs-reader", look, _PATCHES, 64),
    Target("erofs-devices", devices, _PATCHES, 64),
    Target("erofs-merge", merge_damaged, _pairs, 96, documented=(UnrepresentableError,)),
)
