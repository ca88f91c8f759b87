"""What is written to stdout: JSON documents, aligned tables, lines and raw bytes; and text made safe to show.

Names, labels and paths come from images and are hostile: whatever is written for people is one line where it was
meant to be one, without control characters. JSON is plain ASCII, so that no locale and no byte of a file name can
spoil it. Bytes that are no UTF-8 are escaped in both. `write_path` and `write_shown` write them as they are, but not to
a terminal.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import contextmanager
from itertools import chain, islice
from operator import add
from typing import TYPE_CHECKING

from arstore.errors import HostError, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

STDOUT, STDERR = "standard output", "standard error"
CLOSED = "is closed"

_BATCH = 1000
"""Rows, or items, that are written together."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class ClosedStreamError(Exception):
    """Whoever read our output has gone, before all of it was written."""


def printable(text: str) -> str:
    """*text* for one line on a terminal: what is not printable is escaped, and so are bytes that are no text."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def write_text(text: str) -> None:
    """Write *text* to stdout, now. Raises ClosedStreamError; HostError when it is a file that fails, or closed."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ClosedStreamError from error
    except OSError as error:
        raise unwritten(error) from error


def write_bytes(data: bytes, to_stderr: bool = False) -> None:
    """Write *data* to stdout (or stderr) as it is, now. Raises as `write_text`."""
    stream = sys.stderr if to_stderr else sys.stdout
    if stream is None:
        raise HostError(STDERR, CLOSED)
    try:
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()
    except BrokenPipeError as error:
        raise ClosedStreamError from error
    except OSError as error:
        raise unwritten(error, STDERR if to_stderr else STDOUT) from error


def write_shown(data: bytes, *, to_stderr: bool = False, colours: bool = False) -> None:
    """Write *data*, which an image or a container has made: exactly, but safe to show on a terminal.

    On a terminal, line breaks and tabs stay; other control characters and bytes that are not UTF-8 are escaped.
    Sequences that only colour text stay with *colours*. Raises as `write_text`.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    if stream is not None and stream.isatty():
        text = data.decode("utf-8", "surrogateescape")
        shown = "\n".join(_coloured(line) if colours else _tabbed(line) for line in text.split("\n"))
        data = shown.encode(stream.encoding or "ascii", "backslashreplace")
    write_bytes(data, to_stderr)


def _tabbed(line: str) -> str:
    return line if line.isprintable() else "\t".join(map(printable, line.split("\t")))


def _coloured(line: str) -> str:
    """*line* with its colours (SGR of ECMA-48), which end with it, and without a carriage return at its end."""
    line = line.removesuffix("\r")
    if line.isprintable():
        return line
    import re

    parts = re.split("(\x1b\\[[0-9;:]*m)", line)
    shown = [part if place % 2 else _tabbed(part) for place, part in enumerate(parts)]
    return "".join(shown) + ("\x1b[0m" if len(parts) > 1 else "")


def unwritten(error: OSError, stream: str = STDOUT) -> HostError:
    """The error for a *stream* that could not be written to, which is one of the host whatever the reason."""
    return HostError(stream, CLOSED if error.errno == errno.EBADF else reason(error))


@contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """Let what other programs, to which our streams are passed on, write to stdout go to stderr meanwhile."""
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def write_line(*words: str) -> None:
    """Write the words as one line for people."""
    write_text(" ".join(printable(word) for word in words) + "\n")


def write_path(path: str) -> None:
    """Write a path: exactly to whoever reads it by program, safe to show on a terminal."""
    if sys.stdout.isatty():
        write_line(path)
    else:
        write_bytes(os.fsencode(path) + b"\n")


def write_json(document: object) -> None:
    """Write one JSON document; with line breaks for whoever looks at it on a terminal."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    write_text(json_text(document, indent=2 if terminal else None) + "\n")


def write_indented(document: object) -> None:
    """Write one JSON document as people read it, wherever it goes."""
    write_text(json_text(document, indent=2) + "\n")


def write_json_list(items: Iterable[object]) -> None:
    """As `write_json`, for a list of which only some items are held at a time."""
    indent = 2 if sys.stdout is not None and sys.stdout.isatty() else None
    start, between, end = ("[", ", ", "]") if indent is None else ("[\n  ", ",\n  ", "\n]")
    texts = (json_text(item, indent=indent).replace("\n", "\n  ") for item in items)
    first = next(texts, None)
    if first is None:
        write_text("[]\n")
        return
    write_text(start + first)
    while some := list(islice(texts, _BATCH)):
        write_text(between + between.join(some))
    write_text(end + "\n")


def json_text(document: object, indent: int | None = None) -> str:
    """*document* as JSON, in ASCII; bytes of file names that are not UTF-8 are escaped in it as in `printable`.

    JSON has no way to write such bytes, and what Python makes of them (PEP 383) is refused by many parsers.
    """
    text = json.dumps(document, indent=indent)
    return json.dumps(_as_text(document), indent=indent) if "\\udc" in text else text


def _as_text(value: object) -> object:
    if isinstance(value, str):
        return "".join(_escaped(c) if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {_as_text(key): _as_text(one) for key, one in value.items()}
    return list(map(_as_text, value)) if isinstance(value, list | tuple) else value


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write aligned columns; a heading that ends in `>` (not shown) is that of a column of numbers."""
    columns = [
        _aligned([title.removesuffix(">"), *cells], title.endswith(">"))
        for title, cells in zip(head, list(zip(*rows, strict=True)) or [()] * len(head), strict=True)
    ]
    write_text("".join(f"{'  '.join(row).rstrip()}\n" for row in zip(*columns, strict=True)))


def write_long_table(head: Sequence[str], rows: Callable[[], Iterable[Sequence[str]]]) -> None:
    """As `write_table`, for rows of which only some are held at a time: they are made twice."""
    titles = [title.removesuffix(">") for title in head]
    widths = list(map(len, titles))
    for row in rows():
        widths = list(map(max, widths, map(_width, map(printable, row))))
    are_right = [title.endswith(">") for title in head]
    lines = (_line(row, widths, are_right) for row in chain([titles], rows()))
    while some := list(islice(lines, _BATCH)):
        write_text("".join(some))


def _line(row: Sequence[str], widths: Sequence[int], are_right: Sequence[bool]) -> str:
    cells = []
    for cell, width, is_right in zip(map(printable, row), widths, are_right, strict=True):
        spaces = " " * (width - _width(cell))
        cells.append(spaces + cell if is_right else cell + spaces)
    return "  ".join(cells).rstrip() + "\n"


def _aligned(cells: list[str], right: bool) -> list[str]:
    """The *cells* of a column, as they can be printed, all of one width."""
    # There may be many, and nearly always nothing is special about any.
    whole = "".join(cells)
    if not whole.isprintable():
        cells = list(map(printable, cells))
        whole = "".join(cells)
    if whole.isascii():
        width = max(map(len, cells))
        return [cell.rjust(width) for cell in cells] if right else [cell.ljust(width) for cell in cells]
    widths = list(map(_width, cells))
    spaces = [" " * (max(widths) - width) for width in widths]
    return list(map(add, *((spaces, cells) if right else (cells, spaces))))


def _width(text: str) -> int:
    """Columns that a terminal takes for *text*."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def human_size(count: float) -> str:
    """Bytes for people, in powers of 1000: `512 B`, `63.2 MB`."""
    for unit in _UNITS:
        if count < 999.95 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def short_digest(digest: str) -> str:
    """The first twelve hexadecimal digits of *digest*."""
    return digest.partition(":")[2][:12]


def short_time(text: str) -> str:
    """A time from a document, RFC 3339 where the writer kept to it, in minutes; `-` for none."""
    return text[:16].replace("T", " ") if text else "-"


def utc_time(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC."""
    from time import gmtime, strftime

    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))
