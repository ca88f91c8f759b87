"""What a user writes to say where images are: a path, `-`, or `TRANSPORT:PATH` with an image's name behind it.

The path may hold colons and at-signs itself: the longest beginning of it that exists is taken for the path, and what
follows for the choice. Not in scope: opening what was named (`detect`), and names in the store.
"""

from __future__ import annotations

import os
import re

from arstore.errors import InvalidReferenceError, UsageError
from arstore.oci.reference import parse_transport
from arstore.tar.entry import shown
from arstore.transport.names import EVERYTHING, Choice
from arstore.values import NamedTuple

REGISTRY = "docker"
"""The transport of images in registries; its path is a reference, not a file."""

READABLE = ("oci", "oci-archive", "docker-archive", "dir", REGISTRY)
"""The transports that a source is opened from by this package."""

STREAM = "-"
"""What stands for standard input."""

_KNOWN = ("oci:PATH[:NAME]", "oci-archive:PATH[:NAME]", "docker-archive:PATH[:NAME]", "dir:PATH", "docker://NAME")


class Location(NamedTuple):
    """Where images are: `path` (or `STREAM`), the transport when the user said which ("" otherwise), which image."""

    path: str
    transport: str = ""
    choice: Choice = EVERYTHING

    @property
    def what(self) -> str:
        """The path for a person."""
        return "standard input" if self.path == STREAM else shown(os.fsencode(self.path))

    @property
    def file_name(self) -> str:
        """The last component of the path, for an image without a name; "" for a stream."""
        if self.path == STREAM:
            return ""
        return os.fsencode(os.path.basename(os.path.abspath(self.path))).decode("utf-8", "replace")


def parse_location(text: str) -> Location:
    """Take *text* apart.

    Raises UsageError when it is empty or names a transport that is no file, InvalidReferenceError for a transport that
    does not exist and for a choice that is none.
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
        raise UsageError(shown_text, f"{transport} names no file and no stream, and only these are read here", hint)
    if transport in {"dir", REGISTRY}:
        return Location(rest, transport)
    path, behind = split_path(rest)
    return Location(path, transport, Choice.parse(behind))


def path_in(text: str) -> str:
    """The path that *text* names, for a policy's scopes; "" for a stream and for an image in a registry.

    Raises as `parse_location`.
    """
    location = parse_location(text)
    return "" if location.path == STREAM or location.transport == REGISTRY else location.path


def _printable(text: str) -> str:
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise UsageError(ascii(text)[:90], "the source holds a character that no path can have") from error
    if b"\0" in path:
        raise UsageError(shown(path), "the source holds a NUL character")
    return shown(path)


def split_path(rest: str) -> tuple[str, str]:
    """The path and what stands behind it: the longest beginning that exists, else what comes before the first colon."""
    if rest[0] == STREAM and (len(rest) == 1 or rest[1] in ":@"):
        return STREAM, rest[1:]
    places = [match.start() for match in re.finditer("[:@]", rest) if match.start()]
    for place in (len(rest), *reversed(places)):
        if os.path.lexists(rest[:place]):
            return rest[:place], rest[place:]
    first = places[0] if places else len(rest)
    return rest[:first], rest[first:]


def _refuse_unknown(text: str) -> None:
    """A word and a colon that are no file were meant for a transport."""
    match = re.match("([a-z][a-z0-9+-]*):", text)
    if match is not None and not os.path.lexists(text):
        hint = f"there are {', '.join(_KNOWN)}"
        raise InvalidReferenceError(_printable(text), f"no transport is called {match[1]}", hint)
