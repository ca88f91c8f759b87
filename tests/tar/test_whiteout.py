from __future__ import annotations

import pytest

from arstore.errors import UnsafePathError
from arstore.tar.whiteout import Mark, classify


@pytest.mark.parametrize(
    ("path", "mark", "about"),
    [
        (b"", Mark.NONE, b""),
        (b"a/b", Mark.NONE, b"a/b"),
        (b"a/.white", Mark.NONE, b"a/.white"),
        (b"a/x.wh.b", Mark.NONE, b"a/x.wh.b"),
        (b"a.wh..wh..opq", Mark.NONE, b"a.wh..wh..opq"),
        (b".wh.a", Mark.WHITEOUT, b"a"),
        (b"d/e/.wh.a b", Mark.WHITEOUT, b"d/e/a b"),
        (b"d/.wh.\xff", Mark.WHITEOUT, b"d/\xff"),
        (b".wh....", Mark.WHITEOUT, b"..."),
        (b".wh.wh.a", Mark.WHITEOUT, b"wh.a"),
        (b".wh..wh..opq", Mark.OPAQUE, b""),
        (b"d/e/.wh..wh..opq", Mark.OPAQUE, b"d/e"),
        (b".wh..wh.plnk", Mark.IGNORED, b".wh..wh.plnk"),
        (b".wh..wh.plnk/12.34", Mark.PSEUDO_LINK, b".wh..wh.plnk/12.34"),
        (b".wh..wh.plnk/12.34/x", Mark.IGNORED, b".wh..wh.plnk/12.34/x"),
        (b"d/.wh..wh.plnk/12.34", Mark.IGNORED, b"d/.wh..wh.plnk/12.34"),
        (b".wh..wh.orph/12.34", Mark.IGNORED, b".wh..wh.orph/12.34"),
        (b"d/.wh..wh.aufs", Mark.IGNORED, b"d/.wh..wh.aufs"),
        (b".wh..wh.orph/.wh..wh..opq", Mark.IGNORED, b".wh..wh.orph/.wh..wh..opq"),
        (b".wh..wh.plnk/.wh.a", Mark.IGNORED, b".wh..wh.plnk/.wh.a"),
        (b".wh.d/file", Mark.NONE, b".wh.d/file"),
        (b".wh.d/.wh.file", Mark.WHITEOUT, b".wh.d/file"),
    ],
)
def test_classify(path: bytes, mark: Mark, about: bytes) -> None:
    assert classify(path) == (mark, about)


@pytest.mark.parametrize("path", [b".wh.", b".wh..", b".wh...", b"a/.wh.", b"a/.wh..", b"a/.wh...", b".wh../x"])
def test_a_whiteout_that_names_nothing_or_a_parent_is_refused(path: bytes) -> None:
    with pytest.raises(UnsafePathError):
        classify(path)
