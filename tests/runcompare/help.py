"""Options in the help of `podman run`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

STORED = Path(__file__).with_name("podman-run-help.txt")
"""The output of `podman --version` and `podman run --help`, for tests without podman."""

_LINE = re.compile(r"^ {2,6}(?:-(?P<short>\w), )?--(?P<long>[a-z0-9][a-z0-9-]*)(?: (?P<value>\S+))?(?: {2,}|\s*$)")


class Option(NamedTuple):
    """An option: its long name without dashes, its letter or "", and the word for its value; "" for a switch."""

    name: str
    letter: str = ""
    value: str = ""


def options(text: str) -> list[Option]:
    """Return the options in a help text, in its order. Raises ValueError if the text lists no options."""
    found = []
    for line in text.partition("\nOptions:\n")[2].splitlines():
        if match := _LINE.match(line):
            found.append(Option(match["long"], match["short"] or "", match["value"] or ""))
        elif line.lstrip().startswith("-"):
            raise ValueError(f"this line of the help is not understood: {line.strip()}")
    if not found:
        raise ValueError("the help lists no options")
    return found


_OURS = re.compile(r"^  (?:-\w, )?(--[a-z0-9-]+(?:, --[a-z0-9-]+)*)", re.M)


def ours(text: str) -> set[str]:
    """Return the long options in the help of a command of arstore, without dashes."""
    names = (name for match in _OURS.finditer(text.partition("\nOptions:\n")[2]) for name in match[1].split(", "))
    return {name.removeprefix("--") for name in names}


def version(text: str) -> str:
    """Return the version in the first line of `podman --version`."""
    return text.partition("\n")[0].rpartition(" ")[2]
