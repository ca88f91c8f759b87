#!/usr/bin/env python3
"""Write the commands and options of podman, skopeo, buildah, umoci and ctr, read from their own help, as JSON.

`tools/peers run DIR python3 tools/peer_commands.py > tests/cli/foreign/peers.json` reads the tools in DIR, without
`tools/peers` those of this host. A test asserts that arstore has, or answers, each command and option.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

PEERS = ("podman", "skopeo", "buildah", "umoci", "ctr")
_HEADING = re.compile(r"(?:[A-Z][a-z]+ )*Commands:|COMMANDS:")
_COMMAND = re.compile(r"\s{2,}([a-z][a-z0-9-]*(?:, [a-z][a-z0-9-]*)*)(?:\s|$)")
_NAME = r"-{1,2}[A-Za-z0-9][A-Za-z0-9-]*"
_OPTION = re.compile(rf"\s{{2,6}}({_NAME}(?:, {_NAME})*)(?:[ =]|$)")
_DEEPEST = 2
"""Words of the longest command that is asked for its help; those below are answered as the one above."""
_SKIPPED = frozenset({"help", "h"})


def commands(text: str) -> list[str]:
    """Return the commands that a help lists, with their aliases."""
    found: list[str] = []
    is_list = False
    for line in text.splitlines():
        if _HEADING.fullmatch(line.strip()):
            is_list = True
        elif line.strip() and not line.startswith(" "):
            is_list = False
        elif is_list and (match := _COMMAND.match(line)):
            found += match[1].split(", ")
    return [name for name in found if name not in _SKIPPED]


def options(text: str) -> list[str]:
    """Return the options that a help lists, with their short names."""
    return sorted(
        {name for line in text.splitlines() if (match := _OPTION.match(line)) for name in match[1].split(", ")}
    )


def read(words: list[str], found: dict[str, list[str]]) -> None:
    """Add the options of a command, and those of the commands below it, to *found*."""
    done = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    text = done.stdout or done.stderr
    path = words[1:]
    found[" ".join(path)] = options(text)
    if len(path) < _DEEPEST:
        for name in commands(text):
            if name not in path:
                read([*words, name], found)


def main() -> int:
    """Print the document."""
    document: dict[str, dict[str, list[str]]] = {}
    for peer in PEERS:
        document[peer] = {}
        read([peer], document[peer])
    lines = []
    for peer, found in document.items():
        rows = [f"  {json.dumps(path)}: {json.dumps(' '.join(names))}" for path, names in sorted(found.items())]
        lines.append(f" {json.dumps(peer)}: {{\n" + ",\n".join(rows) + "\n }")
    print("{\n" + ",\n".join(lines) + "\n}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
