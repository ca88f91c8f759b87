"""Reading tar archives as a stream of entries and their content.

Forms: v7, ustar, star, PAX (extended headers of one member and global ones), GNU (long names, base-256 numbers, old
sparse files) and GNU's sparse files in PAX. Where the forms leave a choice, this follows Go's archive/tar, on which the
tools that make and read images are built. One exception: global PAX records that can be about several members (owner,
time, extended attributes) are applied, as POSIX requires (decision 20). Details:

- A link, a device, a FIFO or a directory has no content, even if its header has a size.
- A file of the oldest type (NUL) whose name ends in a slash is a directory.
- Type 7 (contiguous) is a file, D (GNU dump) a directory whose content is skipped, V (volume label) creates nothing, X
  is x as written by Solaris. All other types (M, N, A, E, I ...) cannot be represented and are a TarError.
- Owner names are ignored: only numbers count.
- An archive ends at two blocks of zeros, or with its source on a block boundary. Bytes after the two blocks are
  ignored.

Not here: compression, whiteouts, and whether a path is safe in a tree that has symlinks.

Memory: one buffer of `digest.CHUNK` bytes, and what `Limits` allows for one member's headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from arstore.digest import CHUNK
from arstore.errors import LimitError, TarError, TruncatedError
from arstore.tar import header, pax, sparse
from arstore.tar.entry import Entry, Kind
from arstore.tar.header import BLOCK, FIELDS, KINDS, ZEROS, number
from arstore.tar.limits import DEFAULT_LIMITS, Limits, raising
from arstore.tar.names import NAME_MAX, excerpt, normalised
from arstore.tar.steps import ATTRIBUTE, COMPONENT, ENTRY, HEADER, LIST, NUMBER, Steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.digest import Reader

__all__ = ["DEFAULT_LIMITS", "Limits", "SeekableReader", "TarReader"]

_SEEKING_CHUNK = 1 << 15
_ID_MAX = (1 << 32) - 2
_SIZE_MAX = (1 << 63) - 1
_SECOND = 1_000_000_000
_TIME_LIMIT = (1 << 63) * _SECOND
_TYPE = 156
_MAGIC = slice(257, 265)
_SPARSE_TYPE = ord("S")
_MAJOR_MAX = (1 << 12) - 1
_MINOR_MAX = (1 << 20) - 1


@runtime_checkable
class SeekableReader(Protocol):
    """A file that can be read at any position."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, b"" at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to *offset*, and return the position."""

    def tell(self) -> int:
        """Return the position."""


class TarReader:
    """Iterates over the entries of an uncompressed archive; `chunks` gives the content of the current one.

    Content that was not taken is skipped at the next step: by seeking if *seekable* says that *source* is a
    `SeekableReader`, so that an archive can be indexed from its headers alone; otherwise by reading. *source* is read
    from its current position; `Entry.offset` counts from there. Headers and entries are charged to *steps*; without it,
    the archive gets all steps of *limits*.

    Iterating and `chunks` raise TarError (not a tar archive, damaged, or not representable), TruncatedError (ends in
    a header or in content), UnsafePathError (a name leaves the root), LimitError, and what *source* raises.
    """

    def __init__(
        self,
        source: Reader,
        what: str = "",
        limits: Limits = DEFAULT_LIMITS,
        *,
        seekable: bool = False,
        steps: Steps | None = None,
    ) -> None:
        self._source = source
        self._what = what or "tar archive"
        self._limits = limits
        self._buffer = b""
        self._position = 0
        self._base = 0
        self._left = 0
        self._padding = 0
        self._headers = 0
        self._apparent = 0
        self._ended = False
        self._closed = False
        self._globals: dict[bytes, bytes] = {}
        self._size_of_globals = self._price_of_globals = 0
        self._said_of_all: pax.Extension | None = None
        self._steps = Steps(limits.steps) if steps is None else steps
        self._seekable: SeekableReader | None = None
        if seekable:
            if not isinstance(source, SeekableReader):
                raise TypeError("seekable=True needs a source that seeks")
            self._seekable = source
            self._origin = source.tell()
            self._end = source.seek(0, 2) - self._origin
            source.seek(self._origin)

    @property
    def offset(self) -> int:
        """Bytes of the archive that were consumed so far: headers, content and padding."""
        return self._base + self._position

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        records: list[pax.Record] | None = None
        long_name = long_link = b""
        while True:
            if self._left or self._padding:
                self._skip()
            start = self._position
            block = self._buffer[start : start + BLOCK]
            if len(block) == BLOCK and block[0] and not self._ended:
                self._position = start + BLOCK
            else:
                block = self._next_header()
                if not block:
                    if records is not None or long_name or long_link:
                        raise self._dangling()
                    raise StopIteration
            fields = FIELDS.unpack(block)
            if not header.checksum_matches(block, fields[6]):
                raise self._no_header()
            self._headers += 1
            if self._headers > self._limits.headers:
                raise LimitError(self._what, f"has more than {self._limits.headers} headers", raising("headers"))
            kind = KINDS.get(fields[7])
            steps = self._steps
            if kind is not None:
                steps.left -= HEADER + ENTRY
                if steps.left < 0:
                    steps.look()
                extension = self._said(records) if records is not None or self._globals else None
                return self._made_entry(kind, block, fields, extension, long_name, long_link)
            steps.take(HEADER)
            letter = fields[7]
            if letter in (b"x", b"X"):
                records = self._records(fields)
            elif letter == b"g":
                self._add_globals(self._records(fields))
            elif letter == b"L":
                long_name = self._extension_content(fields, self._limits.long_name).partition(b"\0")[0]
            elif letter == b"K":
                long_link = self._extension_content(fields, self._limits.long_name).partition(b"\0")[0]
            elif letter == b"V":
                self._set_content(self._size(fields))
            else:
                raise TarError(self._what, f"{excerpt(_name(fields))} has the type {letter!r}, which is not supported")

    def chunks(self) -> Iterator[memoryview]:
        """Yield the rest of the current entry's stored bytes, in order, as views of read-only buffers."""
        while self._left:
            if self._position == len(self._buffer):
                self._fill_buffer()
            chunk = memoryview(self._buffer)[self._position : self._position + self._left]
            self._position += len(chunk)
            self._left -= len(chunk)
            yield chunk

    def buffered(self) -> memoryview | None:
        """Return the rest of the current entry's stored bytes, which stay unread; None if not all are in memory yet."""
        end = self._position + self._left
        return memoryview(self._buffer)[self._position : end] if end <= len(self._buffer) else None

    def content(self, limit: int) -> bytes:
        """Return the rest of the current entry's stored bytes, for small files.

        Raises LimitError for more than *limit* bytes.
        """
        if self._left > limit:
            raise LimitError(self._what, f"a member has {self._left} bytes; at most {limit} are accepted")
        return b"".join(self.chunks())

    def drain(self, most: int | None = None) -> None:
        """Read the source to its end and discard the bytes: a verifier below it has then seen everything.

        A seekable source is left as it is. No entries follow afterwards. Raises LimitError when more than *most* bytes
        (if given) follow, because a stream may be endless.
        """
        self._ended = True
        self._left = self._padding = 0
        if self._seekable is not None:
            return
        passed = 0
        while data := self._source.read(CHUNK):
            passed += len(data)
            if most is not None and passed > most:
                why = f"goes on for more than {most} bytes after the end of its archive"
                raise LimitError(self._what, why, raising("trailing"))

    # --- entries ---------------------------------------------------------------------------------------------------

    def _made_entry(
        self,
        kind: Kind,
        block: bytes,
        fields: tuple[bytes, ...],
        extension: pax.Extension | None,
        long_name: bytes,
        long_link: bytes,
    ) -> Entry:
        what = self._what
        name, mode, uid, gid, _, mtime, _, letter, link, magic, major, minor, prefix, rest = fields
        raw = long_name or (extension.path if extension is not None else None)
        if not raw:
            raw = name.partition(b"\0")[0] if not prefix[0] else header.full_name(name, prefix, magic, rest)
        if letter == b"\0" and raw.endswith(b"/"):
            kind = Kind.DIRECTORY
        stored = 0
        if kind is Kind.FILE or letter == b"D":
            stored = self._size(fields) if extension is None or extension.size is None else extension.size
            self._set_content(stored)
        if len(raw) > NAME_MAX:
            self._take_components(raw)
        entry = Entry(
            normalised(raw, self._limits, what),
            kind,
            number(mode, what, "mode") & 0o7777,
            number(uid, what, "uid"),
            number(gid, what, "gid"),
            number(mtime, what, "mtime") * _SECOND,
        )
        if extension is not None:
            self._extend(entry, extension)
        if kind is Kind.FILE:
            entry.size = stored
            if letter == b"S" or (extension is not None and extension.sparse is not None):
                self._make_sparse(entry, block, extension)
            entry.offset = self._base + self._position
        elif kind is Kind.SYMLINK or kind is Kind.HARDLINK:
            target = long_link or (extension.link if extension else None) or link.partition(b"\0")[0]
            entry.link = self._link(entry, target)
        elif (kind is Kind.CHARACTER or kind is Kind.BLOCK) and magic.startswith(b"ustar"):
            entry.major = number(major, what, "device number")
            entry.minor = number(minor, what, "device number")
        self._check_numbers(entry)
        if entry.sparse is not None:
            self._count_holes(entry)
        return entry

    def _extend(self, entry: Entry, extension: pax.Extension) -> None:
        if extension.mtime is not None:
            entry.mtime = extension.mtime
        if extension.uid is not None:
            entry.uid = extension.uid
        if extension.gid is not None:
            entry.gid = extension.gid
        entry.xattrs = extension.xattrs

    def _make_sparse(self, entry: Entry, block: bytes, extension: pax.Extension | None) -> None:
        """Read a sparse file's map, its real size and, in PAX, its real name."""
        said = extension.sparse if extension is not None and block[_TYPE] != _SPARSE_TYPE else None
        if said is None:
            if block[_MAGIC] != header.GNU:
                raise TarError(self._what, f"{excerpt(entry.path)} is a GNU sparse file without GNU's magic")
            runs, size = sparse.old_gnu(block, self._sparse_block, self._limits, self._what)
        else:
            if said.size is None:
                raise TarError(self._what, f"the sparse file {excerpt(entry.path)} has no size")
            if said.name is not None:
                self._take_components(said.name)
                entry.path = normalised(said.name, self._limits, self._what)
            size = said.size
            if said.map_in_data:
                runs = sparse.map_in_data(self._map_block, self._limits, self._what)
            else:
                runs = sparse.pairs_of(said.numbers, self._what)
        self._steps.take(2 * NUMBER * len(runs))
        entry.size = size
        entry.sparse = sparse.checked(runs, size, self._left, self._what)

    def _count_holes(self, entry: Entry) -> None:
        """Count a sparse file with its holes: they cost nothing to send, but may cost as much as content to read."""
        self._apparent += entry.size
        if self._apparent > self._limits.inflated:
            why = f"has sparse files of more than {self._limits.inflated} bytes"
            raise LimitError(self._what, why, raising("inflated"))

    def _link(self, entry: Entry, target: bytes) -> bytes:
        if entry.kind is Kind.HARDLINK:
            self._take_components(target)
            return normalised(target, self._limits, self._what)
        if not target or b"\0" in target:
            raise TarError(self._what, f"the symlink {excerpt(entry.path)} has an empty target or one with a NUL")
        if len(target) >= self._limits.path:
            raise LimitError(self._what, f"the target of the symlink {excerpt(entry.path)} has {len(target)} bytes")
        return target

    def _check_numbers(self, entry: Entry) -> None:
        """Refuse numbers that a file cannot have, after mapping negative owners."""
        if not 0 <= entry.uid <= _ID_MAX or not 0 <= entry.gid <= _ID_MAX:
            entry.uid, entry.gid = self._owner(entry, entry.uid), self._owner(entry, entry.gid)
        if not -_TIME_LIMIT <= entry.mtime < _TIME_LIMIT:
            raise TarError(self._what, f"{excerpt(entry.path)} has a time that no Linux system can have")
        if not 0 <= entry.major <= _MAJOR_MAX or not 0 <= entry.minor <= _MINOR_MAX:
            raise TarError(self._what, f"{excerpt(entry.path)} has a device number that no Linux system can have")
        if not 0 <= entry.size <= _SIZE_MAX:
            raise TarError(self._what, f"{excerpt(entry.path)} has a size that no Linux system can have")

    def _owner(self, entry: Entry, number: int) -> int:
        """Return the owner that podman and umoci give a file for *number*: its 32 bits, as chown takes them.

        Owner -1 means that the file stays root's, who creates it. A number beyond 32 bits is refused, because it would
        become another owner.
        """
        if number in pax.NO_OWNER:
            return 0
        if -(1 << 31) <= number <= _ID_MAX:
            return number & ((1 << 32) - 1)
        raise TarError(self._what, f"{excerpt(entry.path)} has an owner that no Linux system can have")

    # --- extension headers -----------------------------------------------------------------------------------------

    def _extension_content(self, fields: tuple[bytes, ...], limit: int) -> bytes:
        size = self._size(fields)
        if size > limit:
            raise LimitError(self._what, f"an extension header has {size} bytes; at most {limit} are accepted")
        self._set_content(size)
        return b"".join(self.chunks())

    def _records(self, fields: tuple[bytes, ...]) -> list[pax.Record]:
        """Return the records of an extended header, charged before they are parsed."""
        data = self._extension_content(fields, self._limits.pax)
        self._steps.take(pax.price(data))
        return pax.records(data, self._what)

    def _said(self, records: list[pax.Record] | None) -> pax.Extension:
        """Evaluate *records* for a member on top of the global records, which are evaluated again after a change."""
        said = self._said_of_all
        if said is None:
            self._steps.take(self._price_of_globals)
            said = self._said_of_all = pax.extension(self._globals.items(), self._limits, self._what)
        if records is not None:
            said = pax.extension(records, self._limits, self._what, said)
        if said.xattrs:
            self._steps.take(ATTRIBUTE * len(said.xattrs))
        if said.lists:
            self._steps.take(LIST * sum(map(len, said.lists.values())))
        return said

    def _take_components(self, name: bytes) -> None:
        """Charge for a name that is resolved component by component."""
        self._steps.take(COMPONENT * name.count(b"/"))

    def _add_globals(self, records: list[pax.Record]) -> None:
        self._said_of_all = None
        # Each is first evaluated alone, which costs the same as evaluating it later with all others.
        self._steps.take(sum(pax.global_price(keyword, value) for keyword, value in records))
        for keyword, value in pax.global_records(records, self._limits, self._what):
            self._count_global(keyword, self._globals.get(keyword, b""), -1)
            self._count_global(keyword, value, 1)
            if value:
                self._globals[keyword] = value
            else:
                self._globals.pop(keyword, None)
        if self._size_of_globals > self._limits.pax:
            raise LimitError(self._what, f"has more than {self._limits.pax} bytes of global records")

    def _count_global(self, keyword: bytes, value: bytes, sign: int) -> None:
        """Count a global record that is added (*sign* 1) or removed (-1); an empty *value* is not a record."""
        if value:
            self._size_of_globals += sign * (len(keyword) + len(value))
            self._price_of_globals += sign * pax.global_price(keyword, value)

    # --- the stream ------------------------------------------------------------------------------------------------

    def _size(self, fields: tuple[bytes, ...]) -> int:
        size = number(fields[4], self._what, "size")
        if not 0 <= size <= _SIZE_MAX:
            raise TarError(self._what, f"{excerpt(_name(fields))} has the impossible size {size}")
        return size

    def _set_content(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _next_header(self) -> bytes:
        """Return the next header block, b"" at the end of the archive."""
        block = b"" if self._ended else self._block()
        if block != ZEROS:
            self._ended = not block
            return block
        second = self._block()
        if second and second != ZEROS:
            raise TarError(self._what, f"a single block of zeros before byte {self.offset - BLOCK}")
        self._ended = self._closed = True
        return b""

    def _block(self) -> bytes:
        """Return the next 512 bytes, b"" at the end of the source."""
        block = self._buffer[self._position : self._position + BLOCK]
        if len(block) == BLOCK:
            self._position += BLOCK
            return block
        while len(block) < BLOCK:
            data = self._source.read(_SEEKING_CHUNK if self._seekable else CHUNK)
            if not data:
                if block:
                    raise TruncatedError(self._what, f"ends after {self._base + len(self._buffer)} bytes, in a header")
                return b""
            self._base += len(self._buffer)
            self._buffer = data
            self._position = min(BLOCK - len(block), len(data))
            block += data[: self._position]
        return block

    def _sparse_block(self) -> bytes:
        self._steps.take(HEADER)
        block = self._block()
        if not block:
            raise TruncatedError(self._what, f"ends after {self.offset} bytes, in a header")
        return block

    def _map_block(self) -> bytes:
        if self._left < BLOCK:
            raise TarError(self._what, "a sparse file's map is longer than the stored bytes")
        self._left -= BLOCK
        return self._sparse_block()

    def _fill_buffer(self) -> None:
        """Replace the buffer, which is used up, by the next bytes of the current content."""
        data = self._source.read(min(CHUNK, max(self._left, _SEEKING_CHUNK)) if self._seekable else CHUNK)
        self._base += len(self._buffer)
        self._buffer = data
        self._position = 0
        if not data:
            raise TruncatedError(self._what, f"ends after {self._base} bytes, in the content of a member")

    def _skip(self) -> None:
        """Skip the rest of the content, and its padding, which umoci omits at the end of an archive."""
        padding = self._padding
        count = self._left + padding
        self._left = self._padding = 0
        while count > len(self._buffer) - self._position:
            count -= len(self._buffer) - self._position
            self._position = len(self._buffer)
            if self._seekable is not None:
                self._seek(count, padding)
                return
            try:
                self._fill_buffer()
            except TruncatedError:
                if count > padding:
                    raise
                return
        self._position += count

    def _seek(self, count: int, padding: int) -> None:
        assert self._seekable is not None
        self._base += len(self._buffer) + count
        self._buffer = b""
        self._position = 0
        if self._base - min(count, padding) > self._end:
            raise TruncatedError(self._what, f"ends after {self._end} bytes, in the content of a member")
        self._seekable.seek(self._origin + self._base)

    def _no_header(self) -> TarError:
        at = self.offset - BLOCK
        if at == 0:
            return TarError(self._what, "not a tar archive")
        return TarError(self._what, f"no valid header at byte {at}")

    def _dangling(self) -> TarError | TruncatedError:
        if self._closed:
            return TarError(self._what, "an extension header at the end has no member")
        return TruncatedError(self._what, f"ends after {self.offset} bytes, between an extension header and its member")


def _name(fields: tuple[bytes, ...]) -> bytes:
    return fields[0].partition(b"\0")[0]
