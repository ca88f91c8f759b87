"""Dockerfile instructions that change an image's config, for `commit --change`.

The forms are those of the Dockerfile reference for CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and
WORKDIR; `KEYWORD=TEXT` is accepted too, as in podman. Variables are not expanded. As in a Dockerfile, ENTRYPOINT clears
the image's CMD unless there is also a CMD. Not in scope: instructions that run something.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from typing import TYPE_CHECKING, Any

from arstore.errors import UsageError
from arstore.oci.config import PROCESS_FIELDS
from arstore.oci.document import STORED, encode, parse, shown
from arstore.oci.kept import KeptFields
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FORM = re.compile(r"\s*([A-Za-z]+)(?:\s*=|\s)\s*(.*?)\s*", re.DOTALL)
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_SIGNAL = re.compile(r"[0-9]{1,2}|[A-Za-z][A-Za-z0-9]*(?:[+-][0-9]{1,2})?")
_HIGHEST_PORT = 65535
_SHELL = ("/bin/sh", "-c")

Json = dict[str, Any]


class Instruction(NamedTuple):
    """A change of the `config` object of an image's config: the keyword in capitals, and the text after it."""

    keyword: str
    text: str

    @classmethod
    def parse(cls, line: str) -> Instruction:
        """Read *line*. Raises UsageError for an unknown keyword or an invalid text."""
        found = _FORM.fullmatch(line)
        keyword = found[1].upper() if found else ""
        if found is None or keyword not in _CHANGES or "\0" in line:
            raise UsageError(shown(line), "is not an instruction that changes a config", f"use {', '.join(_CHANGES)}")
        if not found[2]:
            raise UsageError(shown(line), f"{keyword} has no value")
        instruction = cls(keyword, found[2])
        instruction.apply({})
        return instruction

    def apply(self, process: Json) -> None:
        """Apply the change to *process*, the `config` object. Raises UsageError."""
        _CHANGES[self.keyword](process, self.text)


def changed(config: bytes, instructions: Iterable[Instruction]) -> bytes:
    """Return the bytes of *config*, an image's config, after *instructions* in order.

    Raises ManifestError, LimitError, UsageError.
    """
    document = parse(config, "config", STORED)
    process = KeptFields(document).inner("config", PROCESS_FIELDS, "config").values
    instructions = list(instructions)
    keywords = {instruction.keyword for instruction in instructions}
    if "ENTRYPOINT" in keywords and "CMD" not in keywords:
        process.pop("Cmd", None)
    for instruction in instructions:
        instruction.apply(process)
    document["config"] = process
    return encode(document)


def _command(key: str) -> Callable[[Json, str], None]:
    def change(process: Json, text: str) -> None:
        words = _json_words(text)
        process[key] = [*(KeptFields(process).words("Shell") or _SHELL), text] if words is None else words

    return change


def _text_setter(key: str) -> Callable[[Json, str], None]:
    def change(process: Json, text: str) -> None:
        process[key] = text

    return change


def _environment(process: Json, text: str) -> None:
    known = [variable for variable in KeptFields(process).items("Env") if isinstance(variable, str)]
    variables = {variable.partition("=")[0]: variable for variable in known}
    for name, value in _pairs(text):
        variables[name] = f"{name}={value}"
    process["Env"] = list(variables.values())


def _labels(process: Json, text: str) -> None:
    process["Labels"] = {**KeptFields(process).mapping("Labels"), **dict(_pairs(text))}


def _ports(process: Json, text: str) -> None:
    ports = dict(KeptFields(process).mapping("ExposedPorts"))
    for word in _words(text):
        found = _PORT.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if found is None or not 0 < first <= last <= _HIGHEST_PORT:
            raise UsageError(shown(word), "is not a port", "write PORT, PORT/udp or FIRST-LAST")
        ports.update({f"{port}/{(found[3] or 'tcp').lower()}": {} for port in range(first, last + 1)})
    process["ExposedPorts"] = ports


def _volumes(process: Json, text: str) -> None:
    words = _json_words(text)
    places = _words(text) if words is None else words
    for place in places:
        if not place.startswith("/") or posixpath.normpath(place).strip("/") == "":
            raise UsageError(shown(place) or "''", "is not an absolute path of a volume")
    process["Volumes"] = {**KeptFields(process).mapping("Volumes"), **{place: {} for place in places}}


def _working_directory(process: Json, text: str) -> None:
    joined = posixpath.join("/", KeptFields(process).text("WorkingDir"), text)
    process["WorkingDir"] = "/" + posixpath.normpath(joined).lstrip("/")


def _stop_signal(process: Json, text: str) -> None:
    if _SIGNAL.fullmatch(text) is None:
        raise UsageError(shown(text), "is not a signal", "write a number or a name such as SIGTERM")
    process["StopSignal"] = text


_CHANGES: dict[str, Callable[[Json, str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _environment,
    "EXPOSE": _ports,
    "LABEL": _labels,
    "STOPSIGNAL": _stop_signal,
    "USER": _text_setter("User"),
    "VOLUME": _volumes,
    "WORKDIR": _working_directory,
}


def _json_words(text: str) -> list[str] | None:
    """Return the words of a JSON list; None for other text, which a Dockerfile treats as a shell command."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    if any("\0" in word for word in words):
        raise UsageError(shown(text), "contains a NUL character")
    return words


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the pairs of `NAME=VALUE ...`, with quotes as in a shell, or of the old form `NAME VALUE` for one pair."""
    name, _, rest = text.partition(" ")
    if "=" not in name:
        if not rest.strip():
            raise UsageError(shown(text), "has no value", "write NAME=VALUE")
        return [(name, rest.strip())]
    found = []
    for word in _words(text):
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UsageError(shown(word), "is not a pair", "write NAME=VALUE, and quote values with blanks")
        found.append((name, value))
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(shown(text), "has an unterminated quote") from error
