"""Substitutes: attributes that say what a file stands for, and values that say nothing."""

from __future__ import annotations

import pytest

from arstore.tar.entry import Entry, Kind
from arstore.trees.substitutes import DEVICE, OWNER, of_device, of_owner, resolved

UMOCI = b"\x08\xff\xff\xff\xff\x0f\x10*"
"""The attribute that umoci 0.6 sets for the owner 0:42."""


def entry(**more):
    return Entry(b"x", Kind.FILE, **more)


@pytest.mark.parametrize(("kind", "major", "minor"), [(Kind.CHARACTER, 1, 3), (Kind.BLOCK, 0, (1 << 20) - 1)])
def test_a_device(kind, major, minor):
    value = of_device(Entry(b"x", kind, major=major, minor=minor))
    found = resolved(entry(mode=0o620, xattrs={DEVICE: value, b"user.a": b"b"}))
    assert (found.kind, found.major, found.minor, found.mode) == (kind, major, minor, 0o620)
    assert found.xattrs == {b"user.a": b"b"}


@pytest.mark.parametrize("value", [b"", b"c", b"c 1", b"c 1:", b"x 1:2", b"c -1:2", b"c 1:2:3", b"c 1:99999999999"])
def test_a_value_that_is_not_a_device(value):
    found = resolved(entry(xattrs={DEVICE: value}))
    assert (found.kind, found.xattrs) == (Kind.FILE, {})


def test_a_file_with_content_is_not_a_device():
    assert resolved(entry(size=1, xattrs={DEVICE: b"c 1:3"})).kind is Kind.FILE


@pytest.mark.parametrize(("uid", "gid"), [(1, 0), (0, 42), (33, 33), (127, 128), (65_536, 4_294_967_294)])
def test_an_owner(uid, gid):
    found = resolved(entry(xattrs={OWNER: of_owner(uid, gid)}))
    assert (found.uid, found.gid, found.xattrs) == (uid, gid, {})


def test_an_owner_is_written_as_by_umoci():
    assert of_owner(0, 42) == UMOCI
    assert (resolved(entry(xattrs={OWNER: UMOCI})).uid, resolved(entry(xattrs={OWNER: UMOCI})).gid) == (0, 42)


@pytest.mark.parametrize(
    "value", [b"\x08", b"\x08\xff", b"\x18\x01", b"\x08" + b"\xff" * 9, b"\x08\xff\xff\xff\xff\x7f"]
)
def test_a_value_that_is_not_an_owner(value):
    found = resolved(entry(uid=5, gid=6, xattrs={OWNER: value}))
    assert (found.uid, found.gid, found.xattrs) == (5, 6, {})


def test_other_entries_stay_the_same():
    one = entry(xattrs={b"user.a": b"b"})
    assert resolved(one) is one
