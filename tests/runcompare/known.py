"""Known differences, each with its reason. A row whose differences are all known is listed, and is not equal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runcompare.row import Row
    from runcompare.verdict import Difference


class Known(NamedTuple):
    """Patterns for a row's key, a section, our lines and podman's lines: every line has to match in full. And the reason."""

    row: str
    section: str
    ours: str
    theirs: str
    reason: str


KNOWN: tuple[Known, ...] = ()


def reason(row: Row, difference: Difference) -> str:
    """Return why the difference is right, or ""."""
    for one in KNOWN:
        if not re.fullmatch(one.row, row.key) or not re.fullmatch(one.section, difference.section):
            continue
        if all(re.fullmatch(one.ours, line) for line in difference.ours) and all(
            re.fullmatch(one.theirs, line) for line in difference.theirs
        ):
            return one.reason
    return ""
