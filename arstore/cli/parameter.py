"""Parameters of commands: options, arguments, and the kinds of values that they take.

These are declarations with click's keywords that do not import click. `line` parses plain command lines with them, and
`clicked` converts them to click parameters for help and usage errors.
"""

from __future__ import annotations

import os
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from arstore.cli.session import Session

    F = TypeVar("F", bound="Callable[..., Any]")


class Text:
    """Any word. Unless *empty*, the empty word is refused: in scripts it usually comes from an unset variable."""

    def __init__(self, empty: bool = False) -> None:
        self.empty = empty

    def read(self, word: str) -> object:
        """Return the value of *word*. Raises ValueError if the word has to be left to click."""
        if not word and not self.empty:
            raise ValueError(word)
        return word


class Choice(Text):
    """One word of a fixed list."""

    def __init__(self, choices: Iterable[str]) -> None:
        super().__init__()
        self.choices = tuple(choices)

    def read(self, word: str) -> object:
        """See Text."""
        if word not in self.choices:
            raise ValueError(word)
        return word


class Range(Text):
    """A finite number of the type *number*, from *min* to *max*. *min* itself is excluded if *min_open*."""

    def __init__(
        self,
        number: type[int] | type[float],
        min: float | None = None,
        max: float | None = None,
        min_open: bool = False,
    ) -> None:
        super().__init__()
        self.number = number
        self.min, self.max, self.min_open = min, max, min_open

    def read(self, word: str) -> object:
        """See Text."""
        value = self.number(word)
        if not isfinite(value):
            raise ValueError(word)
        if self.min is not None and (value <= self.min if self.min_open else value < self.min):
            raise ValueError(word)
        if self.max is not None and value > self.max:
            raise ValueError(word)
        return value


class FilePath(Text):
    """A path that need not exist; if it does, it must be readable. Empty would mean the current directory."""

    def read(self, word: str) -> object:
        """See Text."""
        if not word or (word != "-" and os.path.exists(word) and not os.access(word, os.R_OK)):
            raise ValueError(word)
        return word


TEXT = Text()
ANY = Text(empty=True)
"""A text whose empty word has a meaning, or means the same as no word."""
RAW = Text(empty=True)
"""The same as ANY, but click does not process the words."""


ON, OFF = "true", "false"
"""Values that an option without a value may be given all the same, after `=`."""


class Parameter:
    """An option or an argument. `words` has click's keyword arguments for it."""

    __slots__ = ("apply", "declarations", "ends", "kind", "name", "words")

    def __init__(self, declarations: tuple[str, ...], kind: Text, words: dict[str, Any]) -> None:
        self.declarations = declarations
        self.kind = kind
        self.words = words
        self.apply: Callable[[Session, Any], None] | None = None
        """Called with the session and the value if the option was given. The command does not get the value."""
        self.ends = False
        """Whether the program exits after `apply`, without running a command."""
        self.name = _name(declarations)
        """The name of the command's keyword argument."""

    @property
    def default(self) -> object:
        """Return the value if the parameter is not given."""
        if "default" in self.words:
            return self.words["default"]
        if self.words.get("multiple") or self.words.get("nargs") == -1:
            return ()
        return False if self.words.get("is_flag") else None


class Argument(Parameter):
    """A parameter that is identified by its position."""

    __slots__ = ()

    @property
    def required(self) -> bool:
        """Return whether it must be given."""
        given: bool | None = self.words.get("required")
        return given if given is not None else "default" not in self.words and self.words.get("nargs") != -1


class Option(Parameter):
    """A parameter that begins with a dash."""

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names that the user can type, such as -q and --quiet."""
        return tuple(text for text in self.declarations if text.startswith("-"))

    @property
    def is_switch(self) -> bool:
        """Return whether it is on or off: `--NAME`, `--NAME=true` or `--NAME=false`, as with podman."""
        return bool(self.words.get("is_flag")) and self.apply is None

    @property
    def takes_value(self) -> bool:
        """Whether the next word is its value."""
        return not self.words.get("is_flag") and "flag_value" not in self.words


def _name(declarations: tuple[str, ...]) -> str:
    """Return the name of a parameter, by click's rules."""
    for text in declarations:
        if not text.startswith("-"):
            return text
    return max(declarations, key=lambda text: len(text) - len(text.lstrip("-"))).lstrip("-").replace("-", "_").lower()


def option(
    *declarations: str,
    help: str,
    type: Text = TEXT,
    apply: Callable[[Session, Any], None] | None = None,
    ends: bool = False,
    **words: object,
) -> Callable[[F], F]:
    """Return a decorator that adds an option to a command's function. *help* is one paragraph without indentation."""
    made = Option(declarations, type, {**words, "help": help})
    made.apply, made.ends = apply, ends
    return _decorator(made)


def argument(name: str, *, type: Text = TEXT, **words: object) -> Callable[[F], F]:
    """Return a decorator that adds an argument to a command's function."""
    return _decorator(Argument((name,), type, words))


def _decorator(made: Parameter) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        vars(function).setdefault("parameters", []).insert(0, made)
        return function

    return decorate
