"""The work that one source may ask for before anything of it is taken: counted, and bounded by what the source has.

Bytes that compress well are cheap to send. So what is counted is what costs time and memory here: bytes that are
parsed, entries that are gone through, and layers that images name. A small source has a fixed allowance of each; a
larger one has more with every byte that is stored of it. The same source has the same verdict on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.tar.limits import raising

if TYPE_CHECKING:
    from arstore.tar.limits import Limits

VALUE = 16
"""Bytes that one value of a document counts as: real documents have fewer values than that."""
_PARSED_A_BYTE = 8
"""Bytes that may be parsed for each byte of the source: documents compress about as well."""
_BYTES_A_VISIT = 16
_BYTES_A_REFERENCE = 200
"""Bytes that a layer takes in a manifest and a config, uncompressed."""


class Work:
    """Counts the work on one source, which is *what* in errors.

    *size* is what the source has in bytes as it is stored; None where that is not known before it is read, and then
    what is read of it counts. An allowance that is used up stays so: whoever goes on has the same error again.
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
        """Count *count* entries that are gone through. Raises LimitError."""
        self._visits += count
        most = self._limits.visits + self._size // _BYTES_A_VISIT
        if self._visits > most:
            why = (
                f"lists the same things so often that {self._visits} are gone through; for its size, {most} are allowed"
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
        """Accept *count* images in a list, before any of them is looked at. Raises LimitError."""
        if count > self._limits.images:
            raise self.passed("images", f"lists more than {self._limits.images} images")

    def passed(self, name: str, why: str) -> LimitError:
        """The error that says that the source went past the limit *name*, from now on."""
        if self._error is None:
            self._error = LimitError(self.what, why, raising(name))
        return self._error.with_traceback(None)

    def _go_on(self) -> None:
        # Readers that pass over what they cannot read may have passed over this.
        if self._error is not None:
            raise self._error.with_traceback(None)
