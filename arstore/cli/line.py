"""Parse plain command lines without click.

`parse` treats a valid line that runs a command as click does; tests compare the two. It gives up on any other line (one
that asks for help, or is invalid in any way), and `clicked` then parses it from the start. So click, whose import takes
longer than a short command, is imported only for help and errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.command import Command, Declared
from arstore.cli.group import Group
from arstore.cli.parameter import OFF, ON, Argument, Option, Parameter
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from arstore.cli.session import Session


class _NotPlainError(Exception):
    """The line has to be parsed by click."""


class Step(NamedTuple):
    """A group, or the command at the end of the line, with its keyword arguments and the callbacks of its options."""

    declared: Declared
    arguments: dict[str, Any]
    applied: list[tuple[Callable[[Session, Any], None], Any]]
    ends: bool
    """Whether one of these options ends the program, such as --version."""


class Line(NamedTuple):
    """A plain command line: groups, followed by a command."""

    steps: tuple[Step, ...]

    def run(self, session: Session) -> int:
        """Run the command and return its exit status. Raises the errors of the command."""
        result: object = 0
        for declared, arguments, applied, step_ends in self.steps:
            if isinstance(declared, Command):
                session.command = declared
            for apply, value in applied:
                apply(session, value)
            if step_ends:
                return 0
            if isinstance(declared, Command):
                declared.begin(session)
            result = declared.function(session, **arguments)
        return result if isinstance(result, int) else 0


def parse(program: Group, words: Sequence[str], environment: Mapping[str, str]) -> Line | None:
    """Read *words*, the arguments of *program*. Return None if the line is not plain."""
    declared: Declared = program
    rest = list(words)
    steps = []
    try:
        while isinstance(declared, Group):
            step, rest = _read(declared, rest, environment)
            steps.append(step)
            if step.ends:
                return None if rest else Line(tuple(steps))
            found = declared.find(rest.pop(0)) if rest else None
            if found is None:
                return None
            declared = found
        step, rest = _read(declared, rest, environment)
    except (_NotPlainError, ValueError):
        return None
    return None if rest else Line((*steps, step))


def _read(declared: Declared, words: list[str], environment: Mapping[str, str]) -> tuple[Step, list[str]]:
    """Read the parameters of *declared*; return them and the words left. Raises _NotPlainError, ValueError."""
    given, loose = _options(declared, words)
    arguments: dict[str, Any] = {}
    applied: list[tuple[Callable[[Session, Any], None], Any]] = []
    for one in declared.parameters:
        values = given.get(one)
        if isinstance(one, Argument):
            count = len(loose) if one.words.get("nargs") == -1 else 1
            values, loose = loose[:count] or None, loose[count:]
            if values is None and one.required:
                raise _NotPlainError
        elif values is None and (text := environment.get(one.words.get("envvar", ""))):
            values = [text]
        if values is None and one.words.get("required"):
            raise _NotPlainError
        if values is not None and one.apply is not None:
            applied.append((one.apply, _value(one, values)))
        elif one.apply is None and (values is not None or one.name not in arguments):
            arguments[one.name] = one.default if values is None else _value(one, values)
    return Step(declared, arguments, applied, any(one.ends for one in given)), loose


def _value(one: Parameter, values: list[str]) -> object:
    """Return the value of a parameter for the words *values*. Raises ValueError."""
    if one.words.get("is_flag"):
        return values[-1:] != [OFF]
    if "flag_value" in one.words:
        return one.words["flag_value"]
    read = [one.kind.read(text) for text in values]
    return tuple(read) if one.words.get("multiple") or one.words.get("nargs") == -1 else read[-1]


def _options(declared: Declared, words: list[str]) -> tuple[dict[Parameter, list[str]], list[str]]:
    """Split *words* into those of options and the others. Raises _NotPlainError."""
    known = {name: one for one in declared.parameters if isinstance(one, Option) for name in one.names}
    given: dict[Parameter, list[str]] = {}
    loose: list[str] = []
    rest = words[::-1]
    while rest:
        word = rest.pop()
        if word == "--":
            break
        if word[:1] == "-" and len(word) > 1:
            _option(known, given, word, rest)
        elif declared.interspersed:
            loose.append(word)
        else:
            rest.append(word)
            break
    names = [one.name for one in given]
    if len(set(names)) < len(names):
        # Two options set the same argument; leave it to click which one counts.
        raise _NotPlainError
    return given, loose + rest[::-1]


def _option(known: Mapping[str, Option], given: dict[Parameter, list[str]], word: str, rest: list[str]) -> None:
    """Add the option, or the cluster of short options, in *word*; *rest* has the words after it, in reverse order."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        one = _known(known, name)
        if equals and one.is_switch and value in {ON, OFF}:
            given.setdefault(one, []).append(value)
            return
        if equals and not one.takes_value:
            raise _NotPlainError
        _add(given, one, [value] if equals else rest)
        return
    letters = word[1:]
    while letters:
        one = _known(known, f"-{letters[0]}")
        letters = letters[1:]
        if one.takes_value and letters:
            rest.append(letters)
            letters = ""
        _add(given, one, rest)


def _known(known: Mapping[str, Option], name: str) -> Option:
    one = known.get(name)
    if one is None:
        raise _NotPlainError
    return one


def _add(given: dict[Parameter, list[str]], one: Option, rest: list[str]) -> None:
    """Record that the option was given; its value, if it takes one, is the last of *rest*."""
    values = given.setdefault(one, [])
    if not one.takes_value:
        if one.is_switch:
            values.append(ON)
        return
    if not rest:
        raise _NotPlainError
    values.append(rest.pop())
