"""A process attached to a container: between this process's standard streams and a socket of the container.

Input is sent only as far as the container has taken what was sent before, so that signals and sizes never wait behind
it. From a terminal more is read than sent, because the user may type the keys to detach. Out of scope: the other side,
see `hub`.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.runtime.stdio import frames, terminal
from arstore.runtime.stdio.detach_keys import DetachKeys
from arstore.runtime.stdio.frames import WINDOW, Message
from arstore.runtime.stdio.relay import read, write_waiting
from arstore.runtime.stdio.streams import STREAMS
from arstore.values import NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

_TYPED_AHEAD = 1 << 20
"""Bytes from a terminal that may wait for the container."""


class Attachment(NamedTuple):
    """How to attach: the *streams*, and the *keys* that detach a terminal (none if empty)."""

    streams: tuple[str, ...] = STREAMS
    keys: bytes = b""
    interactive: bool = True
    """Whether the container takes input."""
    tty: bool = False
    """Whether the container has a terminal."""
    signals: tuple[int, ...] = ()
    """Signals that are passed on to the container; others have their usual effect."""

    @property
    def takes_input(self) -> bool:
        """Whether this process's input is passed on."""
        return self.interactive and "stdin" in self.streams


class Parted(NamedTuple):
    """How an attachment ended: the container's exit *status*, None if the container or its launcher was killed; whether
    the user *detached*; the first error of writing output, with the stream; and the bytes of output that were lost.
    """

    status: int | None = None
    detached: bool = False
    stream: str = ""
    errno: int = 0
    lost: int = 0


class Client:
    """An attachment, through *connection*. *send_signal* gets the attachment's signals; without it, the container gets
    them through the connection.
    """

    def __init__(
        self, connection: socket.socket, attachment: Attachment, send_signal: Callable[[int], None] | None = None
    ) -> None:
        self._socket = connection
        self._attachment = attachment
        self._send_signal = send_signal
        self._keys = DetachKeys(attachment.keys if os.isatty(0) else b"")
        self._is_typed = attachment.takes_input and os.isatty(0)
        self._reads = attachment.takes_input
        self._unsent = bytearray()
        self._ended = False
        """Whether the end of the input still has to be sent."""
        self._outstanding = 0
        self._result = Parted()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def attend(self) -> Parted:
        """Pass everything on until the container ends or the user detaches."""
        try:
            with self._signals():
                self._resize()
                while self._turn():
                    pass
        finally:
            self._socket.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
        return self._result

    def _turn(self) -> bool:
        """Wait for something to do, and do it; return False at the end."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        if self._reads and len(self._unsent) < (_TYPED_AHEAD if self._is_typed else WINDOW):
            poll.register(0, select.POLLIN)
        ready = dict(poll.poll())
        if self._wake_read in ready:
            os.read(self._wake_read, 1 << 10)
            self._resize()
        if self._socket.fileno() in ready:
            message = frames.receive(self._socket)
            if message is None or not self._take(message):
                return False
        return not (0 in ready and self._read_input())

    def _take(self, message: Message) -> bool:
        """Act on a message of the container; return False after the last one."""
        if message.kind == frames.STDOUT:
            return self._write("stdout", message.content)
        if message.kind == frames.STDERR:
            return self._write("stderr", message.content)
        if message.kind == frames.TAKEN:
            self._outstanding -= message.number
            self._send_input()
        elif message.kind == frames.LOST:
            self._result = self._result._replace(lost=self._result.lost + message.number)
        elif message.kind == frames.ENDED:
            self._result = self._result._replace(status=message.number)
            return False
        return True

    def _write(self, stream: str, data: bytes) -> bool:
        """Write output; return False if its reader has gone, which ends the attachment."""
        if stream not in self._attachment.streams or self._result.stream == stream:
            return True
        try:
            write_waiting(STREAMS.index(stream), data)
        except OSError as error:
            self._result = self._result._replace(stream=stream, errno=error.errno or errno.EIO)
        return self._result.errno != errno.EPIPE

    def _read_input(self) -> bool:
        """Read and send input; return whether the user has typed the keys to detach."""
        try:
            data = read(0)
        except OSError:
            data = b""
        if not data:
            self._reads = False
            self._ended = True
            self._unsent += self._keys.rest()
        else:
            passed, detaches = self._keys.feed(data)
            self._unsent += passed
            if detaches:
                self._send_input()
                self._send(frames.DETACH)
                self._result = self._result._replace(detached=True)
                return True
        self._send_input()
        return False

    def _send_input(self) -> None:
        while self._unsent and self._outstanding < WINDOW:
            data = bytes(self._unsent[: WINDOW - self._outstanding])
            del self._unsent[: len(data)]
            self._outstanding += len(data)
            self._send(frames.INPUT, data)
        if self._ended and not self._unsent:
            self._ended = False
            self._send(frames.INPUT_END)

    def _send(self, kind: bytes, content: bytes = b"") -> None:
        # The container has ended; its last messages are still to be read.
        with suppress(BrokenPipeError, ConnectionError):
            self._socket.send(kind + content)

    def _resize(self) -> None:
        size = terminal.window_size(0, 1, 2) if self._attachment.tty else None
        if size is not None:
            self._send(frames.SIZE, b"%d %d" % size)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Catch signals during the context. Python restricts handlers to the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = {*self._attachment.signals, signal.SIGWINCH}
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGWINCH:
            with suppress(BlockingIOError):
                os.write(self._wake_write, b"\0")
        elif self._send_signal is not None:
            self._send_signal(number)
        else:
            self._send(frames.SIGNAL, str(number).encode())
