"""Reading ahead: a stage of a layer's pass in a thread of its own, so that one large layer keeps all processors busy.

Reading, hashing, writing and inflating all leave the GIL; parsing does not. The thread works a bounded number of chunks
ahead of the stage that takes them, and memory stays what it was: a few chunks a stage.
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
"""Chunks that may wait, the one that is being read among them."""


class ReadAhead:
    """A reader over *source*, which from now on is read in a thread; a context manager that ends it.

    `read` returns what one read of the source returned, and raises what it raised.
    """

    def __init__(self, source: Reader) -> None:
        self._source = source
        # Two queues without a bound in place of one that has it, which takes ten times the time: one of them holds
        # leave to read a chunk.
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
        """The next chunk, b"" at the end. *size* is at least CHUNK: chunks are not cut."""
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
        except BaseException as error:  # it belongs to the thread that reads
            self._chunks.put(error)
