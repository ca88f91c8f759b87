"""Extended headers: PAX records, and their meaning for the next member.

POSIX.1-2024 pax, "pax Extended Header"; xattrs as star and GNU tar (`SCHILY.xattr.NAME=value`) and libarchive
(`LIBARCHIVE.xattr.NAME=base64`, the name percent-encoded) write them; GNU's sparse formats 0.0, 0.1 and 1.0.

Values are taken as bytes, so `hdrcharset` has no effect. Ignored: owner names (numeric ids count), atime and ctime,
device numbers, and every unknown keyword, as POSIX requires. Numbers are parsed as Go does (strconv.ParseInt): any
number of leading zeros, and a sign. Access control lists as text, and xattrs that cannot be decoded, are kept as xattrs
under their keyword: a file cannot have them, so they are counted as left out.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.errors import LimitError, TarError
from arstore.pattern import pattern
from arstore.tar.names import excerpt
from arstore.tar.steps import DECODED, LIST, NUMBER, RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.tar.limits import Limits

SCHILY_XATTR = b"SCHILY.xattr."
LIBARCHIVE_XATTR = b"LIBARCHIVE.xattr."
SPARSE = b"GNU.sparse."
NO_OWNER = frozenset({-1, (1 << 32) - 1})
"""The numbers for which chown leaves the owner as it is."""
_QUOTED = pattern(rb"%([0-9A-Fa-f]{2})")
_BLANKS = b" \t\r\n"
_AS_COMMAS = bytes.maketrans(_BLANKS, b"," * len(_BLANKS))
_BASE64 = pattern(rb"[A-Za-z0-9+/]*")
_TEXT_ACLS = {
    b"SCHILY.acl.access": b"system.posix_acl_access",
    b"SCHILY.acl.default": b"system.posix_acl_default",
    b"SCHILY.acl.ace": b"",
}
"""Keywords of access control lists as text, with the xattr that may have the same information."""
_MODE_ALONE = pattern(rb"(?:u|user|g|group|o|other)::?[rwx-]*")
_DIGITS_MAX = 20
_LONGEST_QUOTED = 3 * 255
_LONGEST_LIST = 1 << 16
"""Bytes of an access control list that is parsed: a longer one has more than a mode for sure."""
_OWNERS = frozenset({b"uid", b"gid"})
_OF_ONE_MEMBER = frozenset({b"path", b"linkpath", b"size"})
_NANOSECONDS = 1_000_000_000

Record = tuple[bytes, bytes]


@dataclass(slots=True)
class Sparse:
    """The content of GNU's sparse records: the file's real name and size, and the map unless it is in the data."""

    major: int = 0
    minor: int = 0
    name: bytes | None = None
    size: int | None = None
    numbers: list[int] = field(default_factory=list)

    @property
    def map_in_data(self) -> bool:
        """Whether this is format 1.0, whose map precedes the data."""
        return (self.major, self.minor) == (1, 0)


@dataclass(slots=True)
class Extension:
    """The content of extended headers about one member; None for values not given. `mtime` is in nanoseconds.

    An object may be shared by several members, so it is never changed.
    """

    path: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime: int | None = None
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: Sparse | None = None
    lists: dict[bytes, bytes] = field(default_factory=dict, compare=False)
    """Access control lists as text, whether or not `xattrs` has them."""


def price(data: bytes) -> int:
    """Return the steps for the records in *data*, an extended header's content, before any of it is parsed."""
    # A record ends with a newline. Newlines in values are charged as well.
    steps = RECORD * data.count(b"\n")
    if SPARSE in data:
        steps += NUMBER * data.count(b",")
    if LIBARCHIVE_XATTR in data:
        steps += NUMBER * data.count(b"%") + DECODED * len(data) // 8
    return steps


def global_price(keyword: bytes, value: bytes) -> int:
    """Return the steps of a global record for each time that all global records are evaluated."""
    if keyword.startswith(LIBARCHIVE_XATTR):
        return RECORD + NUMBER * keyword.count(b"%") + DECODED * len(value) // 8
    return RECORD + (LIST * len(value) if keyword in _TEXT_ACLS else 0)


def records(data: bytes, what: str) -> list[Record]:
    """Return the records in *data*, an extended header's content, in order.

    Raises TarError for a malformed length, separator or keyword.
    """
    found: list[Record] = []
    start, total = 0, len(data)
    while start < total:
        # No limit on the distance of the blank: a record is at least as long as the digits of its length.
        blank = data.find(b" ", start)
        end = start + _value(data[start:blank]) if blank > start else 0
        equals = data.find(b"=", blank + 2, end)
        if equals < 0 or end > total or data[end - 1] != 0x0A:
            raise TarError(what, "an extended header has a malformed record")
        keyword = data[blank + 1 : equals]
        if b"\0" in keyword:
            raise TarError(what, "an extended header has a keyword with a NUL")
        found.append((keyword, data[equals + 1 : end - 1]))
        start = end
    return found


def extension(found: Iterable[Record], limits: Limits, what: str, of_all: Extension | None = None) -> Extension:
    """Evaluate the records *found* for the next member, on top of *of_all*, the evaluated global records.

    A later record overrides an earlier one, and an empty value cancels an earlier one (but an xattr may be empty).
    Raises TarError for a malformed value, LimitError for xattrs or sparse maps that are too large.
    """
    result = Extension() if of_all is None else _changeable(of_all)
    lists = result.lists
    for keyword, value in found:
        if keyword == b"mtime":
            result.mtime = nanoseconds(value, what) if value else None
        elif keyword == b"path":
            result.path = value or None
        elif keyword == b"linkpath":
            result.link = value or None
        elif keyword == b"size":
            result.size = decimal(value, what, "size") if value else None
        elif keyword == b"uid":
            result.uid = integer(value, what, "uid") if value else None
        elif keyword == b"gid":
            result.gid = integer(value, what, "gid") if value else None
        elif keyword.startswith(SCHILY_XATTR):
            _add_xattr(result.xattrs, keyword[len(SCHILY_XATTR) :], value, limits, what)
        elif keyword.startswith(LIBARCHIVE_XATTR):
            name = _unquoted(keyword[len(LIBARCHIVE_XATTR) :])
            decoded = _from_base64(value)
            _add_xattr(result.xattrs, *((keyword, value) if decoded is None else (name, decoded)), limits, what)
        elif keyword in _TEXT_ACLS:
            lists[keyword] = value
        elif keyword.startswith(SPARSE):
            result.sparse = result.sparse or Sparse()
            _add_sparse(result.sparse, keyword[len(SPARSE) :], value, limits, what)
    for keyword, value in lists.items():
        if _TEXT_ACLS[keyword] not in result.xattrs and _says_more_than_a_mode(value):
            _add_xattr(result.xattrs, keyword, value, limits, what)
    if len(result.xattrs) and sum(map(len, result.xattrs)) + sum(map(len, result.xattrs.values())) > limits.xattrs:
        raise LimitError(what, f"a member has more than {limits.xattrs} bytes of extended attributes")
    return result


def _changeable(of_all: Extension) -> Extension:
    """Copy the evaluated global records, without the lists that are among the xattrs."""
    xattrs = dict(of_all.xattrs)
    for keyword, value in of_all.lists.items():
        if xattrs.get(keyword) is value:
            del xattrs[keyword]
    return Extension(uid=of_all.uid, gid=of_all.gid, mtime=of_all.mtime, xattrs=xattrs, lists=dict(of_all.lists))


def global_records(found: Iterable[Record], limits: Limits, what: str) -> list[Record]:
    """Return those of *found*, the records of a global header, that change the members after it.

    Left out: keywords about a single member (`path`, `linkpath`, `size`, sparse files), keywords that this module
    ignores, malformed values, because Go ignores them there, and owner -1, because members have their own owners.
    Raises LimitError.
    """
    taken: list[Record] = []
    for keyword, value in found:
        if keyword in _OF_ONE_MEMBER or keyword.startswith(SPARSE):
            continue
        try:
            if keyword in _OWNERS and value and integer(value, what, "owner") in NO_OWNER:
                continue
            changes = extension([(keyword, value)], limits, what) != Extension()
        except TarError:
            continue
        if changes or not value:
            taken.append((keyword, value))
    return taken


def decimal(value: bytes, what: str, name: str) -> int:
    """Parse a decimal number, at least 0, of at most 20 digits without leading zeros. Raises TarError."""
    number = 0 if _is_minus_zero(value) else _value(value)
    if number < 0:
        raise TarError(what, f"an extended header's {name} is not a number from 0 up")
    return number


def integer(value: bytes, what: str, name: str) -> int:
    """Like `decimal`, for a number that may be negative. Raises TarError."""
    if not value.startswith(b"-"):
        return decimal(value, what, name)
    digits = value[1:]
    number = _value(digits) if digits.isdigit() else -1
    if number < 0:
        raise TarError(what, f"an extended header's {name} is not a number")
    return -number


def _is_minus_zero(value: bytes) -> bool:
    return value.startswith(b"-0") and not value[1:].strip(b"0")


def _value(text: bytes) -> int:
    """Parse decimal digits, optionally after a plus; return -1 if it is not a number, or has too many digits."""
    if not text.isdigit():
        text = text.removeprefix(b"+")
        if not text.isdigit():
            return -1
    if len(text) > _DIGITS_MAX:
        text = text.lstrip(b"0") or b"0"
        if len(text) > _DIGITS_MAX:
            return -1
    return int(text)


def nanoseconds(value: bytes, what: str) -> int:
    """Parse a PAX time, and return nanoseconds: decimal seconds, optionally with a sign and a fraction of any length.

    Digits after the ninth are cut off, towards zero, as Go does (`parsePAXTime`). Raises TarError.
    """
    whole, _, fraction = value.partition(b".")
    seconds = _value(whole[1:] if whole.startswith(b"-") and whole[1:].isdigit() else whole)
    if seconds < 0 or (fraction and not fraction.isdigit()):
        raise TarError(what, "an extended header's mtime is not a number")
    amount = seconds * _NANOSECONDS + int(fraction[:9].ljust(9, b"0"))
    return -amount if value.startswith(b"-") else amount


def _add_xattr(xattrs: dict[bytes, bytes], name: bytes, value: bytes, limits: Limits, what: str) -> None:
    # A name that a file cannot have is kept here; the code that creates the file leaves it out and counts it.
    if len(value) > limits.xattr_value:
        raise LimitError(what, f"the extended attribute {excerpt(name)} has more than {limits.xattr_value} bytes")
    xattrs[name] = value


def _unquoted(name: bytes) -> bytes:
    """Decode libarchive's percent-encoding; a name that is too long for any file is returned unchanged."""
    if len(name) > _LONGEST_QUOTED:
        return name
    return _QUOTED.sub(lambda found: bytes([int(found[1], 16)]), name)


def _from_base64(value: bytes) -> bytes | None:
    """Decode libarchive's base64, with or without padding and newlines; return None for anything else.

    libarchive itself skips invalid input: a file would get another value than the archive has.
    """
    digits = value.translate(None, _BLANKS).rstrip(b"=_")
    if len(digits) % 4 == 1 or not _BASE64.fullmatch(digits):
        return None
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def _says_more_than_a_mode(text: bytes) -> bool:
    """Return whether an access control list has more than the three entries that every mode has."""
    if len(text) > _LONGEST_LIST:
        return True
    return not all(_MODE_ALONE.fullmatch(entry) for entry in text.translate(_AS_COMMAS).split(b",") if entry)


def _add_sparse(sparse: Sparse, keyword: bytes, value: bytes, limits: Limits, what: str) -> None:
    if keyword == b"major":
        sparse.major = decimal(value, what, "sparse format")
    elif keyword == b"minor":
        sparse.minor = decimal(value, what, "sparse format")
    elif keyword == b"name":
        sparse.name = value or None
    elif keyword in (b"size", b"realsize"):
        sparse.size = decimal(value, what, "sparse size")
    elif keyword == b"map":
        sparse.numbers = [decimal(digits, what, "sparse map") for digits in value.split(b",")] if value else []
    elif keyword in (b"offset", b"numbytes"):
        if (keyword == b"numbytes") != len(sparse.numbers) % 2:
            raise TarError(what, "a sparse map's offsets and lengths do not alternate")
        sparse.numbers.append(decimal(value, what, "sparse map"))
    if len(sparse.numbers) > 2 * limits.sparse_runs:
        raise LimitError(what, f"a sparse file has more than {limits.sparse_runs} runs")
