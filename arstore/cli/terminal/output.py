"""Write to stdout: JSON documents, aligned tables, lines and raw bytes; and make text safe to show.

Names, labels and paths come from images and may be hostile: control characters and line breaks in them are escaped in
output for people. JSON is plain ASCII, so that it is valid in any locale and with any byte in a file name. Bytes that
are not UTF-8 are escaped in both. `write_path` and `write_shown` write bytes unchanged, except to a terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING

from arstore import json
from arstore.builtin import add, contextmanager
from arstore.errors import HostError, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

STDOUT, STDERR = "standard output", "standard error"
CLOSED = "is closed"

_BATCH = 1000
"""Rows, or items, that are written with one call."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class ClosedStreamError(Exception):
    """The reader of our output has closed it before everything was written."""


def printable(text: str) -> str:
    """Return *text* as one line for a terminal; unprintable characters and bytes that are not UTF-8 are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def write_text(text: str) -> None:
    """Write *text* to stdout and flush it. Raises ClosedStreamError; HostError if stdout cannot be written."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ClosedStreamError from error
    except OSError as error:
        raise unwritten(error) from error


def write_bytes(data: bytes, to_stderr: bool = False) -> None:
    """Write *data* unchanged to stdout (or stderr) and flush it. Raises ClosedStreamError, HostError."""
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
    """Write *data* that comes from an image or a container: unchanged, except for what is not safe on a terminal.

    On a terminal, line breaks and tabs stay; other control characters and bytes that are not UTF-8 are escaped.
    With *colours*, sequences that only colour text stay. Raises ClosedStreamError, HostError.
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
    """Return *line* with its colours (SGR of ECMA-48) reset at the end, and without a trailing carriage return."""
    line = line.removesuffix("\r")
    if line.isprintable():
        return line
    import re

    parts = re.split("(\x1b\\[[0-9;:]*m)", line)
    shown = [part if place % 2 else _tabbed(part) for place, part in enumerate(parts)]
    return "".join(shown) + ("\x1b[0m" if len(parts) > 1 else "")


def unwritten(error: OSError, stream: str = STDOUT) -> HostError:
    """Return the HostError for a *stream* that could not be written, whatever the reason."""
    return HostError(stream, CLOSED if error.errno == errno.EBADF else reason(error))


@contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """Redirect stdout to stderr for the duration of the context, for programs that inherit our streams."""
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def write_line(*words: str) -> None:
    """Write the words as one line, escaped for people."""
    write_text(" ".join(printable(word) for word in words) + "\n")


def write_path(path: str) -> None:
    """Write a path: escaped on a terminal, byte for byte elsewhere."""
    if sys.stdout.isatty():
        write_line(path)
    else:
        write_bytes(os.fsencode(path) + b"\n")


def write_json(document: object) -> None:
    """Write one JSON document, indented on a terminal."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    write_text(json_text(document, indent=2 if terminal else None) + "\n")


def write_indented(document: object) -> None:
    """Write one JSON document, always indented."""
    write_text(json_text(document, indent=2) + "\n")


def write_json_list(items: Iterable[object]) -> None:
    """Write a JSON list as `write_json` does, with only some items in memory at a time."""
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
    """Return *document* as ASCII JSON; bytes of file names that are not UTF-8 are escaped as in `printable`.

    JSON cannot represent these bytes, and many parsers refuse Python's lone surrogates for them (PEP 383).
    """
    text = json.dumps(document, indent=indent)
    return json.dumps(_as_text(document), indent=indent) if "\\udc" in text else text


def _as_text(value: object) -> object:
    if isinstance(value, str):
        return "".join(_escaped(c) if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {_as_text(key): _as_text(one) for key, one in value.items()}
    return list(map(_as_text, value)) if isinstance(value, list | tuple) else value


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, heading: bool = True) -> None:
    """Write aligned columns, with their *heading*.

    A heading that ends in `>` (not printed) right-aligns its column, for numbers.
    """
    columns = [
        _aligned([title.removesuffix(">"), *cells], title.endswith(">"))
        for title, cells in zip(head, list(zip(*rows, strict=True)) or [()] * len(head), strict=True)
    ]
    lines = [f"{'  '.join(row).rstrip()}\n" for row in zip(*columns, strict=True)]
    write_text("".join(lines if heading else lines[1:]))


def write_long_table(head: Sequence[str], rows: Callable[[], Iterable[Sequence[str]]]) -> None:
    """Write a table as `write_table` does, with only some rows in memory at a time: *rows* is called twice."""
    titles = [title.removesuffix(">") for title in head]
    widths = list(map(len, titles))
    for row in rows():
        widths = list(map(max, widths, map(text_width, map(printable, row))))
    are_right = [title.endswith(">") for title in head]
    lines = (_line(row, widths, are_right) for row in chain([titles], rows()))
    while some := list(islice(lines, _BATCH)):
        write_text("".join(some))


def _line(row: Sequence[str], widths: Sequence[int], are_right: Sequence[bool]) -> str:
    cells = []
    for cell, width, is_right in zip(map(printable, row), widths, are_right, strict=True):
        spaces = " " * (width - text_width(cell))
        cells.append(spaces + cell if is_right else cell + spaces)
    return "  ".join(cells).rstrip() + "\n"


def _aligned(cells: list[str], right: bool) -> list[str]:
    """Return the *cells* of a column, escaped and padded to one width."""
    # There may be many cells, and nearly always none needs escaping.
    whole = "".join(cells)
    if not whole.isprintable():
        cells = list(map(printable, cells))
        whole = "".join(cells)
    if whole.isascii():
        width = max(map(len, cells))
        return [cell.rjust(width) for cell in cells] if right else [cell.ljust(width) for cell in cells]
    widths = list(map(text_width, cells))
    spaces = [" " * (max(widths) - width) for width in widths]
    return list(map(add, *((spaces, cells) if right else (cells, spaces))))


def text_width(text: str) -> int:
    """Return the number of columns of *text* on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def human_size(count: float) -> str:
    """Return a number of bytes for people, in powers of 1000: `512 B`, `63.2 MB`."""
    for unit in _UNITS:
        if count < 999.95 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def short_digest(digest: str) -> str:
    """Return the first twelve hexadecimal digits of *digest*."""
    return digest.partition(":")[2][:12]


def short_time(text: str) -> str:
    """Return a time from a document (normally RFC 3339) up to its minutes; `-` if it is empty."""
    return text[:16].replace("T", " ") if text else "-"


def utc_time(seconds: float) -> str:
    """Return *seconds* since the epoch as RFC 3339 in UTC."""
    from time import gmtime, strftime

    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))
