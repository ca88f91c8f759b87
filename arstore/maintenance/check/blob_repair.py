"""Replacement of damaged blobs by other copies.

A copy comes from a source that the user names; from the kept tar of a tree, if the blob is that tar; or, for small
documents, from the damaged bytes: a single flipped bit is found by trying all. A copy is used only if it has the blob's
digest. A compressed layer cannot be made from its tar, because compression is not reproducible.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest, VerifiedReader
from arstore.disk.staging import Ingest
from arstore.errors import ArstoreError
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.writing import write_all
from arstore.trace import reached
from arstore.trees.forms import TAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from arstore.digest import Reader
    from arstore.graph.records import LentRecord
    from arstore.store.store import Store
    from arstore.tar.limits import Limits
    from arstore.transport.source import ImageSource

_LARGEST_GUESS = 16 << 10
"""Maximum size in bytes of a document for which each bit is tried: about a second."""


def mend_blobs(
    store: Store, digests: Iterable[str], references: Sequence[str], limits: Limits | None = None
) -> set[str]:
    """Replace these blobs by intact copies; return the digests of those for which there was one.

    *limits* apply to the sources.

    Raises the errors of a source that cannot be opened, OSError, and the errors of Graph.
    """
    from arstore.tar.limits import DEFAULT_LIMITS
    from arstore.transport.detect import open_source

    mended: set[str] = set()
    with ExitStack() as stack:
        ingest = stack.enter_context(Ingest(store.directories))
        known = limits or DEFAULT_LIMITS
        sources = [stack.enter_context(open_source(reference, ingest, limits=known)) for reference in references]
        for source in sources:
            if source.is_remote:
                source.images()  # fails early if the registry cannot be reached
        for digest in dict.fromkeys(digests):
            if any(_take(store, ingest, digest, copy) for copy in _copies(store, digest, sources)) or _is_lent_again(
                store, digest
            ):
                mended.add(digest)
    return mended


def _copies(store: Store, digest: str, sources: Sequence[ImageSource]) -> Iterator[Reader]:
    """Yield readers of possible copies of the blob; each has to be read before the next is taken."""
    for source in sources:
        with suppress(ArstoreError, OSError):
            blob = source.open_blob(Digest(digest))
            try:
                yield blob
            finally:
                blob.close()
    with suppress(OSError), open(f"{store.directories.tree(digest)}/{TAR}", "rb", buffering=0) as tar:
        yield tar
    guessed = _guessed(store.directories.blob(digest), Digest(digest))
    if guessed is not None:
        yield _Bytes(guessed)


def lent_again(store: Store, digest: str) -> LentRecord | None:
    """Return the record for a layer's blob of an additional store, after reading all of it; None if none has it."""
    lent = None if store.elsewhere is None else store.elsewhere.lenders().blob(digest)
    if lent is None or not lent.record.diff_id:
        return None
    try:
        with open(lent.path, "rb", buffering=0) as file:
            reader = VerifiedReader(file, Digest(digest), lent.record.size, f"blob {digest}")
            while reader.read(CHUNK):
                pass
    except (ArstoreError, OSError):
        return None
    return lent.record


def _is_lent_again(store: Store, digest: str) -> bool:
    """Whether an additional store has the layer's blob, which has no file here; it is then recorded as lent.

    This is needed if the graph was rebuilt from documents, which do not say which blobs are lent.
    """
    if os.path.lexists(store.directories.blob(digest)) or (record := lent_again(store, digest)) is None:
        return False
    with store.graph.write(lenient=True) as change:
        change.delete("blobs", digest)
        change.put_lent(digest, record)
    return True


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        """Return all bytes at once."""
        data, self._data = self._data, b""
        return data


def _guessed(path: str, digest: Digest) -> bytes | None:
    """Return the original bytes of a small blob in which one bit has flipped; None for any other damage."""
    data = _small(path)
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            if Digest.of(bytes(data), digest.algorithm) == digest:
                return bytes(data)
            data[place] ^= 1 << bit
    return None


def _small(path: str) -> bytearray:
    """Return the content of a small regular file; empty for any other, or if it does not exist."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_GUESS:
                return bytearray(os.pread(fd, _LARGEST_GUESS, 0))
        finally:
            os.close(fd)
    return bytearray()


def _take(store: Store, ingest: Ingest, digest: str, copy: Reader) -> bool:
    """Put *copy* in the blob's place if it has its digest; return whether it has."""
    staged = ingest.file(f"copy-{digest.replace(':', '-')}")
    try:
        size = _stage(staged, VerifiedReader(copy, Digest(digest), None, f"blob {digest}"))
    except (ArstoreError, OSError):
        with suppress(FileNotFoundError):
            os.unlink(staged)
        return False
    reached("repair.blob-copied")
    path = store.directories.blob(digest)
    with store.graph.write(lenient=True) as change:
        if os.path.isdir(path) and not os.path.islink(path):
            ingest.take(path, f"displaced-{os.path.basename(path)}")
        ingest.place(staged, path)
        reached("repair.blob-placed")
        sync_directory(os.path.dirname(path))
        record = change.blob(digest)
        if record is not None and record.size != size:
            change.put_blob(digest, record._replace(size=size))
    return True


def _stage(path: str, reader: VerifiedReader) -> int:
    """Write everything to a new file at *path*, durably; return its size.

    Raises OSError and the errors of VerifiedReader.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    size = 0
    try:
        while data := reader.read(CHUNK):
            write_all(fd, data)
            size += len(data)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    return size
