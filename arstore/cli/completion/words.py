"""The words that can complete a command line, from the declarations of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.command import Command
from arstore.cli.completion.values import Answer, Candidate, values
from arstore.cli.group import Group
from arstore.cli.parameter import Argument, Option
from arstore.cli.terminal.output import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from arstore.cli.command import Declared


class _Position:
    """The end of a command line that is being typed: the command, and what was typed of it so far."""

    def __init__(self, program: Group) -> None:
        self.declared: Declared = program
        self.given: list[tuple[Option, str]] = []
        """Options with their values, of all groups and of the command."""
        self.pending: Option | None = None
        """The option whose value comes next."""
        self.arguments = 0
        self.ended = False
        """Whether no more options can follow."""
        self.is_known = True
        """False after an unknown command, which nothing can complete."""

    def read(self, word: str) -> None:
        """Go on by one whole word."""
        if self.pending is not None:
            self.given.append((self.pending, word))
            self.pending = None
        elif not self.ended and word == "--":
            self.ended = True
        elif not self.ended and word.startswith("-") and len(word) > 1:
            self._read_option(word)
        elif isinstance(self.declared, Group):
            found = self.declared.find(word)
            self.is_known = self.is_known and found is not None
            self.declared, self.ended = found or self.declared, False
        else:
            self.arguments += 1
            self.ended = self.ended or not self.declared.interspersed

    def _read_option(self, word: str) -> None:
        known = options(self.declared)
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            one = known.get(name)
            if one is not None:
                self._give(one, value if equals else None)
            return
        for at, letter in enumerate(word[1:], 2):
            one = known.get(f"-{letter}")
            if one is None:
                return
            self._give(one, word[at:] or None)
            if one.takes_value:
                return

    def _give(self, one: Option, value: str | None) -> None:
        if one.takes_value and value is None:
            self.pending = one
        else:
            self.given.append((one, value or ""))


def options(declared: Declared) -> dict[str, Option]:
    """Return the options of a command by each of their names."""
    return {name: one for one in declared.parameters if isinstance(one, Option) for name in one.names}


def complete(program: Group, words: Sequence[str], environ: Mapping[str, str]) -> Answer:
    """Return what can complete the last of *words*, which are all words after the program's name up to the cursor."""
    *before, current = map(_unquoted, words or [""])
    position = _Position(program)
    for word in before:
        position.read(word)
    declared = position.declared
    if not position.is_known:
        return Answer()
    if position.pending is not None:
        return values(position.pending, current, position.given, environ)
    if not position.ended and current.startswith("-"):
        name, equals, value = current.partition("=")
        if not equals or not name.startswith("--"):
            return Answer(tuple(_options(declared, position.given, current)))
        one = options(declared).get(name)
        if one is None or not one.takes_value:
            return Answer()
        return values(one, value, position.given, environ).behind(f"{name}=")
    if isinstance(declared, Group):
        found = (Candidate(name, entry.short.rstrip(".")) for name, entry in declared.entries().items())
        return Answer(tuple(one for one in found if one.text.startswith(current)))
    return _argument(position, current, environ)


def _argument(position: _Position, current: str, environ: Mapping[str, str]) -> Answer:
    arguments = [one for one in position.declared.parameters if isinstance(one, Argument)]
    if not arguments or not isinstance(position.declared, Command):
        return Answer()
    last = arguments[-1]
    if position.arguments >= len(arguments) and last.words.get("nargs") != -1:
        return Answer()
    return values(arguments[min(position.arguments, len(arguments) - 1)], current, position.given, environ)


def _options(declared: Declared, given: Sequence[tuple[Option, str]], current: str) -> Iterable[Candidate]:
    """Yield the names of options; without those that were given, unless they can be repeated."""
    used = {one for one, _ in given if not one.words.get("multiple")}
    for one in declared.parameters:
        if not isinstance(one, Option) or one in used:
            continue
        for name in one.names:
            if name.startswith(current) and (name.startswith("--") or current == name):
                yield Candidate(name, _first_sentence(one.words.get("help") or ""))
    if "--help".startswith(current):
        yield Candidate("--help", "Show this message and exit")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".")


def _unquoted(word: str) -> str:
    """Return *word* without the quotes and backslashes of a shell, also if its last quote is still missing."""
    if not any(character in word for character in "'\"\\"):
        return word
    import shlex

    for end in ("", "'", '"'):
        try:
            return "".join(shlex.split(word + end))
        except ValueError:
            continue
    return word


def answer(program: Group, words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print what a script asks for: a line for each candidate, KIND, TEXT and HELP with tabs between; return 0.

    KIND is `word`; `part` for a word that has to be continued; `files` or `directories` for the paths that begin with
    HELP, each after the prefix TEXT. Errors are not printed: they would be shown in the middle of a command line.
    """
    try:
        found = complete(program, words, environ)
    except Exception:  # a store that cannot be read, or anything else: there is nothing to complete
        return 0
    rows = [("part" if one.is_part else "word", one.text, one.help) for one in found.candidates]
    if found.paths:
        rows.append((found.paths, found.prefix, found.path))
    # A tab or a line break in a field would make two of it.
    write_text("".join("\t".join(row) + "\n" for row in rows if all(map(str.isprintable, row))))
    return 0
