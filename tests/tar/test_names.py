from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import LimitError, TarError, UnsafePathError
from arstore.tar.limits import Limits
from arstore.tar.names import excerpt, normalised


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"a", b"a"),
        (b"./a/b/", b"a/b"),
        (b"/a", b"a"),
        (b"//a//b//", b"a/b"),
        (b".", b""),
        (b"./", b""),
        (b"/", b""),
        (b"./.", b""),
        (b"a/../b", b"b"),
        (b"a/..", b""),
        (b"a/./b", b"a/b"),
        (b"././a", b"a"),
        (b".//a", b"a"),
        (b"a//", b"a"),
        (b".hidden", b".hidden"),
        (b"a/.hidden/..b", b"a/.hidden/..b"),
        (b"..a", b"..a"),
        (b"...", b"..."),
        (b"\xff\xfe/\n", b"\xff\xfe/\n"),
        (b" a ", b" a "),
        (b"c" * 255, b"c" * 255),
        (b"/".join([b"c" * 255] * 16), b"/".join([b"c" * 255] * 16)),
    ],
)
def test_normalised(raw: bytes, path: bytes) -> None:
    assert normalised(raw) == path


@pytest.mark.parametrize("raw", [b"..", b"../x", b"/../x", b"./../x", b"a/../../x", b"a/..//../x", b"../"])
def test_a_name_that_leaves_the_root_is_refused(raw: bytes) -> None:
    with pytest.raises(UnsafePathError, match="leaves the root"):
        normalised(raw)


@pytest.mark.parametrize("raw", [b"", b"a\0b", b"./a\0", b"c" * 256, b"a/" + b"c" * 256 + b"/b"])
def test_a_name_that_no_file_can_have_is_refused(raw: bytes) -> None:
    with pytest.raises(TarError):
        normalised(raw)


@pytest.mark.parametrize(
    ("raw", "limits"),
    [
        (b"/".join([b"c" * 255] * 16) + b"/c", Limits()),
        (b"a/" * 1025, Limits()),
        (b"a/b/c", Limits(depth=2)),
        (b"abcd", Limits(path=3)),
    ],
)
def test_a_name_past_a_limit_is_refused(raw: bytes, limits: Limits) -> None:
    with pytest.raises(LimitError):
        normalised(raw, limits)


@given(st.lists(st.sampled_from([b"a", b"bb", b".", b"..", b"", b".c", b"..d"]), max_size=8))
def test_the_result_is_what_a_lexical_clean_up_gives(parts: list[bytes]) -> None:
    raw = b"/".join(parts)
    depth = 0
    for part in parts:
        depth += {b"": 0, b".": 0, b"..": -1}.get(part, 1)
        if depth < 0:
            with pytest.raises(UnsafePathError):
                normalised(raw)
            return
    if raw:
        assert normalised(raw) == posixpath.normpath(b"/" + raw).lstrip(b"/")


def test_excerpt_shortens_and_escapes() -> None:
    assert excerpt(b"a\nb\xff") == "a\\nb\\xff"
    assert len(excerpt(b"n" * 5000)) < 130
