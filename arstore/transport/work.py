"""Limits for the work that one source may cause before anything is taken from it, in proportion to its size.

Well-compressed bytes are cheap to send, so this counts what costs time and memory here: bytes that are parsed, entries
that are visited, and layers that images name. A small source has a fixed allowance of each; a larger one has more for
every byte of its stored size. The verdict on a source is the same on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.tar.limits import raising

if TYPE_CHECKING:
    from arstore.tar.limits import Limits

VALUE = 16
"""Bytes that one value of a document counts as; in real documents, values are longer."""
_PARSED_A_BYTE = 8
"""Bytes that may be parsed for each byte of the source: the ratio to which documents compress."""
_BYTES_A_VISIT = 16
_BYTES_A_REFERENCE = 200
"""Bytes that a layer takes in a manifest and a config together, uncompressed."""


class Work:
    """Counts the work on one source, called *what* in errors.

    *size* is the stored size of the source in bytes; None if it is not known in advance, and then the bytes that are
    read count. Once an allowance is used up, every further call raises the same error.
    """

    def __init__(self, what: str, limits: Limits, size: int | None = None) -> None:
        self.what = what
        self._limits = limits
        self._is_growing = size is None
        self._size = size or 0
        self._held = 0
        self._parsed = 0
        self._visits = 0
        self._references = 0
        self._error: LimitError | None = None

    def hold(self, data: bytes) -> None:
        """Count a document that is kept in memory until its images are published. Raises LimitError."""
        self._held += len(data)
        if self._is_growing:
            self._size += len(data)
        most = self._limits.documents
        if self._held > most:
            raise self.passed("documents", f"has more than {most} bytes of manifests and configs")

    def parse(self, data: bytes) -> None:
        """Count a document that is about to be parsed. Raises LimitError."""
        self._parsed += max(len(data), VALUE * sum(map(data.count, (b",", b"[", b"{"))))
        most = self._limits.parsed + _PARSED_A_BYTE * self._size
        if self._parsed > most:
            why = f"has {self._parsed} bytes of manifests and configs to parse; for its size, {most} are allowed"
            raise self.passed("parsed", why)
        self._go_on()

    def visit(self, count: int = 1) -> None:
        """Count *count* entries that are visited. Raises LimitError."""
        self._visits += count
        most = self._limits.visits + self._size // _BYTES_A_VISIT
        if self._visits > most:
            why = (
                f"repeats its lists so often that {self._visits} entries are visited; for its size, {most} are allowed"
            )
            raise self.passed("visits", why)
        self._go_on()

    def refer(self, count: int) -> None:
        """Count the layers that one image names. Raises LimitError."""
        self._references += count
        most = self._limits.references + self._size // _BYTES_A_REFERENCE
        if self._references > most:
            why = f"has images that name {self._references} layers; for its size, {most} are allowed"
            raise self.passed("references", why)
        self._go_on()

    def list(self, count: int) -> None:
        """Accept *count* images in a list, before any of them is read. Raises LimitError."""
        if count > self._limits.images:
            raise self.passed("images", f"lists more than {self._limits.images} images")

    def passed(self, name: str, why: str) -> LimitError:
        """The error for exceeding the limit *name*; it is raised by all further calls, too."""
        if self._error is None:
            self._error = LimitError(self.what, why, raising(name))
        return self._error.with_traceback(None)

    def _go_on(self) -> None:
        # A reader that skips unreadable documents may have ignored this error.
        if self._error is not None:
            raise self._error.with_traceback(None)
