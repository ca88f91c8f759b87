from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import UsageError
from arstore.runtime.stdio.detach_keys import DetachKeys, parse_keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("CTRL-A,x", b"\x01x"),
        ("ctrl-@", b"\0"),
        ("ctrl-_", b"\x1f"),
        ("", b""),
    ],
)
def test_keys(text, keys):
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["ab", "ctrl-", "ctrl-1", "a,", ",", "ctrl-é", "é", "\x1b", "ctrl-pp"])
def test_not_keys(text):
    with pytest.raises(UsageError, match="--detach-keys"):
        parse_keys(text)


@given(
    st.lists(st.binary(max_size=6).map(lambda data: bytes(byte % 3 for byte in data)), max_size=10),
    st.binary(min_size=1, max_size=4).map(lambda data: bytes(byte % 3 for byte in data)),
)
def test_everything_before_the_keys_is_passed_on(pieces, keys):
    """However the input is divided."""
    whole = b"".join(pieces)
    scanner = DetachKeys(keys)
    passed, found = b"", False
    for piece in pieces:
        data, found = scanner.feed(piece)
        passed += data
        if found:
            break
    if not found:
        passed += scanner.rest()
    place = whole.find(keys)
    assert found == (place >= 0)
    assert passed == (whole[:place] if found else whole)


def test_without_keys():
    assert DetachKeys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)
