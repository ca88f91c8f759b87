#!/usr/bin/env python3
"""Print docs/design/exit-statuses.md, made from the error classes; `--write` writes the file.

The table is made from arstore/errors.py. A test asserts that the file is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from generated import main  # noqa: E402

from arstore import errors  # noqa: E402 - the checkout need not be installed

TARGET = CHECKOUT / "docs" / "design" / "exit-statuses.md"

HEAD = """# Exit statuses

Made by `tools/exit_statuses.py --write` from `arstore/errors.py`; a test asserts that the two agree. Every failure is
one line on stderr, `arstore: WHAT: WHY; HINT`, or with `--json` one JSON object there,
`{"error": {"kind", "what", "why", "hint", "exit_code"}}`. The kind is the name in the table.

| status | kind | when |
|---:|---|---|
| 0 | | the command did what it was asked to do |
"""

OUTPUT = """
What cannot be printed is an error: a stdout that is closed or full ends a command with 40, and so does one that nobody
reads any more when the command has changed something. The error's hint says what was done all the same. `mount` undoes
the mount then. `run --detach` ends with 40 too, not with 125: the container was started, and its id is in the error.
"""

TAIL = """
`run` ends with the status of the container's command. Its own failures follow the convention of other container tools:

| status | when |
|---:|---|
"""


def _row(status: int, kind: str, docstring: str | None) -> str:
    sentence = " ".join((docstring or "").split("\n\n")[0].split())
    return f"| {status} | {kind} | {sentence.rstrip('.')[:1].lower()}{sentence.rstrip('.')[1:]} |\n"


def document() -> str:
    """The whole text of the file."""
    rows = [_row(one.exit_code, one.__name__.removesuffix("Error"), one.__doc__) for one in errors.error_classes()]
    run = {
        errors.RUN_FAILED: "arstore or the OCI runtime failed before the command was started",
        errors.RUN_CANNOT_INVOKE: "the command exists but cannot be invoked",
        errors.RUN_NOT_FOUND: "the command does not exist",
    }
    rows.append(f"| {errors.READER_GONE} | | nobody reads stdout any more, and nothing was changed; without a word |\n")
    return HEAD + "".join(rows) + OUTPUT + TAIL + "".join(f"| {status} | {when} |\n" for status, when in run.items())


if __name__ == "__main__":
    sys.exit(main(document(), TARGET))
