"""All rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runcompare.row import Row
from runcompare.rows import identity, life, mounts, options, rights, streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runcompare.help import Option

BASELINE = Row("without options", "probe", "run plain probe")
"""Its differences are counted here, by section, and not again in the rows that show them too."""


def every(found: Sequence[Option]) -> list[Row]:
    """Return the baseline, and the rows of all themes and of the options *found*."""
    return [
        BASELINE,
        *options.rows(found),
        *identity.rows(),
        *rights.rows(),
        *mounts.rows(),
        *streams.rows(),
        *life.rows(),
    ]
