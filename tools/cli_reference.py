#!/usr/bin/env python3
"""Print docs/cli.md as the program's own help says it; `--write` puts it into its file.

The reference is made from `arstore --help` and each command's, and a test asserts that the file agrees.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

import click  # noqa: E402 - the checkout need not be installed
from generated import main  # noqa: E402

from arstore.cli.clicked import clicked  # noqa: E402
from arstore.cli.main import PROGRAM, cli  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = CHECKOUT / "docs" / "cli.md"
WIDTH = 100

HEAD = """# Commands

Made by `tools/cli_reference.py --write` from the program's help; a test asserts that the two agree. All exit statuses
are in one table in [design/exit-statuses.md](design/exit-statuses.md).
"""


def document() -> str:
    """The whole text of the file."""
    program = clicked(cli)
    top = click.Context(program, info_name=PROGRAM, terminal_width=WIDTH, max_content_width=WIDTH)
    parts = [HEAD, *(f"## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(program, top))]
    return "\n".join(parts)


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The path and help of *command* and of all commands below it."""
    lines = command.get_help(context).splitlines()
    yield context.command_path, "\n".join(line.rstrip() for line in lines)
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None:
            below = click.Context(found, info_name=name, parent=context, terminal_width=WIDTH, max_content_width=WIDTH)
            yield from _helps(found, below)


if __name__ == "__main__":
    sys.exit(main(document(), TARGET))
