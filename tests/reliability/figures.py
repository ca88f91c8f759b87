"""Results of an exercise, compared with its bars: printed as text or as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from arstore import __version__


@dataclass(frozen=True)
class Figure:
    """One figure; `met` is None if it has no bar, as a peer's."""

    what: str
    measured: str
    bar: str = ""
    met: bool | None = None


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of all exercises."""
    made = argparse.ArgumentParser(prog=f"tools/reliability {name}", description=description)
    made.add_argument("--json", action="store_true", help="print the figures as one JSON document")
    return made


def report(name: str, figures: list[Figure], *, as_json: bool = False) -> int:
    """Print *figures*; return the exit status, 0 only if every bar is met."""
    around = {
        "exercise": name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "arstore": __version__,
    }
    if as_json:
        print(json.dumps({**around, "figures": [asdict(figure) for figure in figures]}, indent=2))
    else:
        print(", ".join(f"{key} {value}" for key, value in around.items()))
        for figure in figures:
            verdict = {None: "", True: "met", False: "NOT MET"}[figure.met]
            print(f"{figure.what}: {figure.measured}{f' (bar: {figure.bar}) {verdict}' if figure.bar else ''}")
    sys.stdout.flush()
    return 1 if any(figure.met is False for figure in figures) else 0
