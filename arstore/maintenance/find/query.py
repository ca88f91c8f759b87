"""Queries: a path, a digest, or a pattern, told apart by their form.

    sha256:HEX, sha512:HEX, blake3:HEX, 64 hexadecimal digits    a digest
    a word with * ? or [                                         a pattern
    a word with a slash                                          a path
    any other word                                               a name in any directory, like a pattern

A pattern without a slash is compared with names, one with a slash with whole paths. `*`, `?` and `[...]` match within a
name, and `**` also matches slashes, as in the shell (glob(7), bash's globstar).
"""

from __future__ import annotations

import os
import re
import stat
from hashlib import sha256
from typing import TYPE_CHECKING

from blake3 import blake3

from arstore.digest import CHUNK
from arstore.errors import UsageError
from arstore.trees.contents.file_digests import LENGTH, SMALL
from arstore.trees.contents.row import BLAKE3, SHA256
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIGEST = re.compile(r"(?:(sha256|sha512|blake3):)?([0-9a-f]+)")
_SPECIAL = re.compile(r"[*?[]")
_FLAGS = {"": SHA256 | BLAKE3, "sha256": SHA256, "blake3": BLAKE3, "sha512": 0}
_SHORTEST, _WHOLE = 2 * LENGTH, {"sha256": 64, "sha512": 128, "blake3": 64, "": 64}
_MOST_WIDE = 2
_TOKEN = re.compile(rb"\*+|\[[!^]?+.[^\]]*\]|.", re.DOTALL)
"""Stars, a bracket expression (whose first byte may be a bracket), or any other byte."""
_NAME = rb"[^/\0]"


class PathQuery(NamedTuple):
    """One path, without a leading slash."""

    path: bytes


class DigestQuery(NamedTuple):
    """A digest: as digests of the store are written ("" if it is cut short), its first 16 bytes, and flags of rows.

    `is_sized`: the size of the file is known, and so which digest an import has computed of equal files.
    """

    text: str
    start: bytes
    flags: int
    is_sized: bool = False


class PatternQuery(NamedTuple):
    """An expression that matches a zero byte and a path in the text of a page; *literal* is in every such path."""

    expression: re.Pattern[bytes]
    literal: bytes


Query = PathQuery | DigestQuery | PatternQuery


def parse(text: str) -> Query:
    """Return the query that *text* means. Raises UsageError."""
    if not text:
        raise UsageError("''", "is not a path, a digest or a pattern")
    if "\0" in text:
        raise UsageError("the path", "contains a zero byte")
    found = _DIGEST.fullmatch(text.lower())
    if found and (found[1] or len(found[2]) == _WHOLE[""]):
        return _digest(text, found[1] or "", found[2])
    if _SPECIAL.search(text):
        return _pattern(text)
    if "/" in text:
        return PathQuery(os.fsencode(os.path.normpath("/" + text.lstrip("/"))[1:]))
    return _compiled([re.escape(os.fsencode(text))], True, os.fsencode(text))


def of_content(path: str) -> DigestQuery:
    """Return the query for files with the content of the file *path*, which is read. Raises OSError, UsageError."""
    with open(path, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(path, "is not a regular file")
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise UsageError(path, "is empty; empty files have no digests")
        small = size <= SMALL
        hasher = sha256() if small else blake3()
        while data := file.read(CHUNK):
            hasher.update(data)
    return DigestQuery("", hasher.digest()[:LENGTH], SHA256 if small else BLAKE3, True)


def _digest(text: str, algorithm: str, digits: str) -> DigestQuery:
    whole = _WHOLE[algorithm]
    if not _SHORTEST <= len(digits) <= whole:
        raise UsageError(text, f"has {len(digits)} hexadecimal digits; give {whole}, or at least the first {_SHORTEST}")
    named = f"{algorithm or 'sha256'}:{digits}" if len(digits) == whole and algorithm != "blake3" else ""
    return DigestQuery(named, bytes.fromhex(digits[:_SHORTEST]), _FLAGS[algorithm])


def _pattern(text: str) -> PatternQuery:
    pattern = os.fsencode(text)
    by_name = b"/" not in pattern
    pattern = pattern.lstrip(b"/")
    if pattern.count(b"**") > _MOST_WIDE:
        raise UsageError(text, f"has ** more than {_MOST_WIDE} times")
    literals: list[bytes] = []
    names = pattern.split(b"/")
    parts: list[bytes] = []
    for number, name in enumerate(names):
        is_last = number == len(names) - 1
        if name == b"**":
            parts.append(rb"[^\0]*" if is_last else rb"(?:[^\0]*/)?")
        else:
            parts.append(b"".join(_name(name, literals)) + (b"" if is_last else b"/"))
    return _compiled(parts, by_name, max(literals, key=len, default=b""))


def _compiled(parts: list[bytes], by_name: bool, literal: bytes) -> PatternQuery:
    start = rb"(?:[^\0]*/)?" if by_name else b""
    return PatternQuery(re.compile(rb"\0(?!\0)(" + start + b"".join(parts) + rb")(?=\0)"), literal)


def _name(name: bytes, literals: list[bytes]) -> Iterator[bytes]:
    """Yield the expression for the pattern of one name; add its fixed parts to *literals*.

    Between two stars, the first place that matches is as good as any other, so nothing is tried again from there: an
    expression that tries all combinations would take time exponential in the number of stars.
    """
    wide = False
    pieces: list[list[bytes]] = [[]]
    literal = bytearray()
    for token in _TOKEN.findall(name):
        fixed = _fixed(token)
        if not fixed:
            wide = wide or len(token) > 1
            pieces.append([])
        else:
            pieces[-1].append(fixed)
        if len(token) == 1 and token not in b"?*":
            literal += token
        else:
            literals.append(bytes(literal))
            literal.clear()
    literals.append(bytes(literal))
    some = rb"[^\0]*" if wide else _NAME + b"*"
    first, *others = map(b"".join, pieces)
    yield first
    for number, piece in enumerate(others):
        yield some + piece if number == len(others) - 1 else b"(?>" + some + b"?" + piece + b")"


def _fixed(token: bytes) -> bytes:
    """Return the expression for one byte of a name; b"" for stars."""
    if token.startswith(b"*"):
        return b""
    if token == b"?":
        return _NAME
    return _class(token[1:-1]) if len(token) > 1 else re.escape(token)


def _class(inside: bytes) -> bytes:
    """Return the expression for the bytes of a bracket expression; a range the wrong way round matches nothing."""
    negated = inside[:1] in (b"!", b"^")
    wanted: set[int] = set()
    rest = inside[1:] if negated else inside
    while rest:
        if len(rest) > 2 and rest[1:2] == b"-":
            wanted.update(range(rest[0], rest[2] + 1))
            rest = rest[3:]
        else:
            wanted.add(rest[0])
            rest = rest[1:]
    chosen = {byte for byte in range(1, 256) if (byte in wanted) != negated and byte != 0x2F}
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(chosen)) + b"]" if chosen else b"(?!)"


def parents(path: bytes) -> Iterator[bytes]:
    """Yield the directories above *path*, the root (b"") among them."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path
