"""Choice of inputs to keep: those that take steps, from line to line of arstore, that no other input takes."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType
    from typing import Any

    from fuzzing.target import Target

_LARGEST = 4096
_MOST_LOOKED_AT = 1500


def reached(target: Target, data: bytes) -> frozenset[tuple[str, int, int]]:
    """The steps from line to line, by file, that *target* takes with *data*; an error counts as one step."""
    steps: set[tuple[str, int, int]] = set()

    def follow(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if "/arstore/" not in name:
            return None
        last = frame.f_lineno

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    sys.settrace(follow)
    try:
        target(data)
    except Exception as error:
        steps.add((type(error).__name__, 0, 0))
    finally:
        sys.settrace(None)
    return frozenset(steps)


def grow(target: Target, found: Path, corpus: Path, most: int) -> int:
    """Copy up to *most* files of *found* that reach more than the seeds and *corpus*; return their number."""
    corpus.mkdir(exist_ok=True)
    known: set[tuple[str, int, int]] = set()
    for data in (*target.seeds(), *(path.read_bytes() for path in target.corpus())):
        known |= reached(target, data)
    files = sorted(
        (path for path in found.iterdir() if path.stat().st_size <= _LARGEST), key=lambda path: path.stat().st_size
    )
    left = [(data, reached(target, data)) for data in (path.read_bytes() for path in files[:_MOST_LOOKED_AT])]
    count = 0
    while count < most:
        left = [(data, steps) for data, steps in left if steps - known]
        if not left:
            break
        data, steps = max(left, key=lambda one: (len(one[1] - known), -len(one[0])))
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        known |= steps
        count += 1
    return count
