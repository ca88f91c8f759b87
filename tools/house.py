#!/usr/bin/env python3
"""Figures about the code: files of each folder, lines of each room, floors of imports, modules that an import loads.

A room is a package directly below `arstore/`. Rooms on a floor import only rooms on the floors below it. All imports
count, also those inside functions and those for type checkers. Needs only the standard library and, for the last
figure, the dependencies of arstore.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
LOADED = """
import os, sys
own, leave = os.getpid(), os._exit
def told(status):
    if os.getpid() == own:
        os.write(2, b"%d" % sum(name.split(".")[0] == "arstore" for name in sys.modules))
    leave(status)
os._exit = told
from arstore.__main__ import main
try:
    main()
except SystemExit:
    pass
told(0)
"""


def modules(package: Path) -> dict[str, Path]:
    """Every module of *package* by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules among *known* that the file imports, from anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(name if name in known else node.module for name in names)
    return found & known.keys()


def longest(edges: dict[str, set[str]]) -> list[str]:
    """The longest chain of imports, from the importing module down. Ends the program if there is a cycle."""
    above: list[str] = []

    @cache
    def chain(name: str) -> tuple[str, ...]:
        if name in above:
            sys.exit("house: a cycle of imports: " + " > ".join([*above[above.index(name) :], name]))
        above.append(name)
        below = sorted((chain(one) for one in sorted(edges[name])), key=len)
        above.pop()
        return (name, *(below[-1] if below else ()))

    return list(sorted(map(chain, edges), key=len)[-1])


def loaded_by(*words: str) -> int:
    """The number of modules of arstore that the process of a command has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "--quiet", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return int(done.stderr.split()[-1])


class Figures(NamedTuple):
    """All figures except loaded modules: files by folder, lines by room, and the longest chain of imports."""

    folders: Counter[str]
    rooms: Counter[str]
    lines: int
    files: int
    chain: list[str]


def figures(package: Path) -> Figures:
    """Read every module of *package*."""
    known = modules(package)
    # arstore/__init__.py exports the library's names, each loaded at its first use: its imports would be cycles.
    edges = {name: imports(path, known) - {name, package.name} for name, path in known.items() if name != package.name}
    lines = {name: len(path.read_text().splitlines()) for name, path in known.items()}
    folders = Counter(
        str(path.parent.relative_to(package.parent)) for path in known.values() if path.name != "__init__.py"
    )
    rooms: Counter[str] = Counter()
    for name, count in lines.items():
        parts = name.split(".")
        rooms[parts[1] if (package / parts[min(1, len(parts) - 1)]).is_dir() and len(parts) > 1 else "(top)"] += count
    return Figures(folders, rooms, sum(lines.values()), len(known), longest(edges))


def main() -> int:
    """Print all figures."""
    options = argparse.ArgumentParser(prog="tools/house.py", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--checkout", type=Path, default=CHECKOUT, help="another checkout, to compare with")
    options.add_argument("--import", dest="archive", help="an OCI archive: count the modules that its import loads")
    asked = options.parse_args()
    found = figures(asked.checkout / "arstore")
    print(f"{found.files} files, {found.lines} lines")
    print("files of a folder: " + ", ".join(f"{name} {count}" for name, count in found.folders.most_common()))
    shares = (f"{name} {count} ({count / found.lines:.0%})" for name, count in found.rooms.most_common())
    print("lines of a room: " + ", ".join(shares))
    print(f"floors: {len(found.chain)}; the longest chain: " + " > ".join(found.chain))
    if asked.archive:
        import tempfile

        with tempfile.TemporaryDirectory() as place:
            places = ("--root", f"{place}/root", "--runroot", f"{place}/run")
            print(f"modules of arstore loaded by import: {loaded_by(*places, 'import', asked.archive)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
