"""Command lines of arstore in texts: whether their commands and options exist."""

from __future__ import annotations

import re
import shlex

from arstore.cli.group import Group
from arstore.cli.main import PROGRAM, cli
from arstore.cli.parameter import Option

SWITCH = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")


def found(words):
    """The command or group that *words* name, and how many of them; the program itself for no word."""
    declared, count = cli, 0
    while isinstance(declared, Group) and count < len(words):
        below = declared.find(words[count])
        if below is None:
            break
        declared, count = below, count + 1
    return declared, count


def options(declared):
    """Every option of a command, --help included."""
    return {"--help"} | {name for one in declared.parameters if isinstance(one, Option) for name in one.names}


def lines_of(text):
    """The command lines of arstore between backticks in a text."""
    quoted = (" ".join(one.split()) for one in re.findall("`([^`]*)`", text))
    return [part for one in quoted for part in one.split(" | ") if part.startswith(f"{PROGRAM} ")]


def wrong_in(line):
    """Return the fault of a command line, or "". Words in capitals are for the reader to replace."""
    words = shlex.split(line)[1:]
    given = [word.partition("=")[0] for word in words if SWITCH.fullmatch(word.partition("=")[0])]
    declared, count = found([word for word in words if not word.startswith("-") and word.islower()])
    if words[0] == "COMMAND":
        return ""
    if not count and not words[0].startswith("-"):
        return f"{line}: not a command"
    known = options(declared) | options(cli)
    letters = {name[1:] for name in known if len(name) == 2}
    wrong = [one for one in given if one not in known and not (one[1] != "-" and set(one[1:]) <= letters)]
    return f"{line}: {wrong}" if wrong else ""
