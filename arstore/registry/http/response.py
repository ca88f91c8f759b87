"""Read an HTTP/1.1 answer: its head, and its body up to its end (RFC 9112).

It replaces `http.client`, which parses headers as mail: that takes 15 ms to import and copies every byte of a body
twice. Anything unknown is refused: a malformed status line or header, more than `_MOST_HEADERS` headers, lines of more
than `_LONGEST_LINE` bytes, a transfer coding other than `chunked`. Not in scope: where the bytes come from
(`connection`), and what an answer means.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from arstore.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    class Bytes(Protocol):
        """The stream that an answer is read from."""

        def line(self, most: int) -> bytes:
            """The bytes up to and including the next line feed; fewer only at the end of the stream, or if the line
            has more than *most* bytes.
            """

        def some(self, size: int) -> bytes:
            """At most *size* bytes, b"" at the end of the stream."""


_STATUS = pattern(rb"(?s)HTTP/1\.([0-9])[ \t]+([1-9][0-9]{2})(?:[ \t].*)?")
_HEADER = pattern(rb"(?s)([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*(.*?)[ \t]*")
_CHUNK = pattern(rb"(?s)[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_MOST_HEADERS = 100
_LONGEST_LINE = 1 << 16
_MOST_INTERIM = 20
"""Interim answers (status 1xx) that may precede the final one."""


class MalformedError(Exception):
    """The bytes received are not a valid HTTP/1.1 answer; the text says why."""


class EndedError(Exception):
    """The connection was closed before the answer was complete."""


class Headers:
    """The headers of an answer, in their order; the case of names does not matter."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str, default: str = "") -> str:
        """The first value of the header *name*."""
        return next(self._values(name), default)

    def get_all(self, name: str) -> list[str]:
        """Every value of the header *name*."""
        return list(self._values(name))

    def has_token(self, name: str, token: str) -> bool:
        """Whether the list in the header *name* has *token*."""
        return any(token == one.strip().lower() for value in self._values(name) for one in value.split(","))

    def _values(self, name: str) -> Iterator[str]:
        name = name.lower()
        return (value for key, value in self._fields if key == name)


class Response:
    """An answer whose head was read. `length` is the valid Content-Length, or None."""

    def __init__(self, source: Bytes, method: str, version: int, status: int, headers: Headers) -> None:
        self._source = source
        self.status = status
        self.headers = headers
        coding = ",".join(headers.get_all("Transfer-Encoding")).strip().lower()
        if coding not in {"", "identity", "chunked"}:
            raise MalformedError("its transfer coding is not supported")
        self.chunked = coding == "chunked"
        length = headers.get("Content-Length").strip()
        self.length = int(length) if not self.chunked and re.fullmatch("[0-9]{1,18}", length) else None
        self.is_empty = method == "HEAD" or status in {204, 304}
        is_unbounded = not (self.chunked or self.is_empty or self.length is not None)
        keeps = version > 0 or headers.has_token("Connection", "keep-alive")
        self.will_close = is_unbounded or not keeps or headers.has_token("Connection", "close")
        self._left = 0
        """Bytes that remain of the current chunk."""
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most *size* bytes of the body, b"" at its end; a body with a length must not be read past it.

        Raises MalformedError, EndedError, and the errors of the source.
        """
        if not self.chunked:
            return self._source.some(size)
        if not self._left and not self._ended:
            self._begin_chunk()
        if self._ended:
            return b""
        data = self._source.some(min(size, self._left))
        if not data:
            raise EndedError
        self._left -= len(data)
        if not self._left and _line(self._source):
            raise MalformedError("a chunk does not have the announced size")
        return data

    def _begin_chunk(self) -> None:
        match = _CHUNK.fullmatch(_line(self._source))
        if match is None:
            raise MalformedError("a chunk has no size")
        self._left = int(match[1], 16)
        if not self._left:
            for _ in _fields(self._source):
                pass
            self._ended = True


def read_response(source: Bytes, method: str) -> Response:
    """Read the head of the answer to a request of *method*, skipping interim answers.

    Raises MalformedError, EndedError, and the errors of the source.
    """
    for _ in range(_MOST_INTERIM):
        match = _STATUS.fullmatch(_line(source))
        if match is None:
            raise MalformedError("its first line is not a status line of HTTP/1.1")
        version, status = int(match[1]), int(match[2])
        headers = Headers(list(_fields(source)))
        if status >= 200 or status == 101:
            return Response(source, method, version, status, headers)
    raise MalformedError("it has too many interim answers (status 1xx)")


def _fields(source: Bytes) -> Iterator[tuple[str, str]]:
    """Header lines up to the empty line; a line that begins with a blank continues the previous one."""
    name, value = b"", b""
    for _ in range(_MOST_HEADERS + 1):
        line = _line(source)
        if name and line[:1] in {b" ", b"\t"}:
            value += b" " + line.strip(b" \t")
            continue
        if name:
            yield name.decode("ascii").lower(), value.decode("latin-1")
        if not line:
            return
        match = _HEADER.fullmatch(line)
        if match is None:
            raise MalformedError("a header does not have a name")
        name, value = match[1], match[2]
    raise MalformedError("it has too many headers")


def _line(source: Bytes) -> bytes:
    """The next line without its end."""
    line = source.line(_LONGEST_LINE)
    if line.endswith(b"\n"):
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]
    if len(line) > _LONGEST_LINE:
        raise MalformedError("a line is too long")
    raise EndedError
