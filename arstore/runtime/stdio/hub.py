"""The streams of a detached container: one thread between it, its log, and the processes attached to it.

    container ─ stdout, stderr or terminal ─▶ log, and each client
    each client ─ input, size, signals ─▶ container

Neither a client that is slow, stopped or killed nor one that sends nonsense delays the container or other clients:
sockets are non-blocking, and a client that is more than `_BEHIND` behind loses output, and is sent how much. An
exception is the container's own client, the command in the foreground that has started it: while it is the only one,
the container waits for it, as it does for the reader of a pipe. If that client dies without detaching, the container
ends, like one that is run without a daemon.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from arstore.runtime.stdio import frames, terminal
from arstore.runtime.stdio.frames import ENDED, LOST, STDERR, STDOUT, TAKEN, WINDOW, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Sink = Callable[[bytes], None]

_CHUNK = 32 << 10
_BEHIND = 1 << 20
"""Bytes of output that wait for a client."""
_LAST_PATIENCE = 2.0
"""Seconds that clients have, after the end, to take some of what waits for them; its own client has no limit."""
_KINDS = {"stdout": STDOUT, "stderr": STDERR}


class _Client:
    """An attached process: its socket, and the output that waits for it."""

    def __init__(self, connection: socket.socket, *, is_own: bool, ends_container: bool) -> None:
        self.socket = connection
        self.is_own = is_own
        self.ends_container = ends_container
        self.untaken = 0
        """Bytes of its input that the container has not taken yet."""
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0

    @property
    def is_behind(self) -> bool:
        return self._size > _BEHIND

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def output(self, kind: bytes, data: bytes) -> None:
        """Send output, now or later, or count it as lost."""
        if self.is_behind or (self._lost and self._waiting):
            self._lost += len(data)
            return
        self.send(kind, data)

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Send a message, now or later."""
        self._waiting.append(kind + content)
        self._size += len(content) + 1
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as that is possible now. Raises OSError if the client has gone."""
        while self._waiting:
            try:
                self.socket.send(self._waiting[0])
            except BlockingIOError:
                return
            self._size -= len(self._waiting.popleft())
            if not self._waiting and self._lost:
                lost, self._lost = self._lost, 0
                self._waiting.append(LOST + str(lost).encode())
                self._size += len(self._waiting[0])


class Hub:
    """The thread. *deliver* sends a signal to the container's process."""

    def __init__(self, deliver: Callable[[int], None], listener: int = -1) -> None:
        self._deliver = deliver
        self._listener = socket.socket(fileno=listener) if listener >= 0 else None
        self._sources: dict[int, tuple[bytes, Sink]] = {}
        self._finishers: list[Callable[[], None]] = []
        self._clients: list[_Client] = []
        self._input = -1
        self._terminal = -1
        self._given: deque[tuple[_Client | None, bytes]] = deque()
        """Input that waits for the container, b"" for its end."""
        self._status: int | None = None
        self._is_finishing = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        if self._listener is not None:
            self._listener.setblocking(False)

    def read(self, source: int, stream: str, sink: Sink, finish: Callable[[], None] = lambda: None) -> None:
        """Pass *stream* on from *source* to *sink* and the clients; *finish* is called at its end. Call before
        `start`, like the next ones.
        """
        self._sources[source] = (_KINDS[stream], sink)
        self._finishers.append(finish)

    def write(self, target: int) -> None:
        """Pass the clients' input on to *target*."""
        os.set_blocking(target, False)
        self._input = target

    def resize(self, master: int) -> None:
        """Pass the clients' sizes on to the terminal *master*, which is also one of the sources."""
        os.set_blocking(master, False)
        self._terminal = master

    def add_own(self, descriptor: int, *, ends_container: bool) -> None:
        """Add the container's own client. If it *ends_container*, its death without a farewell does."""
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        self._clients.append(_Client(connection, is_own=True, ends_container=ends_container))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self, status: int) -> None:
        """Pass on what is there, then the exit *status*; return when that is done."""
        self._status = status
        os.write(self._wake_write, b"\0")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        try:
            while not self._is_finishing:
                self._turn()
            self._pass_on_rest()
        finally:
            for finish in self._finishers:
                with contextlib.suppress(OSError):
                    finish()
            for source in self._sources:
                os.close(source)
            self._say_good_bye()

    def _turn(self) -> None:
        """Wait for something to do, and do it."""
        ready = dict(self._poll(sources=not self._must_wait()).poll())
        if self._wake_read in ready:
            self._is_finishing = True
        for source in [fd for fd in self._sources if fd in ready]:
            self._pass_on(source)
        self._serve(ready)

    def _must_wait(self) -> bool:
        """Whether the container has to wait, because its own and only client is behind."""
        return len(self._clients) == 1 and self._clients[0].is_own and self._clients[0].is_behind

    def _poll(self, *, sources: bool) -> select.poll:
        poll = select.poll()
        if not self._is_finishing:
            poll.register(self._wake_read, select.POLLIN)
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        for client in self._clients:
            poll.register(client.socket, select.POLLIN | (select.POLLOUT if client.waits else 0))
        events = dict.fromkeys(self._sources, select.POLLIN) if sources else {}
        if self._input >= 0 and self._given:
            events[self._input] = events.get(self._input, 0) | select.POLLOUT
        for fd, mask in events.items():
            poll.register(fd, mask)
        return poll

    def _serve(self, ready: dict[int, int]) -> None:
        """Do what clients ask for, and accept new ones."""
        if self._given and (self._input < 0 or ready.get(self._input, 0) & ~select.POLLIN):
            self._give()
        for client in list(self._clients):
            events = ready.get(client.socket.fileno(), 0)
            with self._losing(client):
                if events & select.POLLOUT:
                    client.flush()
                if events & ~select.POLLOUT:
                    self._listen_to(client)
        if self._listener is not None and self._listener.fileno() in ready:
            connection = frames.accepted(self._listener)
            if connection is not None:
                self._clients.append(_Client(connection, is_own=False, ends_container=False))

    @contextlib.contextmanager
    def _losing(self, client: _Client) -> Iterator[None]:
        """Remove *client* if it turns out to have gone."""
        try:
            yield
        except OSError:
            self._drop(client)

    def _listen_to(self, client: _Client) -> None:
        try:
            message = frames.receive(client.socket)
        except BlockingIOError:
            return
        if message is None:
            self._drop(client)
            return
        match message.kind:
            case frames.INPUT:
                client.untaken += len(message.content)
                if client.untaken > 2 * WINDOW:
                    self._drop(client)
                    return
                self._given.append((client, message.content))
                self._give()
            case frames.INPUT_END:
                self._given.append((None, b""))
                self._give()
            case frames.SIZE:
                self._resize(message)
            case frames.SIGNAL:
                if 0 < message.number < signal.NSIG:
                    self._deliver(message.number)
            case frames.DETACH:
                client.ends_container = False
                self._drop(client)

    def _drop(self, client: _Client) -> None:
        if client not in self._clients:
            return
        self._clients.remove(client)
        client.socket.close()
        if client.ends_container:
            self._deliver(signal.SIGKILL)

    def _resize(self, message: Message) -> None:
        if self._terminal >= 0 and message.size is not None:
            terminal.set_size(self._terminal, message.size)

    def _give(self) -> None:
        """Write input to the container, as far as it takes it now; without standard input, it is discarded."""
        while self._given:
            client, data = self._given[0]
            if self._input >= 0 and (data or self._terminal >= 0):
                try:
                    taken = os.write(self._input, data or terminal.END_OF_FILE)
                except BlockingIOError:
                    return
                except OSError:
                    self._close_input()
                    continue
            else:
                taken = len(data)
                if not data:
                    self._close_input()
            self._given.popleft()
            if data and taken < len(data):
                self._given.appendleft((client, data[taken:]))
            if client in self._clients and client is not None:
                client.untaken -= taken
                with self._losing(client):
                    client.send(TAKEN, str(taken).encode())

    def _close_input(self) -> None:
        """Close the container's standard input; a terminal stays open for its output."""
        if self._input >= 0 and self._input != self._terminal:
            os.close(self._input)
        self._input = -1

    def _pass_on(self, source: int) -> bool:
        """Pass on available bytes of *source*; return False at its end."""
        kind, sink = self._sources[source]
        try:
            data = os.read(source, _CHUNK)
        except BlockingIOError:
            return True
        except OSError as error:
            if not terminal.is_hang_up(error):
                raise
            data = b""
        if not data:
            del self._sources[source]
            if source == self._terminal:
                self._terminal = self._input = -1
            os.close(source)
            return False
        sink(data)
        for client in list(self._clients):
            with self._losing(client):
                client.output(kind, data)
        return True

    def _pass_on_rest(self) -> None:
        """Pass on what the container has written, without waiting for more from a process that outlives it."""
        for source in list(self._sources):
            grace = terminal.GRACE if source == self._terminal else 0.0
            poll = select.poll()
            poll.register(source, select.POLLIN)
            while poll.poll(grace * 1000):
                while self._must_wait():
                    self._serve(dict(self._poll(sources=False).poll()))
                if not self._pass_on(source):
                    break

    def _say_good_bye(self) -> None:
        """Send the exit status, and wait until the clients have taken what waits for them, for a limited time."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._close_input()
        until = time.monotonic() + _LAST_PATIENCE
        for client in list(self._clients):
            client.ends_container = False
            with self._losing(client):
                client.send(ENDED, str(self._status or 0).encode())
        while waiting := [one for one in self._clients if one.waits]:
            left = until - time.monotonic()
            if left <= 0 and not any(one.is_own for one in waiting):
                break
            poll = select.poll()
            for client in waiting:
                poll.register(client.socket, select.POLLOUT)
            ready = dict(poll.poll(max(left, 0.1) * 1000))
            for client in [one for one in waiting if one.socket.fileno() in ready]:
                until = time.monotonic() + _LAST_PATIENCE
                with self._losing(client):
                    client.flush()
        for client in self._clients:
            client.socket.close()
