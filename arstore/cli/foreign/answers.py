"""Answers to commands and options of other tools: the command or option of arstore that does the same, or a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.foreign.commands import COMMANDS, CONTAINER_VERBS, NOUNS, TOO_FEW, TOO_MANY
from arstore.cli.foreign.options import OPTIONS
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_LONGEST = 2
"""Words of the longest command in the table."""
_NOT_HERE = "there is no such command"


class Answer(NamedTuple):
    """An answer to a command or option: the words that it is about, why it is refused, and what to use instead."""

    what: str
    why: str
    hint: str


def to_command(words: Sequence[str], ours: Collection[str]) -> Answer | None:
    """Return the answer to a command line that begins with *words*; None if no other tool has the command.

    *ours* has the names of arstore's own commands: `image pull` is answered with `pull`, if it is among them.
    """
    if len(words) > 1 and words[0] == "help" and words[1] in ours:
        return Answer(f"help {words[1]}", _NOT_HERE, f"use `arstore {words[1]} --help`")
    for count in range(min(_LONGEST, len(words)), 0, -1):
        what = " ".join(words[:count])
        # A short form of a noun has its own answer only if it is alone.
        known = what if count == 1 else " ".join([NOUNS.get(words[0], words[0]), *words[1:count]])
        if known in COMMANDS:
            why, hint = COMMANDS[known]
            return Answer(what, why or _NOT_HERE, hint)
        if count > 1 and words[0] in NOUNS:
            verb = words[count - 1]
            if NOUNS[words[0]] == "container" and verb in CONTAINER_VERBS:
                return Answer(what, _NOT_HERE, f"use `arstore container {verb}`")
            if verb in ours:
                return Answer(what, _NOT_HERE, f"use `arstore {verb}`")
            if verb in COMMANDS:
                why, hint = COMMANDS[verb]
                return Answer(what, why or _NOT_HERE, hint)
    return None


def to_surplus(command: str, word: str) -> Answer | None:
    """Return the answer to *word* after *command*, which takes no argument, such as `images ls`."""
    what = f"{command} {word}"
    if what not in COMMANDS:
        return None
    why, hint = COMMANDS[what]
    return Answer(what, why or _NOT_HERE, hint)


def to_option(command: str, option: str) -> Answer | None:
    """Return the answer to an option of *command*, the words that name it ("" for the program itself)."""
    for commands, names, why, hint in OPTIONS:
        if command in commands and option in names.split():
            return Answer(f"{command} {option}".strip(), why or "there is no such option", hint)
    return None


def to_count(command: str, *, too_many: bool) -> str:
    """Return a hint for *command* with too many or too few arguments; "" if there is none."""
    return (TOO_MANY if too_many else TOO_FEW).get(command, "")
