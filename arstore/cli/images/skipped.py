"""Output: the entries of a source that were passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINES = 5
_NAMES = 3


class _Entry(Protocol):
    @property
    def label(self) -> str: ...

    @property
    def why(self) -> str: ...


def skipped_lines(entries: Sequence[_Entry], count: int) -> list[str]:
    """Return a few lines about *entries*, the first of *count*: one for each reason, with a few of its entries."""
    reasons: dict[str, list[_Entry]] = {}
    for entry in entries:
        reasons.setdefault(entry.why, []).append(entry)
    lines = []
    told = 0
    for why, found in list(reasons.items())[:_LINES]:
        some = ", ".join(entry.label for entry in found[:_NAMES])
        more = f" and {len(found) - _NAMES} more" if len(found) > _NAMES else ""
        lines.append(f"skipped {some}{more}: {why}")
        told += len(found)
    if told < count:
        lines.append(f"skipped {count - told} more entries")
    return lines
