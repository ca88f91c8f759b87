"""One member of a layer's tar archive, as a value.

Paths are bytes (a layer may hold names in any encoding), relative to the layer's root, without `.`, `..`, empty
components or a trailing slash; the root itself is b"". Times are integer nanoseconds since the epoch and may be
negative.
"""

from __future__ import annotations

from enum import Enum

from arstore.values import Slotted


class Kind(Enum):
    """Type of a file; the values are the letters of `find -type`, and `h` for a hard link."""

    FILE = "f"
    DIRECTORY = "d"
    SYMLINK = "l"
    HARDLINK = "h"
    CHARACTER = "c"
    BLOCK = "b"
    FIFO = "p"


class Entry(Slotted):
    """A member, with all information of its headers.

    `link` is a symlink's target exactly as written, or a hard link's target as a path within the layer. `size` is the
    size of the resulting file in bytes. `offset` is where its content begins in the uncompressed tar, meaningful only
    when `sparse` is None. `sparse` lists the `(offset, length)` runs of data in a GNU or PAX sparse file; the rest of
    the file reads as zeros.
    """

    __match_args__ = (
        "path",
        "kind",
        "mode",
        "uid",
        "gid",
        "mtime",
        "size",
        "link",
        "major",
        "minor",
        "xattrs",
        "offset",
        "sparse",
    )
    __slots__ = __match_args__

    def __init__(
        self,
        path: bytes,
        kind: Kind,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        size: int = 0,
        link: bytes = b"",
        major: int = 0,
        minor: int = 0,
        xattrs: dict[bytes, bytes] | None = None,
        offset: int = 0,
        sparse: list[tuple[int, int]] | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.size = size
        self.link = link
        self.major = major
        self.minor = minor
        self.xattrs = {} if xattrs is None else xattrs
        self.offset = offset
        self.sparse = sparse

    @property
    def parent(self) -> bytes:
        """The path of the directory that holds this entry; b"" for the root's children."""
        return self.path.rpartition(b"/")[0]

    @property
    def name(self) -> bytes:
        """The last component of the path."""
        return self.path.rpartition(b"/")[2]


def shown(path: bytes) -> str:
    """Return *path* for a person: valid UTF-8 unchanged, every other byte and every control character escaped."""
    text = path.decode("utf-8", "backslashreplace")
    # The codec unicode_escape would be imported at its first use, which a confined worker cannot do.
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
