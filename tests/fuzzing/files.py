"""Targets that read the store's files, which may be damaged, and files of an image that the runtime needs."""

from __future__ import annotations

import functools
import json
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from arstore.digest import Digest
from arstore.errors import LimitError
from arstore.graph import lmdb_pages as pages
from arstore.graph.record_checksum import BrokenSealError, all_unsealed, is_sealed, mended, sealed, unsealed
from arstore.graph.records import (
    KINDS,
    BlobRecord,
    ContainerRecord,
    ImageRecord,
    LayerRecord,
    LeaseRecord,
    RecordCodec,
    TreeRecord,
)
from arstore.mounts import record as mountrecord
from arstore.runtime.spec.identity.users import LARGEST_ID, resolve_user
from arstore.runtime.spec.image_files import RootDirectory
from arstore.store.ingest.layer_pass import LayerOutcome
from arstore.trees.directory import checksums as listing
from arstore.trees.format import Needs, TreeStat
from arstore.trees.needs import read_needs
from arstore.workers import wire as answers
from fuzzing import mutators
from fuzzing.target import Target, scratch

if TYPE_CHECKING:
    from collections.abc import Callable

_MAP = 1 << 30
_RECORDS = 5
"""Records for the leaves of a graph: few, but more than one leaf."""


def _parts(kind: type[NamedTuple]) -> tuple[tuple[str, ...], ...]:
    """Some of the fields of a kind of records: one, and the last and the first."""
    names = kind._fields
    return names[:1], names[-1:], (names[-1], names[0])


def read_record(data: bytes) -> None:
    """Decode records, lines of text of the kind that the first byte selects: all fields, and parts of them, agree."""
    kind = list(KINDS.values())[data[0] % len(KINDS)] if data else BlobRecord
    texts = data[1:].split(b"\n")
    records = [RecordCodec.decode(kind, text) for text in texts]
    # Compared as text: NaN does not equal itself.
    for many in (texts, texts * 2, [*texts, RecordCodec.encode(records[0])]):
        columns = RecordCodec.decode_columns(kind, kind._fields, many)
        assert repr([kind(*row) for row in zip(*columns, strict=True)][: len(records)]) == repr(records)
    for names in _parts(kind):
        wanted = [[getattr(record, name) for record in records] for name in names]
        assert repr(RecordCodec.decode_columns(kind, names, texts)) == repr(wanted)


def read_answer(data: bytes) -> None:
    """Decode a worker's answer: encoded and decoded again, it must be the same."""
    found = answers.unpacked(data)
    again = answers.unpacked(answers.packed(found))
    assert again == found or repr(again) == repr(found)


def open_seal(data: bytes) -> None:
    """Open a sealed value as it is; a seal must hold, and one flipped bit of it must be mended."""
    key, _, value = data[1:].partition(b"\0")
    flip = data[0] if data else 0
    if flip % 4 == 1:
        whole = bytearray(sealed(key, value))
        at = (flip >> 2) % (8 * len(whole))
        assert unsealed(key, bytes(whole)) == value
        whole[at // 8] ^= 1 << at % 8
        assert mended(key, bytes(whole)) == (key, sealed(key, value))
    elif flip % 4 == 2:
        found = mended(key, value)
        assert found is None or is_sealed(*found)
    else:
        rows = [(key, value), (b"k", sealed(b"k", key))]
        assert _texts(rows, all_unsealed) == _texts(rows, lambda rows: [unsealed(*row) for row in rows])
        unsealed(key, value)


_Rows = list[tuple[bytes, bytes]]


def _texts(rows: _Rows, read: Callable[[_Rows], list[bytes]]) -> list[bytes] | None:
    try:
        return read(rows)
    except BrokenSealError:
        return None


@functools.cache
def _pages() -> tuple[bytes, list[int]]:
    """A data file with a branch, leaves, a large value and free pages; and the offsets that are worth changing."""
    place = scratch("graph")
    with lmdb.open(place.path, map_size=_MAP) as environment:
        for turn in range(3):
            with environment.begin(write=True) as transaction:
                for number in range(_RECORDS if turn == 0 else 1):
                    key = b"blobs/%02d" % number
                    transaction.put(key, sealed(key, b"%d" % turn * 1200))
                if turn == 0:
                    transaction.put(b"names/a", sealed(b"names/a", b"x" * 5000))
    with open(f"{place.path}/data.mdb", "rb") as file:
        data = file.read()
    # Change all of a page's metadata, and little of its content.
    return data, [at for at in mutators.used(data) if data[at : at + 1] not in (b"0", b"1", b"2", b"x")]


def walk_pages(data: bytes) -> None:
    """Walk over damaged pages: it must end, with faults or with records."""
    base, places = _pages()
    damaged = mutators.patched(base, places, data)
    place = scratch("walked")
    place.put("data.mdb", damaged)
    path = f"{place.path}/data.mdb"
    met: list[bytes] = []
    done = pages.walk(path, _MAP, lambda key, _: met.append(key))
    if len(data) % 8 == 0:
        pages.moment(path)
    if damaged == base:
        assert not done.faults
        assert done.is_whole
        assert len(met) == done.records == _RECORDS + 1


def needs(data: bytes) -> None:
    """Read `needs.json` of a tree."""
    place = scratch("needs")
    place.put("needs.json", data)
    found = read_needs(place.path)
    assert all(isinstance(name, bytes) for name in (*found.implied, *found.masked))


def play_listing(data: bytes) -> None:
    """Read the listing of a tree of files, with its attributes."""
    for listed in listing.played(listing._HEAD + data).values():
        listing.unpacked(listed.attributes)


def find_user(data: bytes) -> None:
    """Find a user and a group in /etc/passwd and /etc/group: text, NUL, passwd, NUL, group."""
    text, _, rest = data.partition(b"\0")
    passwd, _, group = rest.partition(b"\0")
    place = scratch("root")
    place.put("etc/passwd", passwd)
    place.put("etc/group", group)
    with RootDirectory(place.path) as root:
        user = resolve_user(text.decode("utf-8", "replace"), root)
    assert all(0 <= number <= LARGEST_ID for number in (user.uid, user.gid, *user.groups))


def read_mount(data: bytes) -> None:
    """Read the record of a mount; an unreadable one counts as empty."""
    place = scratch("mounts")
    place.put("m.json", data)
    record, busy = mountrecord.read(place.path, "m")
    assert record.id == "m"
    assert record.target.startswith("/")
    assert not busy
    os.fsencode(record.target)


def _records() -> list[bytes]:
    digest = "sha256:" + "0" * 64
    records = (
        BlobRecord(1, digest, 2), LayerRecord(digest, "", (digest,), 3, digest), TreeRecord("erofs", "b", True, 1, 2,
        False),
        ImageRecord("t", 1, "linux/amd64", "", 1.5, digest, (digest,), digest), ContainerRecord(digest, 1.5),
        LeaseRecord((digest,), "import", 1, 2, "b", 1.5),
    )  # fmt: skip
    made = [bytes([number]) + RecordCodec.encode(record) for number, record in enumerate(records)]
    two = made[1] + b"\n" + made[1][1:].replace(b"[", b"[[],", 1)
    return [*made, two, b"\0" + b"[" * 3000, b'\0{"size":1e999}', b'\0{"size":NaN,"size":2}', b"\1[1]", b"\2null"]


def _answers() -> list[bytes]:
    needs = Needs([b"a"], [(b"l", b"t")], [b""])
    values = (
        [LayerOutcome(1 << 20, needs, TreeStat(3, 5, ("listing:00",)), "erofs")],
        LayerOutcome(1, Needs(), None, "", "no"),
        (True, {1: frozenset({b"x"}), "y": {2.5, None}}),
        LimitError("layer", "is too large", "raise it"),
        FileNotFoundError(2, "gone", "name"),
        Digest("sha256:" + "0" * 64),
    )
    return [answers.packed(value) for value in values]


def _seals() -> list[bytes]:
    return [
        b"\1blobs/a\0{}",
        b"\x31k\0text",
        b"\2k\0text#00000000",
        b"\0blobs/a\0" + sealed(b"blobs/a", b"{}"),
        b"\0k\0text#00000000",
        b"\0k\0",
    ]


def _needs() -> list[bytes]:
    whole = {"implied": ["", "a/b"], "absent_links": [["a", "b"]], "masked": ["\u00ff"]}
    return [
        json.dumps(whole).encode(),
        b"{}",
        b"[]",
        b"[" * 3000,
        b'{"implied":["\\u0100"],"absent_links":[[]],"masked":[0]}',
    ]


def _listings() -> list[bytes]:
    def one(kind: bytes, name: bytes = b"", data: bytes = b"", more: bytes = b"") -> bytes:
        return struct.pack("<cHIIHIIqQ", kind, len(name), len(data), len(more), 0o644, 0, 0, -1, 5) + name + data + more

    more = listing.packed({b"user.a": b"1", b"user.b": b""})
    file = one(b"f", b"n", b"d" * 16, more)
    return [
        one(b">", data=b"d") + file + one(b"h", b"m", b"d/n") + one(b"d", data=b"d", more=more),
        file + one(b"-", b"n") + one(b"h", b"m", b"n"),
        one(b">", data=b"d") + file + one(b"=", data=b"d") + one(b"w", b"x"),
        one(b"s", b"n", b"d" * 16 + listing.RUN.pack(0, 5)) + one(b"c", b"c"),
    ]


def _users() -> list[bytes]:
    passwd = b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:\n# no\n1000:x:5:6::/h:\nbad:x:-1:y\n"
    group = b"root:x:0:\nwww:x:33:web,root\nbig:x:4294967295:\nmore:x:44:web\n\xff\xfe:x:1:\n"
    return [
        text + b"\0" + passwd + b"\0" + group
        for text in (b"", b"web", b"1000", b"web:www", b":44", b"0:0", b"-1", b"a:b:c")
    ]


def _mounts() -> list[bytes]:
    record = mountrecord.MountRecord("m", "/mnt", "arstore:m", True, "boot", 1, 1.5)
    whole = record._asdict()
    return [json.dumps(one).encode() for one in (whole, {**whole, "target": "/\ud800"}, {**whole, "created": "x"})] + [
        b"[" * 3000
    ]


TARGETS = (
    Target("record", read_record, _records, 4096, mutators.document, (ValueError, TypeError, RecursionError)),
    Target("answer", read_answer, _answers, 4096, mutators.document),
    Target("seal", open_seal, _seals, 32, documented=(BrokenSealError,)),
    Target("pages", walk_pages, mutators.seeds_of_patches(60), 32),
    Target("needs", needs, _needs, 4096, mutators.document),
    Target("listing", play_listing, _listings, 600, documented=(ValueError,)),
    Target(
        "users", find_user, _users, 400, words=(b":x:0:0::/:\n", b"4294967295", b"4294967294", b"-1", b"\n", b":", b",")
    ),
    Target(
        "mount-record", read_mount, _mounts, 4096, mutators.document, words=(b"Infinity", b"NaN", b"1e400", b"\\u0000")
    ),
)
