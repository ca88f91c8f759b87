"""`tools/trust decisions`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from interop.tools import REPOSITORY, Runner

from decisions import __doc__ as about
from decisions import cases, making, material, ours, places, report, skopeo

PAGE = REPOSITORY / "docs/design/trust-decisions.md"


def main() -> int:
    """Print the table; return 1 if an answer of arstore differs from skopeo's without a recorded reason."""
    parser = argparse.ArgumentParser(prog="tools/trust decisions", description=about)
    parser.add_argument("--peers", metavar="DIR", help="ask skopeo in this root directory, see tools/peers")
    parser.add_argument("--make", action="store_true", help="first make new keys and signatures")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(REPOSITORY)}")
    parser.add_argument(
        "--show", metavar="TEXT", help="print the cases with TEXT in their titles, with all that is known"
    )
    options = parser.parse_args()
    if options.make:
        with tempfile.TemporaryDirectory(prefix="ad-", dir="/var/tmp") as place:
            material.save(
                making.make(Runner(Path(place), options.peers or ""), lambda text: print(text, file=sys.stderr))
            )
    known = material.load()
    table = cases.cases(known)
    if options.peers is not None or options.make:
        with tempfile.TemporaryDirectory(prefix="ad-", dir="/var/tmp") as place:
            answers = skopeo.ask(Runner(Path(place), options.peers or ""), table, known)
        skopeo.save(table, answers, known.versions)
    theirs = skopeo.load()
    with tempfile.TemporaryDirectory(prefix="ad-") as place:
        here = places.Places(Path(place), known)
        here.write()
        mine = [ours.ask(case, here) for case in table]
    if options.show:
        for case, answer in zip(table, mine, strict=True):
            if options.show in case.title:
                print(f"{case.group}: {case.title}\n{case.source}\n{report.shown(case)}")
                print(f"skopeo: {theirs[case.group, case.title]}\narstore: {answer}\n")
        return 0
    text = report.page(table, theirs, mine, known.versions)
    if options.write:
        PAGE.write_text(text)
    else:
        print(text, end="")
    unargued = [case for case, answer in zip(table, mine, strict=True) if not _is_settled(case, answer, theirs)]
    for case in unargued:
        print(f"not argued: {case.group}: {case.title}", file=sys.stderr)
    return int(bool(unargued))


def _is_settled(case: cases.Case, answer: tuple[str, str], theirs: dict[tuple[str, str], tuple[str, str]]) -> bool:
    return (answer[0] == theirs[case.group, case.title][0]) is not bool(case.argued)


if __name__ == "__main__":
    sys.exit(main())
