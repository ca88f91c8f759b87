"""The blobs of a source on their way to a sink: read once, verified, and recompressed if that is requested.

Untrusted compressed data is decompressed by a process that can do nothing else. If it comes from a network, it is
fetched by a process that has no files (`workers.confinement`). This process only sees the bytes of blobs, hashes them
and writes them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest, VerifiedReader
from arstore.errors import (
    BRING_BACK,
    CompressionError,
    DigestMismatchError,
    MissingBlobError,
    SizeMismatchError,
    StoreDamagedError,
    TruncatedError,
)
from arstore.store.ingest.incoming import prepare_fetching
from arstore.tar.codec import HEAD, Compression, detect, portable_compressing
from arstore.tar.peeking import Resumed, head_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.digest import Reader
    from arstore.oci.descriptor import Descriptor
    from arstore.store.ingest.incoming import BlobReader, BlobSource
    from arstore.tar.limits import Limits
    from arstore.transport.sink import BlobSink
    from arstore.workers.fetching import Fetched, Wanted

    Tars = Callable[[Digest], BlobReader | None]
    """Opens a layer's uncompressed tar by its diff ID; None if it is not available."""


def _no_tar(_diff_id: Digest, /) -> None:
    return None


class Contents:
    """The blobs of *source*, and the uncompressed tars that it can open."""

    def __init__(self, source: BlobSource, limits: Limits, tars: Tars = _no_tar, *, is_store: bool = False) -> None:
        self._source = source
        self._limits = limits
        self._tars = tars
        self._is_store = is_store

    @property
    def is_remote(self) -> bool:
        """Whether blobs come from a network."""
        return self._source.is_remote

    def opener(self, descriptor: Descriptor) -> Callable[[], BlobReader]:
        """The function that opens the blob, for the process that fetches it."""
        return partial(self._source.open_blob, descriptor.digest)

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Reader]:
        """The blob unchanged; reading it to its end verifies it.

        Raises MissingBlobError; while reading, DigestMismatchError, SizeMismatchError or TruncatedError; for a blob of
        the store, StoreDamagedError instead of all these; and the errors of the source.
        """
        with ExitStack() as stack:
            stack.enter_context(self._damage(descriptor.digest))
            raw = stack.enter_context(self._opened(descriptor))
            yield VerifiedReader(raw, descriptor.digest, descriptor.size)

    def give(self, descriptor: Descriptor, sink: BlobSink, tell: Callable[[int], object]) -> None:
        """Let *sink* take the blob and verify it. Raises the errors of `blob` and of the sink."""
        with self._damage(descriptor.digest):
            sink.take(descriptor, self.opener(descriptor), tell)

    @contextmanager
    def tar(self, layer: Descriptor, diff_id: Digest) -> Iterator[Reader]:
        """The tar in a layer's blob; reading it to its end verifies it.

        Raises the errors of `blob`, and CompressionError, LimitError.
        """

        from arstore.transport.media.inflating import inflating

        with ExitStack() as stack:
            stack.enter_context(self._damage(layer.digest))
            ready = self._tars(diff_id)
            if ready is not None:
                stack.callback(ready.close)
                yield VerifiedReader(ready, diff_id, None, f"the tar of layer {diff_id}")
                return
            raw = stack.enter_context(self._fetched(layer))
            blob = VerifiedReader(raw, layer.digest, layer.size)
            what = f"layer {layer.digest}"
            head = head_of(blob, HEAD)
            compression = detect(head, what)
            plain: Reader = Resumed(head, blob)
            if compression is not Compression.NONE:
                plain = stack.enter_context(inflating(plain, head, what, compression, self._limits))
            yield VerifiedReader(plain, diff_id, None, f"the tar of {what}")

    @contextmanager
    def _opened(self, descriptor: Descriptor) -> Iterator[Reader]:
        blob = self.opener(descriptor)()
        try:
            yield blob
        finally:
            blob.close()

    @contextmanager
    def _fetched(self, descriptor: Descriptor) -> Iterator[Reader]:
        """Like `_opened`, for a reader that must not make connections: another process makes them."""

        from arstore.workers.fetching import Wanted

        if not self._source.is_remote:
            with self._opened(descriptor) as blob:
                yield blob
            return
        prepare_fetching(self._source)
        with fetched([Wanted(f"blob {descriptor.digest}", descriptor.size, self.opener(descriptor))]) as streams:
            yield streams.next()

    @contextmanager
    def _damage(self, digest: Digest) -> Iterator[None]:
        try:
            yield
        except (DigestMismatchError, SizeMismatchError, TruncatedError, CompressionError, MissingBlobError) as error:
            if not self._is_store:
                raise
            why = error.why if isinstance(error, MissingBlobError) else f"its file has been altered: {error.why}"
            raise StoreDamagedError(digest, why, BRING_BACK) from error


@contextmanager
def fetched(wanted: list[Wanted]) -> Iterator[Fetched]:
    """Yield these streams in order, read by a process that has sockets and no files."""

    from arstore.workers import confinement
    from arstore.workers.fetching import Fetched, fetch
    from arstore.workers.pool import beside

    reading, writing = os.pipe2(os.O_CLOEXEC)
    with ExitStack() as stack:
        stack.callback(os.close, reading)

        def work() -> None:
            os.close(reading)
            confined = confinement.fetching()
            confined.shed()
            confined.enter()
            fetch(wanted, writing)

        try:
            stack.enter_context(beside(work))
        finally:
            os.close(writing)
        yield Fetched(reading)


def compressed(tar: Reader, compression: Compression, level: int | None) -> Iterator[bytes]:
    """The bytes of *tar*, compressed: always the same for the same tar, level and version of the library.

    gzip is made by zlib at level 6, zstd by libzstd at level 3, unless *level* is given. The tar is compressed in
    pieces of CHUNK bytes, however much its reader returns at a time.
    """
    state = portable_compressing(compression, level)
    for piece in _pieces(tar):
        if output := piece if state is None else state.compress(piece):
            yield output
    if state is not None and (output := state.flush()):
        yield output


def _pieces(tar: Reader) -> Iterator[bytes]:
    held = b""
    while data := tar.read(CHUNK):
        held = held + data if held else data
        while len(held) >= CHUNK:
            yield held[:CHUNK]
            held = held[CHUNK:]
    if held:
        yield held
