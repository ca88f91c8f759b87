"""Digests, and readers that verify what passes through them.

Grammar and algorithms: OCI image-spec, descriptor.md, "Digests". Only the registered algorithms `sha256` and `sha512`
name content; anything else (upper case, other lengths, other algorithms) is refused, because a digest becomes a
file name. Not in scope: what the bytes mean.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from arstore.errors import DigestMismatchError, InvalidReferenceError, SizeMismatchError, TruncatedError
from arstore.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

HEX_LENGTHS = {"sha256": 64, "sha512": 128}
"""The algorithms that may name content, with the length of their hexadecimal form."""

CHUNK = 1 << 20
"""Bytes read at a time: large enough that hashing and inflating run without the GIL for most of their time."""

_SMALL = 1 << 16
"""Bytes that are hashed without OpenSSL: it takes 2 to 4 ms to load, and is 6 times as fast (0.3 ms saved)."""
_GRAMMAR = pattern(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Hash(Protocol):
    """The part of a `hashlib` object that is used here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add *data*."""

    def hexdigest(self) -> str:
        """Return the digest of all data added so far."""


class Reader(Protocol):
    """A stream of bytes: files, sockets and the readers of this module all have this method."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, fewer only if the source has fewer at hand, b"" at the end."""


class Digest(str):
    """A digest such as `sha256:9f86d0…`: a `str` that is known to follow the grammar."""

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """Parse *text*.

        Raises InvalidReferenceError when it is not a digest of a known algorithm in lower case.
        """
        if isinstance(text, Digest):
            return text
        if not isinstance(text, str) or not is_digest(text):
            raise InvalidReferenceError(repr(text)[:90], "not a sha256 or sha512 digest")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of *data*."""
        hasher = _small_hash(algorithm) if len(data) <= _SMALL and "hashlib" not in sys.modules else None
        if hasher is None:
            import hashlib

            return cls.finished(algorithm, getattr(hashlib, algorithm)(data))
        hasher.update(data)
        return cls.finished(algorithm, hasher)

    @classmethod
    def finished(cls, algorithm: str, hasher: Hash) -> Digest:
        """The digest of all that *hasher*, made by `new_hash(algorithm)`, was fed."""
        # It follows the grammar, and need not be parsed.
        return str.__new__(cls, f"{algorithm}:{hasher.hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part after the colon: 64 or 128 lower-case hexadecimal digits."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first twelve hexadecimal digits, as tools print them."""
        return self.hex[:12]

    def new_hash(self) -> Hash:
        """A fresh hash of this digest's algorithm."""
        # Imported late: it loads OpenSSL, and most commands only compare digests.
        import hashlib

        return hashlib.new(self.algorithm)


def _small_hash(algorithm: str) -> Hash | None:
    """A hash of the interpreter's own, which is slower than that of OpenSSL, and need not load it; None without it."""
    for name in (f"_{algorithm}", "_sha2"):  # before and from Python 3.12
        try:
            made: Hash = getattr(__import__(name), algorithm)()
        except (ImportError, AttributeError):
            continue
        return made
    return None


def is_digest(text: str) -> bool:
    """Whether *text* is a digest that `Digest` would take."""
    return _GRAMMAR.fullmatch(text) is not None


class VerifiedReader:
    """Passes a stream on and verifies that it has the announced size and digest.

    `read` never returns more than *size* bytes in all; the read that reaches the end of the source verifies, so a
    caller that reads until b"" has verified content. *size* None means that the size is not known beforehand.
    """

    def __init__(self, source: Reader, digest: Digest, size: int | None, what: str = "") -> None:
        self._source = source
        self._digest = digest
        self._expected = size
        self._what = what or str(digest)
        self._hash = digest.new_hash()
        self._done = False
        self.consumed = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes; b"" once the content has been verified.

        Raises TruncatedError, SizeMismatchError or DigestMismatchError.
        """
        if self._done:
            return b""
        if size is None or size < 0:
            return b"".join(self)
        data = self._source.read(size)
        if not data:
            self._finish()
            return b""
        self.consumed += len(data)
        if self._expected is not None and self.consumed > self._expected:
            raise SizeMismatchError(self._what, f"is longer than the {self._expected} bytes announced")
        self._hash.update(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(CHUNK):
            yield data

    def _finish(self) -> None:
        if self._expected is not None and self.consumed < self._expected:
            raise TruncatedError(self._what, f"ends after {self.consumed} of {self._expected} bytes")
        found = Digest.finished(self._digest.algorithm, self._hash)
        if found != self._digest:
            raise DigestMismatchError(self._what, f"its content has the digest {found}")
        self._done = True


def verify(data: bytes, digest: Digest, size: int | None = None, what: str = "") -> bytes:
    """Return *data* when it has this digest and size.

    Raises SizeMismatchError, TruncatedError or DigestMismatchError.
    """
    what = what or str(digest)
    if size is not None and len(data) < size:
        raise TruncatedError(what, f"ends after {len(data)} of {size} bytes")
    if size is not None and len(data) > size:
        raise SizeMismatchError(what, f"has {len(data)} bytes, {size} were announced")
    found = Digest.of(data, digest.algorithm)
    if found != digest:
        raise DigestMismatchError(what, f"its content has the digest {found}")
    return data


def short_hash(data: bytes, size: int) -> str:
    """Return *size* bytes of BLAKE2s of *data* as hexadecimal digits, to make a name from.

    `hashlib` has the same function, and loads OpenSSL (2 to 4 ms).
    """
    try:
        from _blake2 import blake2s
    except ImportError:
        from hashlib import blake2s
    text: str = blake2s(data, digest_size=size).hexdigest()
    return text
