"""Open blobs: a range of bytes in an open regular file, or bytes in memory.

Reads are positional, so several blobs of one file can be read from several threads at once. Not in scope: what the
bytes mean, and whether they are the right ones (`copy` verifies).
"""

from __future__ import annotations

import os

from arstore.errors import TruncatedError
from arstore.oci.document import BOUNDS, Bounds
from arstore.store.ingest.incoming import Window


class OpenFile:
    """A file descriptor with one owner.

    `fd` is -1 once it is closed, so that a late read fails instead of reading another file.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor, once."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Extent:
    """A `BlobReader` over *length* bytes at *offset* in *file*; seekable, with a separate position.

    With *owned*, closing it also closes the file. If the file is truncated while it is read, reading raises
    TruncatedError.
    """

    __slots__ = ("_file", "_owned", "_position", "length", "offset", "what")

    def __init__(self, file: OpenFile, offset: int, length: int, what: str, *, owned: bool = False) -> None:
        self._file = file
        self._owned = owned
        self._position = 0
        self.what = what
        self.offset = offset
        self.length = length

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes (all that are left when negative), b"" at the end.

        Raises TruncatedError when the file has become shorter, OSError when it cannot be read.
        """
        left = self.length - self._position
        if size < 0:
            return b"".join(iter(lambda: self.read(max(left, 1)), b""))
        if left <= 0 or not size:
            return b""
        try:
            data = os.pread(self._file.fd, min(size, left), self.offset + self._position)
        except OSError as error:
            error.filename = self.what
            raise
        if not data:
            raise TruncatedError(self.what, f"ends after {self._position} of {self.length} bytes")
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to *offset* from the start, the position or the end; return the new position, perhaps past the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """The position, relative to the extent's start."""
        return self._position

    def again(self) -> Extent:
        """The same bytes, from their start, with a separate position; closing it does not close the file."""
        return Extent(self._file, self.offset, self.length, self.what)

    def window(self) -> Window:
        """Where the bytes are; the descriptor is valid until the file is closed."""
        return Window(self._file.fd, self.offset, self.length)

    def close(self) -> None:
        """Close the file if it is owned."""
        if self._owned:
            self._file.close()


class Bytes:
    """A `BlobReader` over bytes in memory: a document that is not in a file."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes (all that are left when negative), b"" at the end."""
        end = len(self._data) if size < 0 else self._position + size
        data = self._data[self._position : end]
        self._position += len(data)
        return data

    def window(self) -> None:
        """Always None: the bytes are not in a file."""

    def close(self) -> None:
        """Do nothing: there is no descriptor."""


def read_all(blob: Extent, what: str, bounds: Bounds = BOUNDS) -> bytes:
    """Read a whole *blob*, a document.

    Raises LimitError if it is longer than a document may be.
    """
    if blob.length > bounds.document:
        why = f"has {blob.length} bytes; a document may have at most {bounds.document}"
        raise bounds.passed("document", what, why)
    return blob.read()
