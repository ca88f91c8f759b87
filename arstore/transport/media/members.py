"""The members of a tar archive as a table: name → where its bytes stand in an open file.

The bytes stand in the archive itself when that is an uncompressed regular file, else in spool files inside the store;
either way a blob is a window of a regular file. Of two members with one name the later is the one that counts, as for
tar; contents are verified by their digest afterwards, so a second blob of one name can only make an import fail.

Links are kept as such. `open` refuses everything but a regular file; `resolve` follows symbolic and hard links within
the archive, for docker-archives, where `docker save` made them on purpose.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import LimitError, UnsafePathError
from arstore.oci.document import BOUNDS, Bounds
from arstore.tar.entry import Kind, shown
from arstore.transport.media.blob import Extent, OpenFile, read_all
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_LINKS = 40
"""Links followed for one name, as many as the kernel does."""

_KINDS = {
    Kind.SYMLINK: "a symbolic link",
    Kind.HARDLINK: "a hard link",
    Kind.FIFO: "a FIFO",
    Kind.CHARACTER: "a device",
    Kind.BLOCK: "a device",
    Kind.DIRECTORY: "a directory",
}


class Member(NamedTuple):
    """What the table knows of one name: `size` bytes at `offset` of `file` for a regular file, `link` for a link."""

    kind: Kind
    file: OpenFile | None = None
    offset: int = 0
    size: int = 0
    link: bytes = b""


class _End(NamedTuple):
    """Where a chain of links ends, after so many *hops*; *why* it leads nowhere, if it does."""

    path: bytes
    hops: int = 0
    why: str = ""


_ENDLESS = _End(b"", MAX_LINKS)


class Members:
    """The table of an archive, and the owner of the files that hold the members' bytes.

    `complete` is False when the archive has no end mark, which a whole one normally has. `stored` counts the bytes of
    the archive as it came, compressed or not, without holes.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.stored: int | None = 0
        self.complete = True
        self._table: dict[bytes, Member] = {}
        self._ends: dict[bytes, _End] = {}
        self._files: list[OpenFile] = []

    def __len__(self) -> int:
        return len(self._table)

    def add(self, name: bytes, member: Member) -> None:
        """Enter *member*, in place of an earlier one of that name."""
        self._table[name] = member
        self._ends.clear()

    def own(self, file: OpenFile) -> OpenFile:
        """Close *file* with this table."""
        self._files.append(file)
        return file

    def names(self) -> Iterable[bytes]:
        """All names, in the order in which the archive first has them."""
        return self._table.keys()

    def names_in(self, name: str) -> Sequence[str]:
        """The names right below the directory *name*, in their order."""
        prefix = _key(name) + b"/"
        found = (path[len(prefix) :] for path in self._table if path.startswith(prefix))
        return sorted(os.fsdecode(rest) for rest in found if rest and b"/" not in rest)

    def open(self, name: str | bytes) -> Extent | None:
        """The regular file *name*, or None when there is none.

        Raises UnsafePathError when it is a link or a special file.
        """
        member = self._table.get(_key(name))
        if member is None:
            return None
        if member.kind is not Kind.FILE or member.file is None:
            kind = _KINDS.get(member.kind, "no regular file")
            raise UnsafePathError(self._named(name), f"is {kind}, where only a regular file is read")
        return Extent(member.file, member.offset, member.size, self._named(name))

    def read(self, name: str | bytes, bounds: Bounds = BOUNDS) -> bytes | None:
        """All of the document *name*, or None when there is none.

        Raises LimitError when it is longer than a document may be, UnsafePathError as `open` does.
        """
        blob = self.open(name)
        return None if blob is None else read_all(blob, self._named(name), bounds)

    def resolve(self, name: str) -> bytes:
        """The member that *name* means when all links are followed, symbolic and hard; perhaps one that is not there.

        Raises UnsafePathError when *name* or a link leads out of the archive, LimitError for a chain that does not end.
        """
        path = self._joined(b"", _key(name), name)
        way: list[bytes] = []
        while (end := self._ends.get(path)) is None:
            member = self._table.get(path)
            if member is None or member.kind not in {Kind.SYMLINK, Kind.HARDLINK}:
                end = _End(path)
                break
            way.append(path)
            if len(way) >= MAX_LINKS:
                end = _ENDLESS
                break
            base = path.rpartition(b"/")[0] if member.kind is Kind.SYMLINK else b""
            try:
                path = self._joined(base, member.link, name)
            except UnsafePathError as error:
                end = _End(b"", 0, error.why)
                break
        return self._ended(way, end, name)

    def _ended(self, way: list[bytes], end: _End, name: str) -> bytes:
        """Where *way* leads, which is kept: thousands of names may share a long chain of links."""
        for number, path in enumerate(reversed(way), 1):
            hops = end.hops + number
            self._ends[path] = _ENDLESS if hops >= MAX_LINKS else end._replace(hops=hops)
        if end.why:
            raise UnsafePathError(self._named(name), end.why)
        if end.hops + len(way) >= MAX_LINKS:
            raise LimitError(self._named(name), f"more than {MAX_LINKS} links follow one another, perhaps in a circle")
        return end.path

    def close(self) -> None:
        """Close all files; extents that are still open read no more."""
        for file in self._files:
            file.close()
        self._files.clear()

    def _joined(self, base: bytes, link: bytes, name: str) -> bytes:
        parts = base.split(b"/") if base else []
        outside = link.startswith(b"/")
        for part in link.split(b"/"):
            if part == b"..":
                outside = outside or not parts
                parts = parts[:-1]
            elif part not in {b"", b"."}:
                parts.append(part)
        if outside:
            raise UnsafePathError(self._named(name), f"leads out of the archive, to {shown(link)}")
        return b"/".join(parts)

    def _named(self, name: str | bytes) -> str:
        return f"{self.what}: {shown(_key(name))}"


def _key(name: str | bytes) -> bytes:
    """The name as tar has it; a document may hold half a surrogate pair, which names no member but must not fail."""
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
