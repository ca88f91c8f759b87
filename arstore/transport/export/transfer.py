"""Move blobs unchanged from a source to a sink, several at a time if both sides can.

Threads move them, because hashing, reading and writing run without the interpreter's lock. The bytes are not
interpreted, so they are not read by a separate process, not even from a network. A sink that takes blobs one after the
other gets them in order.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import SizeMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from queue import SimpleQueue

    from arstore.digest import Digest, Reader
    from arstore.oci.descriptor import Descriptor
    from arstore.store.progress import Progress
    from arstore.transport.export.content import Contents
    from arstore.transport.sink import BlobSink, BlobWriter

    Opened = Callable[[Descriptor], AbstractContextManager[Reader]]

STREAMS = 4
"""Blobs that are moved at a time: as many as registries and their proxies accept, and enough for two processors."""


def pump(reader: Reader, write: Callable[[bytes], object], tell: Callable[[int], object]) -> int:
    """Copy all of *reader*; return the number of bytes. Calls `tell` with the size of each piece."""
    count = 0
    while data := reader.read(CHUNK):
        write(data)
        count += len(data)
        tell(len(data))
    return count


def put(sink: BlobSink, descriptor: Descriptor, reader: Reader, tell: Callable[[int], object]) -> None:
    """Write the blob that *reader* verifies. Raises the errors of both sides."""
    writer: BlobWriter = sink.writer(descriptor)
    try:
        pump(reader, writer.write, tell)
        writer.finish(descriptor.digest, descriptor.size)
    finally:
        writer.close()


def transfer(contents: Contents, sink: BlobSink, blobs: Sequence[Descriptor], progress: Progress) -> None:
    """Move these blobs, each once; blobs that the sink holds are not moved.

    Raises SizeMismatchError for a blob that is announced with two sizes, and otherwise the first error of
    `Contents.blob` or of the sink; the other transfers are then cancelled.
    """
    todo: list[Descriptor] = []
    for blob in _once(blobs):
        progress.start(blob.digest, blob.digest.short, blob.size)
        if sink.holds(blob):
            progress.advance(blob.digest, blob.size)
            progress.finish(blob.digest, reused=True)
        else:
            todo.append(blob)
    if sink.traits.in_order or len(todo) < 2:
        _one_by_one(contents, sink, todo, progress)
    else:
        _Lanes(contents, sink, progress).run(_dealt(todo))


def _once(blobs: Iterable[Descriptor]) -> Iterable[Descriptor]:
    found: dict[Digest, Descriptor] = {}
    for blob in blobs:
        known = found.setdefault(blob.digest, blob)
        if known.size != blob.size:
            raise SizeMismatchError(blob.digest, f"is announced with {known.size} bytes and with {blob.size} bytes")
    return found.values()


def _one_by_one(contents: Contents, sink: BlobSink, blobs: Iterable[Descriptor], progress: Progress) -> None:
    for blob in blobs:
        if sink.traits.takes:
            contents.give(blob, sink, partial(progress.advance, blob.digest))
        else:
            with contents.blob(blob) as reader:
                put(sink, blob, reader, partial(progress.advance, blob.digest))
        progress.finish(blob.digest)


def _dealt(blobs: Iterable[Descriptor]) -> list[list[Descriptor]]:
    """Distribute the blobs, the largest first, to at most STREAMS lists of about the same size."""
    lists: list[list[Descriptor]] = [[] for _ in range(STREAMS)]
    sizes = [0] * STREAMS
    for blob in sorted(blobs, key=lambda one: one.size, reverse=True):
        place = sizes.index(min(sizes))
        lists[place].append(blob)
        # Every blob has a fixed cost: many empty ones must not end up in one list.
        sizes[place] += blob.size + 1
    return [some for some in lists if some]


class _Lanes:
    """Threads that each move one blob after the other."""

    def __init__(self, contents: Contents, sink: BlobSink, progress: Progress) -> None:
        from queue import SimpleQueue
        from threading import Event

        self._contents = contents
        self._sink = sink
        self._progress = progress
        self._news: SimpleQueue[tuple[str, int] | BaseException | None] = SimpleQueue()
        self._stop = Event()

    def run(self, lanes: Sequence[Sequence[Descriptor]]) -> None:
        """Move all blobs, and report the progress from this thread."""

        from threading import Thread

        threads = [Thread(target=self._lane, args=(lane,), daemon=True) for lane in lanes]
        try:
            for thread in threads:
                thread.start()
            error = self._follow(len(threads))
        finally:
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if error is not None:
            raise error

    def _lane(self, blobs: Sequence[Descriptor]) -> None:
        """The work of one thread."""
        try:
            for blob in blobs:
                if self._sink.traits.takes:
                    self._contents.give(blob, self._sink, partial(self._tell, blob.digest))
                else:
                    with self._contents.blob(blob) as reader:
                        put(self._sink, blob, reader, partial(self._tell, blob.digest))
                self._news.put((blob.digest, -1))
        except BaseException as error:
            self._news.put(error)
        else:
            self._news.put(None)

    def _tell(self, key: str, count: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self._news.put((key, count))

    def _follow(self, running: int) -> BaseException | None:
        """Receive messages from the threads until all have ended; return the first error."""
        error: BaseException | None = None
        while running:
            news = self._news.get()
            if isinstance(news, tuple):
                key, count = news
                if count < 0:
                    self._progress.finish(key)
                else:
                    self._progress.advance(key, count)
                continue
            running -= 1
            if news is not None and error is None:
                error = news
                self._stop.set()
        return error


class _StoppedError(Exception):
    """Another thread has failed."""
