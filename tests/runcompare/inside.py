"""The part that runs in the compared system, with its Python and no other packages: print outcomes as JSON."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runcompare import help as helps
from runcompare import programs, running
from runcompare.rows import table


def main() -> int:
    """Load the images, and run each of the chosen rows with both programs at the same time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--part", type=int, default=0, help="which part of the rows")
    parser.add_argument("--parts", type=int, default=1)
    given = parser.parse_args()
    theirs = "".join(
        subprocess.run(["podman", *words], capture_output=True, text=True, check=True).stdout
        for words in (["--version"], ["run", "--help"])
    )
    pair = programs.pair(given.place)
    archives = {path.stem: path for path in sorted((given.place / "images").glob("*.tar"))}
    with ThreadPoolExecutor(2) as threads:
        try:
            list(threads.map(lambda one: one.load(archives), pair))
            options = helps.options(theirs)
            has = helps.ours(pair[0].call("run", "--help"))
            missing = [one.name for one in options if one.name not in has]
            rows = table.every(options)
            about = {"versions": [one.version() for one in pair], "missing": missing, "rows": rows}
            _print(about)
            wanted = [row for row in rows if row is table.BASELINE or re.search(given.only, row.key)]
            for row in wanted[given.part :: given.parts]:
                results = threads.map(lambda one, row=row: running.run(row, one, given.place / "images"), pair)
                _print({"row": row, "outcomes": list(results)})
        finally:
            for one in pair:
                one.close()
    return 0


def _print(document: object) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    sys.exit(main())
