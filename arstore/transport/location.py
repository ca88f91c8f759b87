"""Parse what a user writes for a source of images: a path, `-`, or `TRANSPORT:PATH` followed by an image's name.

The path may contain colons and at-signs: the longest prefix that exists is taken as the path, and the rest as the
choice of an image. Not in scope: opening the source (`detect`), and names in the store.
"""

from __future__ import annotations

import os

from arstore.errors import InvalidReferenceError, UsageError
from arstore.oci.reference import parse_transport
from arstore.pattern import pattern
from arstore.tar.entry import shown
from arstore.transport.names import EVERYTHING, Choice
from arstore.values import NamedTuple

REGISTRY = "docker"
"""The transport of images in registries; its path is a reference, not a file."""

READABLE = ("oci", "oci-archive", "docker-archive", "dir", REGISTRY)
"""The transports of the sources that this package opens."""

STREAM = "-"
"""The argument that means standard input."""

_BEHIND = pattern("[:@]")
_TRANSPORT = pattern("([a-z][a-z0-9+-]*):")
_KNOWN = ("oci:PATH[:NAME]", "oci-archive:PATH[:NAME]", "docker-archive:PATH[:NAME]", "dir:PATH", "docker://NAME")


class Location(NamedTuple):
    """A source: `path` (or `STREAM`), the transport ("" if the user gave none), and the choice of images."""

    path: str
    transport: str = ""
    choice: Choice = EVERYTHING

    @property
    def what(self) -> str:
        """The path, made safe to print."""
        return "standard input" if self.path == STREAM else shown(os.fsencode(self.path))

    @property
    def file_name(self) -> str:
        """The last component of the path, used to name an image without a name; "" for a stream."""
        if self.path == STREAM:
            return ""
        return os.fsencode(os.path.basename(os.path.abspath(self.path))).decode("utf-8", "replace")


def parse_location(text: str) -> Location:
    """Parse *text*.

    Raises UsageError if it is empty or its transport is not one of files, InvalidReferenceError for an unknown
    transport and for a malformed choice.
    """
    if not text:
        raise UsageError("", "the source is empty")
    shown_text = _printable(text)
    transport, rest = parse_transport(text)
    if not transport:
        _refuse_unknown(text)
        return Location(text)
    if transport not in READABLE:
        hint = f"sources are a path, a stream (-), or {', '.join(_KNOWN)}"
        raise UsageError(shown_text, f"the transport {transport} is not supported as a source", hint)
    if transport in {"dir", REGISTRY}:
        return Location(rest, transport)
    path, behind = split_path(rest)
    return Location(path, transport, Choice.parse(behind))


def path_in(text: str) -> str:
    """The path that *text* names, for a policy's scopes; "" for a stream and for an image in a registry.

    Raises UsageError, InvalidReferenceError.
    """
    location = parse_location(text)
    return "" if location.path == STREAM or location.transport == REGISTRY else location.path


def _printable(text: str) -> str:
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise UsageError(ascii(text)[:90], "the source holds a character that a path cannot have") from error
    if b"\0" in path:
        raise UsageError(shown(path), "the source holds a NUL character")
    return shown(path)


def split_path(rest: str) -> tuple[str, str]:
    """Split *rest* into the path and what follows it: after the longest prefix that exists, else at the first colon."""
    if rest[0] == STREAM and (len(rest) == 1 or rest[1] in ":@"):
        return STREAM, rest[1:]
    places = [match.start() for match in _BEHIND.finditer(rest) if match.start()]
    for place in (len(rest), *reversed(places)):
        if os.path.lexists(rest[:place]):
            return rest[:place], rest[place:]
    first = places[0] if places else len(rest)
    return rest[:first], rest[first:]


def _refuse_unknown(text: str) -> None:
    """Refuse a word with a colon that is not a file: the user meant a transport. Raises InvalidReferenceError."""
    match = _TRANSPORT.match(text)
    if match is not None and not os.path.lexists(text):
        hint = f"known transports: {', '.join(_KNOWN)}"
        raise InvalidReferenceError(_printable(text), f"unknown transport {match[1]}", hint)
