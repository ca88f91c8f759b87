"""Layers and outer archives: tar archives of repeated members, extensions, maps and links."""

from __future__ import annotations

import functools
import io
import itertools
import os
from typing import TYPE_CHECKING, Any

from fuzzing.target import scratch
from support import tarblocks

from arstore.disk.rmtree import remove_tree
from arstore.tar.reader import TarReader
from arstore.tar.steps import Steps
from arstore.tar.whiteout import classify
from arstore.transport.media import archive as medium
from arstore.transport.media.archive import indexed, spooled
from arstore.transport.media.blob import OpenFile
from arstore.trees.attributes import Attributes
from arstore.trees.directory.builder import DirectoryBuilder
from arstore.trees.erofs.builder import ErofsBuilder
from arstore.trees.forms import FILES, INDEX, TAR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.tar.limits import Limits
    from costfuzz.genome import Genome, Grammar
    from costfuzz.measuring import Run

KEYS = (
    "mtime", "uid", "path", "linkpath", "size", "SCHILY.xattr.user.", "SCHILY.xattr.trusted.", "SCHILY.xattr.bad",
    "SCHILY.xattr.user.overlay.", "LIBARCHIVE.xattr.user.", "SCHILY.acl.access", "SCHILY.acl.default",
    "SCHILY.acl.ace", "GNU.sparse.map", "GNU.sparse.offset", "GNU.sparse.numbytes", "GNU.sparse.size",
    "GNU.sparse.name", "GNU.sparse.major", "GNU.sparse.minor", "comment",
)  # fmt: skip
PIECES = ("x", "1", "0", " ", "\n", "/", "./", "../", "a/../", "d/", ",", "0,0,", "u::r,", "user:a:rwx,", "%41", "\0",
    "=", "A", "é")  # fmt: skip
NAMES = ("f{i}", "f", "d{i}/f", "d/{i}", "d/e/f{i}", "d/.wh.{i}", ".wh.f{i}", "d/.wh..wh..opq", "d{i}/.wh..wh..opq",
    "l{i}", "l0/f{i}", "l{i}/f", "d/../f{i}", "blobs/sha256/{i}", "manifest.json", "oci-layout", "")  # fmt: skip
GRAMMAR: Grammar = {
    "member": {"n": 2000, "name": NAMES, "deep": 400, "letter": "0125736SLKV", "link": NAMES, "to": 3, "size": 3000},
    "pax": {"n": 300, "letter": "xg", "key": KEYS, "records": 3000, "varied": 1, "quoted": 255, "piece": PIECES,
        "length": 65_536},
    "long": {"n": 300, "letter": "LK", "piece": PIECES, "length": 65_536},
    "old": {"n": 100, "blocks": 100, "length": 1},
    "map": {"n": 100, "runs": 4000},
    "repeat": {"n": 2000, "body": ()},
}  # fmt: skip
_BYTES = {"length": 1, "size": 1, "blocks": 512, "runs": 4, "deep": 8, "n": 512}
"""The least bytes that one of a value takes."""


@functools.lru_cache(4096)
def _header(name: bytes, letter: bytes, size: int, link: bytes, magic: bytes = b"ustar\x0000") -> bytes:
    return tarblocks.header(name[:100], letter, size, link=link[:100], magic=magic)


def _member(values: dict[str, Any], number: int) -> bytes:
    letter = values["letter"].encode()
    name = b"d/" * values["deep"] + values["name"].replace("{i}", str(number)).encode()
    link = values["link"].replace("{i}", str(number + values["to"])).encode()
    size = values["size"] if letter in b"07SLKV" else 0
    made = b"" if len(name) <= 100 else _path(name)
    return made + _header(name, letter, size, link) + bytes(-(-size // 512) * 512)


@functools.lru_cache(256)
def _path(name: bytes) -> bytes:
    return tarblocks.pax((b"path", name))


@functools.lru_cache(64)
def _same(key: bytes, value: bytes, count: int, letter: bytes) -> bytes:
    return tarblocks.member(b"PaxHeaders/x", tarblocks.record(key, value) * count, letter)


def _pax(values: dict[str, Any], number: int) -> bytes:
    key = values["key"].encode() + b"%41" * values["quoted"]
    piece = values["piece"].encode()
    value = (piece * (values["length"] // max(len(piece), 1) + 1))[: values["length"]]
    count = max(1, min(values["records"], values["most"] // (len(key) + len(value) + 8)))
    letter = values["letter"].encode()
    if not values["varied"]:
        return _same(key, value, count, letter)
    data = b"".join(tarblocks.record(key + b"%d.%d" % (number, each), value) for each in range(count))
    return tarblocks.member(b"PaxHeaders/x", data, letter)


def _long(values: dict[str, Any], _number: int) -> bytes:
    piece = values["piece"].encode()
    return tarblocks.gnu_long((piece * values["length"])[: values["length"]], values["letter"].encode())


def _old(values: dict[str, Any], number: int) -> bytes:
    pair = b"%011o\0%011o\0" % (0, 0)
    block = bytearray(tarblocks.header(b"s%d" % number, b"S", magic=b"ustar  \0"))
    block[386:482] = pair * 4
    block[482] = 1 if values["blocks"] else 0
    block[483:495] = b"%011o\0" % (4096 * values["length"])
    more = (pair * 21 + b"\1").ljust(512, b"\0") * max(values["blocks"] - 1, 0)
    return tarblocks.summed(bytes(block)) + more + ((pair * 21).ljust(512, b"\0") if values["blocks"] else b"")


def _map(values: dict[str, Any], number: int) -> bytes:
    head = tarblocks.pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"m%d" % number),
        (b"GNU.sparse.realsize", b"5000"),
    )  # fmt: skip
    return head + tarblocks.member(
        b"m%d" % number, tarblocks.padded(b"%d\n" % values["runs"] + b"0\n" * 2 * values["runs"])
    )


_MAKERS = {"member": _member, "pax": _pax, "long": _long, "old": _old, "map": _map}


def blocks(genome: Genome, count: Iterator[int], most: int) -> Iterator[bytes]:
    """The archive, in pieces of about *most* bytes each at most."""
    for name, asked in genome:
        values = {key: min(value, most // _BYTES[key]) if key in _BYTES else value for key, value in asked.items()}
        values["most"] = most
        for _ in range(max(1, values["n"])):
            if name == "repeat":
                yield from blocks(values["body"], count, most)
            else:
                yield _MAKERS[name](values, next(count))


def archive(genome: Genome, most: int) -> bytes:
    """The archive of *genome*, cut off at about *most* bytes."""
    found: list[bytes] = []
    size = 0
    for piece in blocks(genome, itertools.count(), most):
        size += len(piece)
        if size > most and found:
            break
        found.append(piece)
    return b"".join(found) + tarblocks.END


# --- targets ----------------------------------------------------------------------------------------------------------


def checked(data: bytes, _how: int, limits: Limits) -> Run:
    """Read the entries of a layer for their errors."""

    def run(charged: dict[str, int]) -> None:
        steps = Steps(limits.steps)
        try:
            attributes = Attributes(False)
            for entry in TarReader(io.BytesIO(data), "layer", steps=steps):
                classify(entry.path)
                attributes.sift(entry)
        finally:
            charged["steps"] = steps.taken

    return run


def index(data: bytes, _how: int, limits: Limits) -> Run:
    """The index over a layer."""
    place = scratch("cost-index")
    place.put(TAR, data)

    def run(charged: dict[str, int]) -> None:
        steps = Steps(limits.steps)
        place.forget(INDEX)
        builder = ErofsBuilder(place.fd, limits, None, steps)
        try:
            reader = TarReader(io.BytesIO(data), "layer", steps=steps)
            for entry in reader:
                builder.add(entry, reader)
            builder.finish()
        finally:
            charged["steps"] = steps.taken
            charged["written"] = os.fstat(builder._fd).st_size
            builder.close()

    return run


def files(data: bytes, _how: int, limits: Limits) -> Run:
    """Extract the names of a layer; removing them counts, because a refused layer is removed."""
    place = scratch("cost-files")

    def run(charged: dict[str, int]) -> None:
        steps = Steps(limits.steps)
        path = f"{place.path}/tree"
        os.mkdir(path)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        builder = DirectoryBuilder(fd, FILES, limits, None, steps)
        try:
            reader = TarReader(io.BytesIO(data), "layer", steps=steps)
            for entry in reader:
                builder.add(entry, reader)
            builder.finish()
        finally:
            charged["steps"] = steps.taken
            builder.close()
            os.close(fd)
            remove_tree(path)

    return run


class _Spool:
    def create(self) -> int:
        return os.memfd_create("spool")

    def relieve(self, _lacking: int) -> int:
        return 0


def listed(data: bytes, how: int, limits: Limits) -> Run:
    """Read the table of an outer archive: in place, or from a stream."""

    def run(charged: dict[str, int]) -> None:
        # The reader of an outer archive counts its steps itself.
        steps = Steps(limits.steps)
        medium.TarReader = functools.partial(TarReader, steps=steps)  # type: ignore[misc, assignment]
        members = None
        try:
            if how % 2:
                members = spooled(io.BytesIO(data), "archive", _Spool(), limits)
            else:
                fd = os.memfd_create("archive")
                os.write(fd, data)
                members = indexed(OpenFile(fd), len(data), "archive", _Spool(), limits)
            charged["members"] = len(members)
            charged["names"] = sum(map(len, members.names()))
        finally:
            medium.TarReader = TarReader  # type: ignore[misc]
            charged["steps"] = steps.taken
            if members is not None:
                members.close()

    return run
