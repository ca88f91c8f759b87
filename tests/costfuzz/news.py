"""What is new, and for how many executions nothing was: the criterion by which a search has run dry.

A mark is the value of a feature that was new last. A later one is new when it is twice as much, and a feature that
no input had before is new when it is more than a hundredth of its bar. Clocks are not trusted: a time is compared with
that of the mark's own genome, measured again in turns with it, so that what slows the machine slows both.
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
"""Bytes of memory that it may take at most."""
TIMES = 2.0
"""What a value has to rise to, in terms of the mark, to be new."""
ROUNDS = 15
"""Times that an input and the mark's are measured in turns."""
_FLOORS = {"whole": WRONG / 100, "memory whole": MEMORY / 100}


def floor(feature: str) -> float:
    """What a value has to be more than to count at all."""
    return next((value for name, value in _FLOORS.items() if feature.startswith(name)), 0.0)


def is_time(feature: str) -> bool:
    """Whether a clock has measured it."""
    return feature.startswith(("whole", "seconds"))


def may_be_new(found: Mapping[str, float], marks: Mapping[str, float]) -> dict[str, float]:
    """Those of the values *found* that are new if they hold, by feature."""
    return {
        feature: value
        for feature, value in found.items()
        if value > floor(feature) and value >= TIMES * marks.get(feature, 0.0)
    }


@functools.cache
def code() -> str:
    """A digest of what is searched, and of what searches: with other code nothing is known to be quiet."""
    found = hashlib.sha256()
    for place in (Path(arstore.__file__).parent, Path(__file__).parent):
        for path in sorted(place.rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


@dataclass
class Quiet:
    """How many executions on targets of one kind have brought nothing new since the last that did."""

    kind: str
    count: int = 0
    executions: int = 0
    news: int = 0
    last: int = 0
    """The execution that brought the last new value."""
    code: str = ""

    @classmethod
    def read(cls, place: Path, kind: str) -> Quiet:
        """That of *kind*; one that begins where there is none, or was for other code."""
        path = place / f"{kind}.quiet"
        found = cls(**json.loads(path.read_text())) if path.exists() else cls(kind)
        return found if found.code == code() else cls(kind, code=code())

    def write(self, place: Path) -> None:
        """Replace the file."""
        partial = place / f"{self.kind}.quiet.partial"
        partial.write_text(json.dumps(self.__dict__))
        partial.replace(place / f"{self.kind}.quiet")

    def executed(self, *, is_new: bool) -> None:
        """One more, which brought something new or not."""
        self.executions += 1
        self.count += 1
        if is_new:
            self.count, self.last = 0, self.executions
            self.news += 1
