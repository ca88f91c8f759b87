"""Writing tar archives: ustar headers, with a PAX header where a value does not fit. Equal entries give equal bytes.

POSIX.1-2024 pax. A member gets an extended header when its name or link is over 100 bytes or not ASCII, when its time
has a fraction or is before 1970, when a number does not fit its field, when it has xattrs (`SCHILY.xattr.`, which GNU
tar, Go and star read) and when it is sparse (GNU's format 1.0). Records are sorted by keyword. There are no owner
names, access times or process ids: nothing that is not in the entries.

Not here: where entries and content come from, and their order.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from arstore.errors import SizeMismatchError, TarError
from arstore.tar.entry import Entry, Kind
from arstore.tar.header import BLOCK, FIELDS, ZEROS
from arstore.tar.names import excerpt
from arstore.tar.pax import LIBARCHIVE_XATTR, SCHILY_XATTR, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LETTERS = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_USTAR = b"ustar\x0000"
_NAME_SIZE = 100
_ID_MAX = 0o7777777
_LONG_MAX = 0o77777777777
_SECOND = 1_000_000_000
_EXTENDED_NAME = b"PaxHeaders.0/"


class TarWriter:
    """Writes an archive, piece by piece, by calling *write*."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write

    def add(self, entry: Entry, content: Iterable[bytes | memoryview] = ()) -> None:
        """Write one member. *content* gives a file's stored bytes: all of it, or the runs of a sparse one.

        Raises SizeMismatchError when the size of *content* differs from *entry*, and TarError for an entry that an
        archive cannot hold. That includes a sparse file with a run, other than the last, whose length is not a multiple
        of 512 bytes: GNU tar reads whole blocks.
        """
        sparse_map = _sparse_map(entry) if entry.sparse is not None else b""
        stored = _stored_size(entry)
        self._write(_headers(entry, len(sparse_map) + stored) + sparse_map)
        written = 0
        for chunk in content:
            written += len(chunk)
            if written > stored:
                break
            self._write(chunk)
        if written != stored:
            raise SizeMismatchError(excerpt(entry.path), f"its content does not have the {stored} bytes of its entry")
        if stored % BLOCK:
            self._write(ZEROS[stored % BLOCK :])

    def close(self) -> None:
        """Write the two blocks of zeros that end an archive."""
        self._write(ZEROS + ZEROS)


def file_header(name: bytes, size: int) -> bytes:
    """Return the header of a regular file of *size* bytes, mode 0644, owner root, from 1970: one block for any size.

    From 8 GiB on, the size is in GNU's base 256. A *name* that is over 100 bytes or not ASCII needs an additional
    extended header.
    """
    if len(name) > _NAME_SIZE or not name.isascii():
        return _headers(Entry(name, Kind.FILE, mode=0o644, size=size), size)
    if size <= _LONG_MAX:
        return _block(name, b"0", size)
    block = bytearray(_block(name, b"0", 0))
    block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _stored_size(entry: Entry) -> int:
    if entry.kind is not Kind.FILE:
        return 0
    return entry.size if entry.sparse is None else sum(length for _, length in entry.sparse)


def _headers(entry: Entry, size: int) -> bytes:
    """Return the header of a member with *size* bytes in the archive, after its extended header if it needs one."""
    _check_entry(entry)
    name = entry.path + b"/" if entry.kind is Kind.DIRECTORY else entry.path
    if not entry.path:
        name = b"./"
    records = _records(entry, name, size)
    seconds = entry.mtime // _SECOND
    block = _block(
        name,
        _LETTERS[entry.kind],
        size if size <= _LONG_MAX else 0,
        mode=entry.mode,
        uid=entry.uid if entry.uid <= _ID_MAX else 0,
        gid=entry.gid if entry.gid <= _ID_MAX else 0,
        seconds=seconds if 0 <= seconds <= _LONG_MAX else 0,
        link=entry.link,
        devices=(entry.major, entry.minor),
    )
    if not records:
        return block
    data = b"".join(_pax_record(*record) for record in records)
    extended_name = _EXTENDED_NAME + _ascii(entry.name)[: _NAME_SIZE - len(_EXTENDED_NAME)]
    return _block(extended_name, b"x", len(data)) + data + bytes(-len(data) % BLOCK) + block


def _block(
    name: bytes,
    letter: bytes,
    size: int,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    seconds: int = 0,
    link: bytes = b"",
    devices: tuple[int, int] = (0, 0),
) -> bytes:
    block = FIELDS.pack(
        _ascii(name)[:_NAME_SIZE],
        b"%07o\0" % mode,
        b"%07o\0" % uid,
        b"%07o\0" % gid,
        b"%011o\0" % size,
        b"%011o\0" % seconds,
        b" " * 8,
        letter,
        _ascii(link)[:_NAME_SIZE],
        _USTAR,
        b"%07o\0" % devices[0],
        b"%07o\0" % devices[1],
        b"",
        b"",
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _records(entry: Entry, name: bytes, size: int) -> list[Record]:
    """Return the records for values that the header of *entry* cannot hold."""
    found: list[Record] = []
    for keyword, value in ((b"path", name), (b"linkpath", entry.link)):
        if len(value) > _NAME_SIZE or not value.isascii():
            found.append((keyword, value))
    for keyword, number, most in (
        (b"uid", entry.uid, _ID_MAX),
        (b"gid", entry.gid, _ID_MAX),
        (b"size", size, _LONG_MAX),
    ):
        if number > most:
            found.append((keyword, b"%d" % number))
    if entry.mtime % _SECOND or not 0 <= entry.mtime // _SECOND <= _LONG_MAX:
        found.append((b"mtime", _decimal_seconds(entry.mtime)))
    if entry.sparse is not None:
        found += [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", name),
            (b"GNU.sparse.realsize", b"%d" % entry.size),
        ]
    found += [_xattr_record(name, value) for name, value in entry.xattrs.items()]
    found.sort()
    if any(not _is_utf8(value) for keyword, value in found if keyword in (b"path", b"linkpath", b"GNU.sparse.name")):
        found.insert(0, (b"hdrcharset", b"BINARY"))
    return found


def _xattr_record(name: bytes, value: bytes) -> Record:
    # A keyword ends at the first "=", so a name that has one is written in the form with encoded names.
    if b"=" not in name:
        return SCHILY_XATTR + name, value
    from urllib.parse import quote_from_bytes

    encoded = binascii.b2a_base64(value, newline=False).rstrip(b"=")
    return LIBARCHIVE_XATTR + quote_from_bytes(name, safe="").encode("ascii"), encoded


def _pax_record(keyword: bytes, value: bytes) -> bytes:
    """Return `LENGTH KEYWORD=VALUE\\n`, where the length counts its own digits."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)


def _decimal_seconds(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(abs(nanoseconds), _SECOND)
    sign = b"-" if nanoseconds < 0 else b""
    return sign + (b"%d.%09d" % (seconds, fraction)).rstrip(b"0").rstrip(b".")


def _sparse_map(entry: Entry) -> bytes:
    runs = list(entry.sparse or ())
    # GNU tar takes the size of a file that ends in a hole from an empty run.
    if not runs or sum(runs[-1]) < entry.size:
        runs.append((entry.size, 0))
    numbers = [len(runs)]
    for run in runs:
        numbers += run
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + bytes(-len(text) % BLOCK)


def _check_entry(entry: Entry) -> None:
    if any(b"\0" in text for text in (entry.path, entry.link, *entry.xattrs)):
        raise TarError(excerpt(entry.path), "a name, link or xattr with a NUL cannot be stored")
    if min(entry.size, entry.uid, entry.gid, entry.mode, entry.major, entry.minor) < 0:
        raise TarError(excerpt(entry.path), "a negative number other than its time cannot be stored")
    if max(entry.mode, entry.major, entry.minor) > _ID_MAX:
        raise TarError(excerpt(entry.path), "its mode or device number is too large to be stored")
    if any(length % BLOCK for _, length in (entry.sparse or ())[:-1]):
        raise TarError(excerpt(entry.path), "a sparse file with runs of odd lengths cannot be stored")
    if entry.kind in (Kind.SYMLINK, Kind.HARDLINK) and not entry.link:
        raise TarError(excerpt(entry.path), "a link without a target cannot be stored")


def _ascii(name: bytes) -> bytes:
    """Return *name* for a header field; readers use the extended header instead when the name is not ASCII."""
    return name if name.isascii() else bytes(byte if byte < 0x80 else ord("_") for byte in name)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
