r"""JSON paths: the part of kubectl's JSONPath that names values, applied to the document that `--json` prints.

    {.config.env[0]}   {.mounts[*].source}   {.labels['a.b']}   {.env[-1]}   {.env[0:2]}   {@}   text   {"\n"}
    {range .mounts[*]}{.source}{"\n"}{end}

Several values are printed with a space between them; text as it is, everything else as JSON. A name or an index that
is not there prints nothing, as in kubectl. Not here: filters (`?()`) and recursive descent (`..`), which are errors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.cli.terminal.formats.errors import refused, require_short
from arstore.cli.terminal.formats.functions import MOST_OUTPUT
from arstore.cli.terminal.formats.values import compact
from arstore.cli.terminal.formats.words import Word, string
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = re.compile(
    r"\.(?P<name>(?:[^\s.\[\]{}()'\"*\\]|\\.)+)"
    r"|(?P<all>\.\*|\[\*\])"
    r"|\[(?P<index>-?[0-9]{1,10})\]"
    r"|\[(?P<start>-?[0-9]{0,10}):(?P<end>-?[0-9]{0,10})\]"
    r"|\[(?P<quoted>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\]"
)
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_DEEPEST = 20


class Steps(NamedTuple):
    """A path, as functions that turn one value into some."""

    steps: tuple[tuple[str, object], ...]

    def values(self, document: object) -> list[object]:
        """Return the values that the path names."""
        found = [document]
        for kind, argument in self.steps:
            found = [one for value in found for one in _below(value, kind, argument)]
        return found


class Range(NamedTuple):
    """`{range PATH}...{end}`."""

    path: Steps
    body: tuple[object, ...]


class JsonPath:
    """A parsed format."""

    def __init__(self, text: str) -> None:
        """Raises UsageError, with the position."""
        require_short(text)
        self._text = text
        self._body, end = self._parsed(0, 0)
        if end < len(text):
            raise refused(end, "{end} without range")

    def render(self, document: object) -> str:
        """Return the output for *document*. Raises UsageError if it is too long."""
        found: list[str] = []
        length = 0
        for text in _rendered(self._body, document):
            length += len(text)
            if length > MOST_OUTPUT:
                raise refused(0, f"the output has more than {MOST_OUTPUT >> 20} million characters")
            found.append(text)
        return "".join(found)

    def _parsed(self, at: int, depth: int) -> tuple[tuple[object, ...], int]:
        """Return the nodes from *at* on to `{end}` or the end of the text, and the place of that."""
        nodes: list[object] = []
        text = self._text
        while at < len(text):
            start = text.find("{", at)
            if start != at:
                stop = len(text) if start < 0 else start
                nodes.append(text[at:stop])
                at = stop
                continue
            if text.startswith("{end}", at):
                return tuple(nodes), at
            if text.startswith("{range ", at):
                if depth >= _DEEPEST:
                    raise refused(at, f"is nested more than {_DEEPEST} times")
                path, after = self._path(at + len("{range "))
                body, end = self._parsed(after, depth + 1)
                if not text.startswith("{end}", end):
                    raise refused(at, "range has no {end}")
                nodes.append(Range(path, body))
                at = end + len("{end}")
            elif (match := _STRING.match(text, at + 1)) is not None:
                nodes.append(string(Word("string", match[0], at + 1)))
                at = self._closed(match.end())
            else:
                path, at = self._path(at + 1)
                nodes.append(path)
        return tuple(nodes), at

    def _path(self, at: int) -> tuple[Steps, int]:
        while self._text.startswith(" ", at):
            at += 1
        if self._text[at : at + 1] in {"$", "@"} and self._text[at : at + 1]:
            at += 1
        elif self._text[at : at + 1] not in {".", "["}:
            raise refused(at, "not a path: it begins with a dot, such as {.id}")
        if self._text[at : at + 2] in {".}", ". "}:
            at += 1
        steps: list[tuple[str, object]] = []
        while (match := _STEP.match(self._text, at)) is not None:
            steps.append(_step(match))
            at = match.end()
        return Steps(tuple(steps)), self._closed(at)

    def _closed(self, at: int) -> int:
        while self._text.startswith(" ", at):
            at += 1
        if not self._text.startswith("}", at):
            what = repr(self._text[at]) if at < len(self._text) else "the end"
            hint = "a path has names, [N], [N:M], [*] and ['NAME']"
            raise refused(at, f"unexpected {what} in the path", hint)
        return at + 1


def _step(match: re.Match[str]) -> tuple[str, object]:
    if match["name"] is not None:
        return "name", re.sub(r"\\(.)", r"\1", match["name"])
    if match["quoted"] is not None:
        return "name", re.sub(r"\\(.)", r"\1", match["quoted"][1:-1])
    if match["index"] is not None:
        return "index", int(match["index"])
    if match["all"] is not None:
        return "all", None
    return "slice", slice(*(int(text) if text else None for text in (match["start"], match["end"])))


def _below(value: object, kind: str, argument: object) -> Iterator[object]:
    if kind == "name":
        if isinstance(value, dict) and argument in value:
            yield value[argument]
    elif kind == "all":
        if isinstance(value, dict | list | tuple):
            yield from value.values() if isinstance(value, dict) else value
    elif isinstance(value, list | tuple):
        if isinstance(argument, slice):
            yield from value[argument]
        elif isinstance(argument, int) and -len(value) <= argument < len(value):
            yield value[argument]


def _rendered(nodes: tuple[object, ...], document: object) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Range):
            for value in node.path.values(document):
                yield from _rendered(node.body, value)
        elif isinstance(node, Steps):
            yield " ".join(one if isinstance(one, str) else compact(one) for one in node.values(document))
