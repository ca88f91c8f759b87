"""Trees on a terminal: branches of box drawing or ASCII, names cut in the middle, and columns that are aligned."""

from __future__ import annotations

import shutil
import sys
from itertools import islice
from typing import TYPE_CHECKING

from arstore.cli.terminal.output import printable, text_width, write_text
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_WIDTH, _LEAST = 80, 60
_NARROWEST = 16
"""Columns that a name has at least."""
_BATCH = 500


class Marks(NamedTuple):
    """The characters of branches: a line that goes on, a branch, the last branch, a gap, a dot, and of a cut name."""

    line: str
    branch: str
    last: str
    gap: str
    dot: str
    cut: str


BOX = Marks("│  ", "├─ ", "└─ ", "   ", "●", "…")
ASCII = Marks("|  ", "|- ", "`- ", "   ", "*", "...")


class Line(NamedTuple):
    """A line: the *branches* before its name, its name, and the cells of the columns after it."""

    branches: str
    name: str
    cells: tuple[str, ...]


def marks() -> Marks:
    """Return the characters that stdout can show."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "")
    return BOX if encoding == "utf8" else ASCII


def columns() -> int:
    """Return the width of the terminal, and 80 for other output."""
    if not sys.stdout.isatty():
        return _WIDTH
    return max(_LEAST, shutil.get_terminal_size((_WIDTH, 24)).columns)


def write_tree(head: Sequence[str], widths: Sequence[int], lines: Iterable[Line], chosen: Marks) -> None:
    """Write *lines* under their *head*. The first column takes what *widths*, those of the others, leave.

    A heading that ends in `>` (not printed) right-aligns its column. Raises ClosedStreamError, HostError.
    """
    width = columns() - sum(widths) - 2 * len(widths)
    are_right = [title.endswith(">") for title in head[1:]]
    titles = [title.removesuffix(">") for title in head]

    def texts() -> Iterator[str]:
        yield _row(Line("", titles[0], tuple(titles[1:])), width, widths, are_right, chosen)
        for line in lines:
            yield _row(line, width, widths, are_right, chosen)

    source = texts()
    while some := list(islice(source, _BATCH)):
        write_text("".join(some))


def _row(line: Line, width: int, widths: Sequence[int], are_right: Sequence[bool], chosen: Marks) -> str:
    branches = line.branches
    if len(branches) > width - _NARROWEST:
        branches = chosen.cut + branches[len(branches) - (width - _NARROWEST - len(chosen.cut)) :]
    name = cut(printable(line.name), width - len(branches), chosen.cut)
    text = branches + name
    cells = [text + " " * (width - text_width(text))]
    for cell, size, is_right in zip(map(printable, line.cells), widths, are_right, strict=True):
        cell = cut(cell, size, chosen.cut)
        space = " " * (size - text_width(cell))
        cells.append(space + cell if is_right else cell + space)
    return "  ".join(cells).rstrip() + "\n"


def cut(text: str, width: int, mark: str) -> str:
    """Return printable *text* in at most *width* columns, with *mark* in place of its middle if it is longer."""
    if text_width(text) <= width:
        return text
    left = max(0, width - len(mark))
    head = _fitting(text, (left + 1) // 2)
    tail = _fitting(text[::-1], left // 2)[::-1]
    return f"{head}{mark}{tail}"


def _fitting(text: str, width: int) -> str:
    """Return the longest beginning of *text* that has at most *width* columns."""
    used = 0
    for place, character in enumerate(text):
        used += text_width(character)
        if used > width:
            return text[:place]
    return text
