"""The listing of a tree of extracted files: a description of each at the time it was made, to find later changes.

`listing` is next to `fs/` in the tree's directory; the tree's record has its digest. It is written while the files are
extracted, in the order of the archive, so that memory does not grow with their number: it is a log of what was made,
replaced and dropped. A reader replays the log; the last record of a name counts.

    arstore listing 1\\n
    (kind, lengths of name, data and attributes, mode, owner, time, size) name data attributes ...

Kinds are the letters of `find -type`, and: `s` a sparse file, `h` a hard link (the data is the path of the other name),
`w` a whiteout, `>` the directory that the following names are in, `-` a name that was removed, `=` a directory that was
removed with everything in it. The data of a file is the BLAKE3 of its content, 16 bytes; of a sparse file the BLAKE3 of
its runs, which follow it. Directories are recorded with their whole path, at the end.

Attributes of files and directories are as the kernel shows them: an ACL changes with the mode.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from blake3 import blake3

from arstore.linux.files.writing import write_all
from arstore.trees.metadata import MODE_BITS
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.tar.entry import Entry
    from arstore.trees.skeleton import DirectoryNode

NAME = "listing"
"""The name of the file."""

DIGEST = 16
"""Bytes of a BLAKE3 digest here, and in the sums of a tree's record."""

RUN = struct.Struct("<QQ")
"""Start and length of a run of a sparse file."""

_HEAD = b"arstore listing 1\n"
_RECORD = struct.Struct("<cHIIHIIqQ")
_ATTRIBUTE = struct.Struct("<HI")
_LAST = (1 << 63) - 1
"""The last time (ns) in a listing; later times are recorded as this one, and are not compared."""
_FLUSH = 256 << 10


class Listed(NamedTuple):
    """Description of one name: kind, mode, owner, time (ns), size (of a device: its number), data, attributes."""

    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    data: bytes
    attributes: bytes


class Recorder:
    """Writes the listing of the tree that is being made in the directory *tree_fd*."""

    def __init__(self, tree_fd: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(NAME, flags, 0o600, dir_fd=tree_fd)
        self._buffer = bytearray(_HEAD)
        self._hash = blake3()
        self._node: DirectoryNode | None = None

    def add(self, node: DirectoryNode, name: bytes, kind: bytes, entry: Entry, size: int, data: bytes) -> None:
        """Record *name*, made in *node* from *entry*, which has the attributes that were set. Raises OSError."""
        self._enter_directory(node)
        mtime = entry.mtime
        if not -_LAST < mtime < _LAST:
            mtime = _LAST
        more = packed(entry.xattrs) if entry.xattrs else b""
        lengths = len(name), len(data), len(more)
        head = _RECORD.pack(kind, *lengths, entry.mode & MODE_BITS, entry.uid, entry.gid, mtime, size)
        self._buffer += head + name + data + more
        if len(self._buffer) > _FLUSH:
            self._flush()

    def add_attributed(
        self, node: DirectoryNode, name: bytes, kind: bytes, entry: Entry, data: bytes, status: os.stat_result, fd: int
    ) -> None:
        """Record *name*, made in *node* with attributes, as *status* and *fd* show it. Raises OSError."""
        self._enter_directory(node)
        self._write_record(kind, name, data, packed(_attributes(fd)), entry, status, entry.size)

    def add_directory(self, path: bytes, entry: Entry, status: os.stat_result, fd: int) -> None:
        """Record the final state of the directory *path*. Raises OSError."""
        self._write_record(b"d", b"", path, packed(_attributes(fd)), entry, status, 0)

    def note(self, node: DirectoryNode, name: bytes, kind: bytes, data: bytes = b"") -> None:
        """Record a whiteout (`w`), a hard link (`h`) to the path *data*, or a removed name (`-`). Raises OSError."""
        self._enter_directory(node)
        self._buffer += _RECORD.pack(kind, len(name), len(data), 0, 0, 0, 0, 0, 0) + name + data
        if len(self._buffer) > _FLUSH:
            self._flush()

    def drop_directory(self, path: bytes) -> None:
        """Record that the directory *path* was removed with everything in it."""
        self._node = None
        self._buffer += _RECORD.pack(b"=", 0, len(path), 0, 0, 0, 0, 0, 0) + path

    def finish(self) -> str:
        """End the listing; return its digest in hexadecimal digits. Raises OSError."""
        self._flush()
        return self._hash.hexdigest(DIGEST)

    def close(self) -> None:
        """Release the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _enter_directory(self, node: DirectoryNode) -> None:
        if node is not self._node:
            self._node = node
            path = node.path
            self._buffer += _RECORD.pack(b">", 0, len(path), 0, 0, 0, 0, 0, 0) + path

    def _write_record(
        self,
        kind: bytes,
        name: bytes,
        data: bytes,
        attributes: bytes,
        entry: Entry,
        status: os.stat_result,
        size: int,
    ) -> None:
        mtime = max(-_LAST, min(status.st_mtime_ns, _LAST))
        mode = status.st_mode & MODE_BITS
        lengths = (len(name), len(data), len(attributes))
        # With a single id the file itself cannot have this owner.
        head = _RECORD.pack(kind, *lengths, mode, entry.uid, entry.gid, mtime, size)
        self._buffer += head + name + data + attributes
        if len(self._buffer) > _FLUSH:
            self._flush()

    def _flush(self) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        self._hash.update(data)
        write_all(self._fd, data)


def _attributes(fd: int) -> dict[bytes, bytes]:
    """Read the attributes of an open file, by descriptor: a confined worker has no /proc."""
    return {os.fsencode(name): os.getxattr(fd, name) for name in os.listxattr(fd)}


def packed(found: dict[bytes, bytes]) -> bytes:
    """Encode attributes as in a listing, sorted by name."""
    parts = []
    for name, value in sorted(found.items()):
        parts.append(_ATTRIBUTE.pack(len(name), len(value)) + name + value)
    return b"".join(parts)


def unpacked(data: bytes) -> dict[bytes, bytes]:
    """Decode the attributes that `packed` encoded. Raises ValueError for other data."""
    found = {}
    place = 0
    while place < len(data):
        if place + _ATTRIBUTE.size > len(data):
            raise ValueError("attributes that are cut short")
        name, value = _ATTRIBUTE.unpack_from(data, place)
        place += _ATTRIBUTE.size
        if place + name + value > len(data):
            raise ValueError("attributes that are cut short")
        found[data[place : place + name]] = data[place + name : place + name + value]
        place += name + value
    return found


def runs_of(entry: Entry) -> bytes:
    """Encode the runs of a sparse file, as they follow its digest."""
    return b"".join(RUN.pack(*run) for run in entry.sparse or ())


def played(data: bytes) -> dict[bytes, Listed]:
    """Replay the log in *data*; return what it describes by relative path. Names of one file share one object.

    Raises ValueError for data that is not a listing.
    """
    found: dict[bytes, Listed] = {}
    for path, entry in _records(data):
        if entry.kind == b"-":
            found.pop(path, None)
        elif entry.kind == b"=":
            below = entry.data + b"/"
            for one in [one for one in found if one == entry.data or one.startswith(below)]:
                del found[one]
        elif entry.kind == b"h":
            other = found.get(entry.data)
            if other is None:
                raise ValueError("a hard link to nothing")
            found[path] = other
        else:
            found[entry.data if entry.kind == b"d" else path] = entry
    return found


def _records(data: bytes) -> Iterator[tuple[bytes, Listed]]:
    if not data.startswith(_HEAD):
        raise ValueError("not a listing")
    place = len(_HEAD)
    parent = b""
    while place < len(data):
        try:
            kind, *lengths, mode, uid, gid, mtime, size = _RECORD.unpack_from(data, place)
        except struct.error as error:
            raise ValueError("cut short") from error
        place += _RECORD.size
        parts = []
        for length in lengths:
            parts.append(data[place : place + length])
            place += length
        if place > len(data):
            raise ValueError("cut short")
        if parts[2]:
            unpacked(parts[2])
        if kind == b">":
            parent = parts[1] + b"/" if parts[1] else b""
        else:
            yield parent + parts[0], Listed(kind, mode, uid, gid, mtime, size, parts[1], parts[2])
