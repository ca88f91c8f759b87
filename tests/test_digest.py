"""Digests: readers return the announced bytes, or raise an error, at the end at the latest."""

from __future__ import annotations

import io

import pytest

from arstore.digest import Digest, VerifiedReader, verify
from arstore.errors import DigestMismatchError, SizeMismatchError, TruncatedError

DATA = b"content" * 1000


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_bytes_that_are_and_are_not_what_a_digest_says(algorithm):
    digest = Digest.of(DATA, algorithm)
    verify(DATA, digest)
    for other in (b"", DATA[:-1], DATA + b"\0", b"C" + DATA[1:]):
        with pytest.raises(DigestMismatchError, match=str(digest)):
            verify(other, digest)


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_reader_that_verifies(size):
    digest = Digest.of(DATA, "sha256")
    assert VerifiedReader(io.BytesIO(DATA), digest, size, "it").read(1 << 20) == DATA
    for other in (b"", DATA[:-1], DATA + b"\0", b"C" + DATA[1:]):
        reader = VerifiedReader(io.BytesIO(other), digest, size, "it")
        with pytest.raises((DigestMismatchError, SizeMismatchError, TruncatedError)):
            list(reader)
