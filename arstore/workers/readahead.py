"""Read-ahead: one stage of a layer's pass runs in its own thread, so that one large layer keeps all processors busy.

Reading, hashing, writing and decompression all release the GIL; parsing does not. The thread works a bounded number of
chunks ahead of the stage that takes them, so memory stays bounded: a few chunks per stage.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from arstore.digest import CHUNK

if TYPE_CHECKING:
    from types import TracebackType

    from arstore.digest import Reader

_DEPTH = 5
"""Chunks that may wait, including the one that is being read."""


class ReadAhead:
    """A reader over *source*, which is read in a thread from now on; as a context manager, it ends the thread.

    `read` returns what one read of the source returned, and raises what it raised.
    """

    def __init__(self, source: Reader) -> None:
        self._source = source
        # Two unbounded queues instead of one bounded queue, which takes ten times as long. The second one holds
        # permissions to read a chunk.
        self._chunks: SimpleQueue[bytes | BaseException] = SimpleQueue()
        self._leave: SimpleQueue[None] = SimpleQueue()
        for _ in range(_DEPTH):
            self._leave.put(None)
        self._given_up = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up = True
        self._leave.put(None)
        self._thread.join()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next chunk, b"" at the end. *size* must be at least CHUNK: chunks are not split."""
        if self._ended:
            return b""
        chunk = self._chunks.get()
        self._leave.put(None)
        if isinstance(chunk, bytes):
            self._ended = not chunk
            return chunk
        self._ended = True
        raise chunk

    def _run(self) -> None:
        try:
            while True:
                self._leave.get()
                if self._given_up:
                    return
                data = self._source.read(CHUNK)
                self._chunks.put(data)
                if not data:
                    return
        except BaseException as error:  # raised in the thread that reads
            self._chunks.put(error)
