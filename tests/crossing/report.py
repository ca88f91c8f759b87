"""The matrix as Markdown: a table for each verifier, and the limits in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossing.matrix import FAILED, GOOD, Cell
from crossing.media import MEDIA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEGEND = (
    "✓ accepted with the signer's key, and rejected with another key. ✓ᶜ the same, of an image that arstore has copied "
    "to this medium, because the signer does not write there. A number: not possible, for the reason below. "
    "**✗** failed."
)


def table(cells: Sequence[Cell], versions: Mapping[str, str]) -> str:
    """The whole text; notes are numbered in order of appearance."""
    notes: dict[str, int] = {}
    lines = [LEGEND, "", f"Versions: {', '.join(f'{name} {text}' for name, text in versions.items())}.", ""]
    for verifier in dict.fromkeys(cell.verifier for cell in cells):
        lines += [
            f"## Verified by {verifier}",
            "",
            f"| signed by | {' | '.join(MEDIA)} |",
            "|---|" + "---|" * len(MEDIA),
        ]
        mine = [cell for cell in cells if cell.verifier == verifier]
        for signer in dict.fromkeys(cell.signer for cell in mine):
            row = {cell.medium: cell for cell in mine if cell.signer == signer}
            lines.append(f"| {signer} | {' | '.join(_sign(row[medium], notes) for medium in MEDIA)} |")
        lines.append("")
    lines += [f"{number}. {why[:1].upper()}{why[1:]}." for why, number in notes.items()]
    return "\n".join(lines) + "\n"


def _sign(cell: Cell, notes: dict[str, int]) -> str:
    if cell.outcome == GOOD:
        return "✓ᶜ" if cell.carried else "✓"
    number = notes.setdefault(cell.why, len(notes) + 1)
    return f"**✗** {number}" if cell.outcome == FAILED else str(number)
