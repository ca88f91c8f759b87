#!/usr/bin/env python3
"""List the entries of arstore/cli/foreign for commands and options that arstore has by now; `--write` removes them."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import textwrap
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from arstore.cli.group import Group  # noqa: E402 - the checkout need not be installed
from arstore.cli.main import cli  # noqa: E402
from arstore.cli.parameter import Option  # noqa: E402

TABLES = CHECKOUT / "arstore" / "cli" / "foreign"
_WIDTH = 96

Edit = tuple[ast.expr, ast.expr | None, str]
"""The first and the last node to replace (None: only the first), and the new source."""


def names_of(path: str) -> set[str] | None:
    """Return the options of a command of ours; None if there is no such command."""
    declared = cli
    for word in path.split():
        found = declared.find(word) if isinstance(declared, Group) else None
        if found is None:
            return None
        declared = found  # type: ignore[assignment] # a command has no `find`, which is looked at above
    return {name for one in declared.parameters if isinstance(one, Option) for name in one.names}


def stale_options(commands: frozenset[str], names: str) -> set[str]:
    """Return the options of a row that every command of the row has."""
    stale = set(names.split())
    known = [found for found in map(names_of, commands) if found is not None]
    return stale.intersection(*known) if known else set()


def value_of(source: str, name: str) -> ast.expr:
    """Return the node of the value that a module gives to *name*."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            assert node.value is not None
            return node.value
    raise LookupError(name)


def edited(source: str, edits: list[Edit]) -> str:
    """Return *source* with nodes replaced; a node that becomes empty takes its comma along."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    data = source.encode()
    for first, last, text in reversed(edits):
        end_node = last or first
        start = starts[first.lineno - 1] + first.col_offset
        end = starts[(end_node.end_lineno or 1) - 1] + (end_node.end_col_offset or 0)
        if not text and data[end : end + 1] == b",":
            end += 1
        data = data[:start] + text.encode() + data[end:]
    return data.decode()


def command_edits(source: str) -> tuple[list[str], list[Edit]]:
    """Return the stale commands, and what removes them."""
    table = value_of(source, "COMMANDS")
    assert isinstance(table, ast.Dict)
    found = [
        (ast.literal_eval(key), key, value)
        for key, value in zip(table.keys, table.values, strict=True)
        if key is not None
    ]
    stale = [(path, key, value) for path, key, value in found if names_of(path) is not None]
    return [path for path, _, _ in stale], [(key, value, "") for _, key, value in stale]


def option_edits(source: str) -> tuple[list[str], list[Edit]]:
    """Return the stale options with their commands, and what removes them."""
    from arstore.cli.foreign.options import OPTIONS

    table = value_of(source, "OPTIONS")
    assert isinstance(table, ast.Tuple)
    found: list[str] = []
    edits: list[Edit] = []
    for node, (commands, names, _, _) in zip(table.elts, OPTIONS, strict=True):
        stale = stale_options(commands, names)
        left = " ".join(name for name in names.split() if name not in stale)
        assert isinstance(node, ast.Tuple)
        if not left:
            edits.append((node, None, ""))
        elif stale:
            lines = textwrap.wrap(left, _WIDTH, break_on_hyphens=False)
            edits.append((node.elts[1], None, "\n".join(f'"{line} "' for line in lines[:-1]) + f'\n"{lines[-1]}"'))
        found += [f"{', '.join(sorted(commands))}: {name}" for name in sorted(stale)]
    return found, edits


def main() -> int:
    """Print the stale entries; with --write, remove them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="remove them, and format the files with ruff")
    write = parser.parse_args().write
    for name, find in (("commands.py", command_edits), ("options.py", option_edits)):
        path = TABLES / name
        source = path.read_text()
        stale, edits = find(source)
        print("".join(f"{one}\n" for one in stale), end="")
        if write and edits:
            path.write_text(edited(source, edits))
            subprocess.run([sys.executable, "-m", "ruff", "format", "-q", path], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
