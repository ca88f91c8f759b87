"""The matrix as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.matrix import ANEW, CANNOT, FAILED, SAME, Cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SIGNS = {SAME: "=", ANEW: "≈", CANNOT: "–", FAILED: "**✗**"}


def table(cells: Sequence[Cell], versions: Mapping[str, str]) -> str:
    """Two tables, with notes: for images of one platform, and for indexes of several."""
    notes: dict[str, int] = {}
    lines = [
        "`=` every digest is that of the source; `≈` the configs' digests are, and the manifest was written again; "
        "`–` the tool has no way to do this; **✗** it failed.",
        "",
        "Versions: " + "; ".join(versions.values()) + ".",
    ]
    for several in (False, True):
        chosen = [cell for cell in cells if cell.several is several]
        if chosen:
            lines += ["", "## Several platforms" if several else "## One platform", "", *_rows(chosen, notes)]
    lines += ["", *(f"{number}. {_sentence(why)}" for why, number in notes.items())]
    return "\n".join(lines).rstrip() + "\n"


def _rows(cells: Sequence[Cell], notes: dict[str, int]) -> list[str]:
    """A row for each kind and writer; tools that cannot write a kind are named in the line below the table instead."""
    readers = list(dict.fromkeys(cell.reader for cell in cells))
    lines = [f"| kind | written by | read by {' | '.join(readers)} |", "|---|---|" + "---|" * len(readers)]
    left = []
    for kind, writer in dict.fromkeys((cell.kind, cell.writer) for cell in cells):
        row = [cell for cell in cells if (cell.kind, cell.writer) == (kind, writer)]
        if len({(cell.outcome, cell.why) for cell in row}) == 1 and row[0].outcome == CANNOT:
            left.append(f"{kind} by {writer} ({notes.setdefault(row[0].why, len(notes) + 1)})")
        else:
            lines.append(f"| {kind} | {writer} | {' | '.join(_sign(cell, notes) for cell in row)} |")
    return [*lines, "", f"Not written: {', '.join(left)}."] if left else lines


def _sign(cell: Cell, notes: dict[str, int]) -> str:
    if not cell.why:
        return _SIGNS[cell.outcome]
    return f"{_SIGNS[cell.outcome]} {notes.setdefault(cell.why, len(notes) + 1)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
