"""The words of a template: text, and what is between `{{` and `}}` (text/template, "Text and spaces", "Arguments")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.cli.terminal.formats.errors import refused, require_short
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)'
    r"|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19}(?:\.[0-9]{1,19})?))(?![A-Za-z0-9_])"
    r"|(?P<variable>\$[A-Za-z0-9_]*)"
    r"|(?P<field>\.[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<mark>:=|[.(),|=])"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'", "a": "\a", "0": "\0"}


class Word(NamedTuple):
    """A word of an action; *spaced* if white space is before it. `kind` is a group of the pattern, or `end`."""

    kind: str
    text: str
    position: int
    spaced: bool = False


class Text(NamedTuple):
    """Literal text between two actions."""

    text: str


class Action(NamedTuple):
    """The words between `{{` and `}}`; the last one is the end."""

    words: tuple[Word, ...]
    position: int


def parts(template: str) -> Iterator[Text | Action]:
    """Yield the parts of *template*; white space next to `{{-` and `-}}` is removed. Raises UsageError."""
    require_short(template)
    at = 0
    trims = False
    while True:
        start = template.find("{{", at)
        text = template[at:] if start < 0 else template[at:start]
        if trims:
            text = text.lstrip(" \t\r\n")
        inner = start + 2
        if start >= 0 and template[inner : inner + 1] == "-" and template[inner + 1 : inner + 2].isspace():
            text, inner = text.rstrip(" \t\r\n"), inner + 1
        if text:
            yield Text(text)
        if start < 0:
            return
        if (found := _comment_end(template, inner)) is not None:
            at, trims = found
            continue
        words, at, trims = _words(template, inner, start)
        yield Action(words, start)


def _comment_end(template: str, at: int) -> tuple[int, bool] | None:
    body = template[at:].lstrip(" \t\r\n")
    if not body.startswith("/*"):
        return None
    start = len(template) - len(body)
    end = template.find("*/", start + 2)
    if end < 0:
        raise refused(start, "the comment has no end")
    for close, trims in (("}}", False), (" -}}", True)):
        if template.startswith(close, end + 2):
            return end + 2 + len(close), trims
    raise refused(end + 2, "a comment has to be followed by }}")


def _words(template: str, at: int, start: int) -> tuple[tuple[Word, ...], int, bool]:
    """Return the words of the action at *at*, the place after it, and whether it removes white space after it."""
    words: list[Word] = []
    spaced = False
    while True:
        if template.startswith("}}", at):
            return (*words, Word("end", "", at)), at + 2, False
        if spaced and template.startswith("-}}", at):
            return (*words, Word("end", "", at)), at + 3, True
        match = _WORD.match(template, at)
        if match is None:
            if at >= len(template):
                raise refused(start, "the action has no }}")
            raise refused(at, f"unexpected {template[at]!r}")
        kind = match.lastgroup or ""
        if kind == "space":
            spaced = True
        else:
            words.append(Word(kind, match[0], at, spaced))
            spaced = False
        at = match.end()


def string(word: Word) -> str:
    """Return the value of a string. Raises UsageError for an unknown escape."""
    if word.text.startswith("`"):
        return word.text[1:-1]
    found: list[str] = []
    letters = iter(word.text[1:-1])
    for letter in letters:
        if letter != "\\":
            found.append(letter)
            continue
        escape = next(letters)
        if escape not in _ESCAPES:
            raise refused(word.position, f"the string has an unknown escape: \\{escape}")
        found.append(_ESCAPES[escape])
    return "".join(found)


def number(word: Word) -> int | float:
    """Return the value of a number."""
    return float(word.text) if "." in word.text else int(word.text, 0 if "x" in word.text.lower() else 10)
