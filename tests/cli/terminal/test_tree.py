"""Trees in a terminal: aligned at 80 columns, cut in the middle, in characters that the output can show."""

from __future__ import annotations

import io
import sys

import pytest

from arstore.cli.terminal.output import text_width
from arstore.cli.terminal.tree import ASCII, BOX, Line, cut, marks, write_tree


def written(monkeypatch, lines, encoding="utf-8"):
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", out)
    write_tree(("NAME", "SIZE>", "NOTE"), (9, 10), lines, marks())
    out.flush()
    return out.buffer.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 9, "short"),
        ("registry/project/app:1.2", 11, "regis…p:1.2"),
        ("12345", 4, "12…5"),
        ("漢字漢字漢字", 7, "漢…字"),
        ("abc", 1, "…"),
    ],
)
def test_the_middle_is_cut(text, width, shown):
    assert cut(text, width, "…") == shown
    assert text_width(shown) <= width


def test_lines_are_aligned_at_80_columns(monkeypatch):
    lines = [
        Line("", "root", ("1.0 GB", "")),
        Line("├─ ", "n" * 200, ("999.9 MB", "12 images")),
        Line("│  " * 60, "deep", ("1 B", "")),
        Line("", "漢字" * 40, ("1 B", "x")),
        Line("", "line\nbreak\x1b[0m", ("1 B", "")),
    ]
    shown = written(monkeypatch, lines)
    assert len(shown) == len(lines) + 1
    assert max(map(text_width, shown)) <= 80
    ends = {text_width(line[: line.index(size) + len(size)]) for line, size in
            zip(shown, ("SIZE", "1.0 GB", "999.9 MB", "1 B", "1 B", "1 B"), strict=True)}  # fmt: skip
    assert ends == {68}
    assert "deep" in shown[3]
    assert "line\\nbreak\\x1b[0m" in shown[5]


@pytest.mark.parametrize(("encoding", "found"), [("utf-8", BOX), ("ascii", ASCII), ("latin-1", ASCII)])
def test_the_characters_fit_the_locale(monkeypatch, encoding, found):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    assert marks() == found
    assert "".join(ASCII).isascii()
