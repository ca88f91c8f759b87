"""News of a search: which values are new, and for how many executions none was; a long quiet time ends a search.

A mark is the last new value of a feature. A later value is new if it is at least twice the mark; the first value of a
feature is new if it is more than a hundredth of its bar. Clocks are not trusted: a time is compared with that of the
mark's genome, measured again in turns with it, so that a slow machine slows both.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import arstore

if TYPE_CHECKING:
    from collections.abc import Mapping

WRONG = 10.0
"""Seconds of processor time that a source of 1 MB may take at most."""
MEMORY = 300_000_000
"""Bytes of memory that such a source may take at most."""
TIMES = 2.0
"""Multiple of the mark from which a value is new."""
ROUNDS = 15
"""Measurements of an input and of the mark's genome, in turns."""
_FLOORS = {"whole": WRONG / 100, "memory whole": MEMORY / 100}


def floor(feature: str) -> float:
    """The value that a feature has to exceed to count at all."""
    return next((value for name, value in _FLOORS.items() if feature.startswith(name)), 0.0)


def is_time(feature: str) -> bool:
    """Whether the feature is measured by a clock."""
    return feature.startswith(("whole", "seconds"))


def may_be_new(found: Mapping[str, float], marks: Mapping[str, float]) -> dict[str, float]:
    """The values of *found* that are new if they are confirmed, by feature."""
    return {
        feature: value
        for feature, value in found.items()
        if value > floor(feature) and value >= TIMES * marks.get(feature, 0.0)
    }


@functools.cache
def code() -> str:
    """A digest of the searched code and of the search: after a change of either, the quiet time starts again."""
    found = hashlib.sha256()
    for place in (Path(arstore.__file__).parent, Path(__file__).parent):
        for path in sorted(place.rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


@dataclass
class Quiet:
    """The number of executions on targets of one kind since the last new value."""

    kind: str
    count: int = 0
    executions: int = 0
    news: int = 0
    last: int = 0
    """The execution that found the last new value."""
    code: str = ""

    @classmethod
    def read(cls, place: Path, kind: str) -> Quiet:
        """Read that of *kind*; a new one if there is no file, or if it was for other code."""
        path = place / f"{kind}.quiet"
        found = cls(**json.loads(path.read_text())) if path.exists() else cls(kind)
        return found if found.code == code() else cls(kind, code=code())

    def write(self, place: Path) -> None:
        """Replace the file."""
        partial = place / f"{self.kind}.quiet.partial"
        partial.write_text(json.dumps(self.__dict__))
        partial.replace(place / f"{self.kind}.quiet")

    def executed(self, *, is_new: bool) -> None:
        """Count one more execution, which found something new or not."""
        self.executions += 1
        self.count += 1
        if is_new:
            self.count, self.last = 0, self.executions
            self.news += 1
