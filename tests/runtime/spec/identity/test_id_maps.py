"""Ranges of mapped ids: their words, the files of subordinate ids, and what the kernel would refuse."""

from __future__ import annotations

import os

import pytest

from arstore.errors import NotFoundError, PermissionDeniedError, UsageError
from arstore.linux.isolation.mapping import IdRange, kernel_map
from arstore.runtime.spec.identity.id_maps import maps_of, outside, parse_ranges, ranges_of


def test_ranges():
    found = parse_ranges(["0:100000:1000,1000:5", "2000:200000:10"])
    assert found == (IdRange(0, 100000, 1000), IdRange(1000, 5, 1), IdRange(2000, 200000, 10))
    assert kernel_map(found) == "0 100000 1000\n1000 5 1\n2000 200000 10\n"
    assert [outside(found, number) for number in (0, 999, 1000, 2009)] == [100000, 100999, 5, 200009]
    assert outside((), 77) == 77
    with pytest.raises(UsageError):
        outside(found, 2010)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0:1:x",
        "a:1:1",
        "0:1:0",
        "-1:1:1",
        "0:1:2:3",
        "1:1:1",
        "0:1:5,4:100:5",
        "0:1:5,5:4:5",
        "0:4294967295:1",
    ],
)
def test_ranges_that_are_none(text):
    with pytest.raises(UsageError):
        parse_ranges([text])


def test_too_many_ranges():
    texts = [f"{number}:{100000 + 2 * number}:1" for number in range(341)]
    assert len(parse_ranges(texts[:340])) == 340
    with pytest.raises(UsageError):
        parse_ranges(texts)


def test_subordinate_ids(tmp_path):
    file = tmp_path / "subuid"
    file.write_text("other:1:2\nme:100000:65536\nodd\nme:x:1\nme:300000:10\n")
    assert ranges_of("me", str(file)) == (IdRange(0, 100000, 65536), IdRange(65536, 300000, 10))
    for name, path in (("nobody-here", file), ("me", tmp_path / "nothing")):
        with pytest.raises(NotFoundError):
            ranges_of(name, str(path))


def test_options_together(monkeypatch):
    assert maps_of((), (), "", "") == ((), ())
    with pytest.raises(UsageError):
        maps_of(("0:1:1",), (), "me", "")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert maps_of(("0:1:1",), (), "", "") == ((IdRange(0, 1, 1),), (IdRange(0, 1, 1),))
    assert maps_of(("0:1:1",), ("0:2:1",), "", "") == ((IdRange(0, 1, 1),), (IdRange(0, 2, 1),))
    monkeypatch.setattr(os, "geteuid", lambda: 5)
    with pytest.raises(PermissionDeniedError):
        maps_of(("0:1:1",), (), "", "")
