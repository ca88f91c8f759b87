"""Steps: each piece of work has a price, the same on every machine; work beyond the limit is refused."""

from __future__ import annotations

import io
import time

import pytest
from support.tarblocks import END, gnu_long, header, member, pax, summed

from arstore.errors import LimitError
from arstore.tar.entry import Entry
from arstore.tar.limits import ACCEPTED, Limits
from arstore.tar.reader import TarReader
from arstore.tar.steps import ATTRIBUTE, COMPONENT, DECODED, ENTRY, HEADER, LIST, LOOK, NUMBER, RECORD, Steps

XATTR = b"SCHILY.xattr.user."
FILE = HEADER + ENTRY
"""The price of a member."""
QUOTED = b"LIBARCHIVE.xattr.user%2ea%41%42"
LONG = b"a/" * 200 + b"f"
THREE = [(XATTR + b"%d" % number, b"v") for number in range(3)]
PAIR = b"%011o\0%011o\0" % (0, 0)


def old_sparse(pairs: int) -> bytes:
    """A sparse file of GNU's old form, its map in a block behind the header."""
    block = bytearray(header(b"s", b"S", magic=b"ustar  \0"))
    block[386:410] = PAIR
    block[482] = 1
    return summed(bytes(block)) + (PAIR * pairs).ljust(512, b"\0")


@pytest.mark.parametrize(
    ("archive", "cost"),
    [
        (b"", 0),
        (member(b"a", b"content") + header(b"d", b"5"), 2 * FILE),
        (header(b"v", b"V") + member(b"a"), HEADER + FILE),
        (gnu_long(b"n") + member(b"a"), HEADER + FILE),
        (gnu_long(LONG) + member(b"a"), HEADER + FILE + 200 * COMPONENT),
        (pax((b"path", LONG)) + member(b"a"), HEADER + RECORD + FILE + 200 * COMPONENT),
        (member(b"f") + gnu_long(LONG, b"K") + header(b"h", b"1"), HEADER + 2 * FILE + 200 * COMPONENT),
        (pax((b"comment", b"c"), (b"uid", b"1")) + member(b"a"), HEADER + 2 * RECORD + FILE),
        (pax(*THREE) + member(b"a"), HEADER + 3 * RECORD + FILE + 3 * ATTRIBUTE),
        # Global records are read one by one, and all together when they change; each member gets their values.
        (pax(*THREE, letter=b"g") + member(b"a") * 4, HEADER + 9 * RECORD + 4 * FILE + 12 * ATTRIBUTE),
        (
            (pax(*THREE, letter=b"g") + member(b"a")) * 2,
            2 * (HEADER + 9 * RECORD + FILE + 3 * ATTRIBUTE),
        ),
        (
            pax(*THREE, letter=b"g") + pax((b"uid", b"1")) + member(b"a"),
            2 * HEADER + 10 * RECORD + FILE + 3 * ATTRIBUTE,
        ),
        (pax((b"SCHILY.acl.access", b"user:x:rwx")) + member(b"a"), HEADER + RECORD + FILE + ATTRIBUTE + 10 * LIST),
        (pax((b"SCHILY.acl.access", b"u::rwx")) + member(b"a"), HEADER + RECORD + FILE + 6 * LIST),
        (
            pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,0,1,0")) + member(b"a"),
            HEADER + 2 * RECORD + FILE + 3 * NUMBER + 4 * NUMBER,
        ),
        (
            pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.name", LONG), (b"GNU.sparse.map", b"")) + member(b"a"),
            HEADER + 3 * RECORD + FILE + 200 * COMPONENT,
        ),
        (old_sparse(20), FILE + HEADER + 2 * 21 * NUMBER),
        # A quoted name and base64 by their lengths, a global one as often as the global records are read.
        (pax((QUOTED, b"QUFB")) + member(b"a"), HEADER + RECORD + 3 * NUMBER + 5 * DECODED + FILE + ATTRIBUTE),
        (
            pax((QUOTED, b"QUFB" * 10), letter=b"g") + member(b"a"),
            HEADER + 3 * RECORD + 9 * NUMBER + (9 + 5 + 5) * DECODED + FILE + ATTRIBUTE,
        ),
        # An access control list that says no more than a mode is parsed, and dropped.
        (pax((b"SCHILY.acl.access", b"u::r"), letter=b"g") + member(b"a"), HEADER + 2 * RECORD + FILE + 4 * LIST),
    ],
)
def test_everything_has_its_price(archive: bytes, cost: int) -> None:
    steps = Steps(ACCEPTED.steps)
    read = list(TarReader(io.BytesIO(archive + END), steps=steps))
    assert steps.taken == cost
    assert list(TarReader(io.BytesIO(archive + END), limits=Limits(steps=max(cost, 1)))) == read
    if cost:
        with pytest.raises(LimitError, match="--limit steps="):
            list(TarReader(io.BytesIO(archive + END), limits=Limits(steps=cost - 1)))


def said(archive: bytes) -> list[tuple[object, ...]]:
    return [(one.path, one.uid, one.gid, one.mtime, one.xattrs) for one in TarReader(io.BytesIO(archive + END))]


def test_a_member_may_change_what_global_records_say() -> None:
    lists = [(b"SCHILY.acl.access", b"user:x:rwx"), (b"SCHILY.acl.default", b"user:y:rwx")]
    archive = b"".join(
        [
            pax((b"uid", b"7"), (b"mtime", b"1"), *THREE[:2], *lists, letter=b"g"),
            member(b"a"),
            pax((b"uid", b""), (b"gid", b"9"), (XATTR + b"0", b"w"), (b"SCHILY.acl.access", b"u::rwx")) + member(b"b"),
            member(b"c"),
            pax((b"uid", b""), (XATTR + b"1", b""), letter=b"g"),
            member(b"d"),
        ]
    )
    two, texts = {b"user.0": b"v", b"user.1": b"v"}, dict(lists)
    assert said(archive) == [
        (b"a", 7, 0, 10**9, two | texts),
        (b"b", 0, 9, 10**9, {b"user.0": b"w", b"user.1": b"v", lists[1][0]: lists[1][1]}),
        (b"c", 7, 0, 10**9, two | texts),
        (b"d", 0, 0, 10**9, {b"user.0": b"v"} | texts),
    ]


def test_global_records_are_not_gone_through_for_each_member() -> None:
    many = [(XATTR + b"%d" % number, b"v") for number in range(10_000)]
    archive = pax(*many, letter=b"g") + member(b"a") * 500 + END
    before = time.process_time()
    found: list[Entry] = list(TarReader(io.BytesIO(archive), limits=ACCEPTED))
    assert len(found) == 500
    # 5 million records take some seconds, and 10,000 some milliseconds.
    assert time.process_time() - before < 1


def test_global_records_are_not_added_up_for_each_that_comes() -> None:
    many = [(XATTR + b"%d" % number, b"v") for number in range(20_000)]
    archive = pax(*many, letter=b"g") + pax((b"mtime", b"1"), letter=b"g") * 3000 + member(b"a") + END
    before = time.process_time()
    assert len(list(TarReader(io.BytesIO(archive), limits=ACCEPTED))) == 1
    # 60 million records take some seconds, and 23,000 some milliseconds.
    assert time.process_time() - before < 1


def test_global_records_cost_what_they_are_now() -> None:
    """Records that were replaced or removed cost nothing any more, and do not count for the limit of records."""
    large = pax((QUOTED, b"QUFB" * 50_000), letter=b"g")
    back = pax((QUOTED, b""), letter=b"g")
    archive = large * 20 + back + pax((b"uid", b"1"), letter=b"g") + member(b"a") + END
    steps = Steps(ACCEPTED.steps)
    (found,) = TarReader(io.BytesIO(archive), steps=steps, limits=Limits(pax=210_000))
    assert (found.uid, found.xattrs) == (1, {})
    once = Steps(ACCEPTED.steps)
    list(TarReader(io.BytesIO(large + END), steps=once))
    assert steps.taken <= 20 * once.taken + 2 * HEADER + 8 * RECORD + 10 * NUMBER + FILE


@pytest.mark.parametrize("piece", [b" ", b"\n", b"A=\r\n", b"\t \t "])
def test_blanks_in_base64_cost_no_more_than_other_bytes(piece: bytes) -> None:
    value = piece * (900_000 // len(piece))
    archive = pax((b"LIBARCHIVE.xattr.user.a", value)) + member(b"a") + END
    before = time.process_time()
    list(TarReader(io.BytesIO(archive * 1), limits=ACCEPTED))
    # One by one they took 0.1 s a MB.
    assert time.process_time() - before < 0.05


def test_what_others_have_taken_is_looked_at_now_and_then() -> None:
    told: list[int] = []
    steps = Steps(5 * LOOK, lambda taken: bool(told.append(taken)) or taken > 3 * LOOK, taken=7)
    assert steps.taken == 7
    for _ in range(2 * LOOK // 1000):
        steps.take(1000)
    assert told == [7 + LOOK // 1000 * 1000 + 1000]
    assert steps.taken == 7 + 2 * LOOK
    with pytest.raises(LimitError, match=f"more than {5 * LOOK} steps"):
        steps.take(LOOK + 1)
    assert told[-1] == 7 + 3 * LOOK + 1


def test_the_limit_is_a_limit_for_one_alone_too() -> None:
    steps = Steps(10)
    steps.take(10)
    steps.look()
    with pytest.raises(LimitError):
        steps.take(1)
    with pytest.raises(LimitError):
        Steps(10, lambda _taken: False).take(11)
