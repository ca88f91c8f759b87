"""The members of a tar archive as a table: name → position of its bytes in an open file.

The bytes are in the archive itself if that is an uncompressed regular file, else in spool files inside the store;
either way, a blob is a window of a regular file. If two members have the same name, the later one counts, as for tar.
Content is verified by digest afterwards, so a second blob with the same name can only make an import fail.

Links are kept as links. `open` refuses everything but a regular file. `resolve` follows symbolic and hard links within
the archive, for docker-archives, in which `docker save` uses links on purpose.
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
"""Links followed for one name, as many as in the kernel."""

_KINDS = {
    Kind.SYMLINK: "a symbolic link",
    Kind.HARDLINK: "a hard link",
    Kind.FIFO: "a FIFO",
    Kind.CHARACTER: "a device",
    Kind.BLOCK: "a device",
    Kind.DIRECTORY: "a directory",
}


class Member(NamedTuple):
    """An entry of the table: `size` bytes at `offset` of `file` for a regular file, `link` for a link."""

    kind: Kind
    file: OpenFile | None = None
    offset: int = 0
    size: int = 0
    link: bytes = b""


class _End(NamedTuple):
    """The end of a chain of links after *hops* links; *why* says why it leads nowhere, if it does."""

    path: bytes
    hops: int = 0
    why: str = ""


_ENDLESS = _End(b"", MAX_LINKS)


class Members:
    """The table of an archive, and the owner of the files that hold the members' bytes.

    `complete` is False if the archive has no end mark, which a complete one normally has. `stored` is the size of the
    archive as it was given, compressed or not, without holes, in bytes.
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
        """Add *member*; it replaces an earlier one with that name."""
        self._table[name] = member
        self._ends.clear()

    def own(self, file: OpenFile) -> OpenFile:
        """Close *file* together with this table; return it."""
        self._files.append(file)
        return file

    def names(self) -> Iterable[bytes]:
        """All names, in the order of their first occurrence in the archive."""
        return self._table.keys()

    def names_in(self, name: str) -> Sequence[str]:
        """The names right below the directory *name*, in their order."""
        prefix = _key(name) + b"/"
        found = (path[len(prefix) :] for path in self._table if path.startswith(prefix))
        return sorted(os.fsdecode(rest) for rest in found if rest and b"/" not in rest)

    def open(self, name: str | bytes) -> Extent | None:
        """The regular file *name*, or None if it does not exist.

        Raises UnsafePathError if it is a link or a special file.
        """
        member = self._table.get(_key(name))
        if member is None:
            return None
        if member.kind is not Kind.FILE or member.file is None:
            kind = _KINDS.get(member.kind, "not a regular file")
            raise UnsafePathError(self._named(name), f"is {kind}; only regular files are read")
        return Extent(member.file, member.offset, member.size, self._named(name))

    def read(self, name: str | bytes, bounds: Bounds = BOUNDS) -> bytes | None:
        """The whole document *name*, or None if it does not exist.

        Raises LimitError if it is longer than a document may be, UnsafePathError as `open` does.
        """
        blob = self.open(name)
        return None if blob is None else read_all(blob, self._named(name), bounds)

    def resolve(self, name: str) -> bytes:
        """The member that *name* means after all symbolic and hard links are followed; it may not exist.

        Raises UnsafePathError if *name* or a link leads out of the archive, LimitError for a chain that does not end.
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
        """The end of *way*, which is cached: thousands of names may share a long chain of links."""
        for number, path in enumerate(reversed(way), 1):
            hops = end.hops + number
            self._ends[path] = _ENDLESS if hops >= MAX_LINKS else end._replace(hops=hops)
        if end.why:
            raise UnsafePathError(self._named(name), end.why)
        if end.hops + len(way) >= MAX_LINKS:
            raise LimitError(self._named(name), f"needs more than {MAX_LINKS} links to be followed, perhaps a loop")
        return end.path

    def close(self) -> None:
        """Close all files; extents that are still open can no longer be read."""
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
    """The name as tar stores it. A document may contain an unpaired surrogate, which must not fail here."""
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
