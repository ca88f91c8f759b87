"""A program on its own terminal, and what its user types and sees."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
import time
from typing import TYPE_CHECKING

from support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType


class Terminal:
    """A running program. `seen` is everything that it has written to the terminal so far."""

    def __init__(self, words: list[str], environment: Mapping[str, str], size: tuple[int, int] = (24, 80)) -> None:
        self.seen = b""
        self.status: int | None = None
        """The exit status; 128+N if signal N ended it."""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                termios.tcsetwinsize(0, size)
                os.execve(words[0], words, dict(environment))
            finally:
                os._exit(127)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = 128 + signal.SIGKILL
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def type(self, text: bytes) -> None:
        """Type *text*."""
        os.write(self.fd, text)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size."""
        termios.tcsetwinsize(self.fd, (rows, columns))

    def _read(self, seconds: float) -> bool:
        """Read what is there, within *seconds*; return False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def until(self, text: bytes, seconds: float = PATIENCE) -> None:
        """Wait until *text* is seen; what is seen up to there is forgotten."""
        for _ in _patiently(seconds, lambda: f"never seen: {text!r} in {self.seen[-500:]!r}"):
            before, found, after = self.seen.partition(text)
            if found:
                self.seen = after
                return
            assert self._read(0.1) or text in self.seen, f"ended without {text!r}: {self.seen[-500:]!r} {before[:0]!r}"

    def end(self, seconds: float = PATIENCE) -> int:
        """Wait for the program's end; return its exit status."""
        for _ in _patiently(seconds, lambda: f"never ended: {self.seen[-500:]!r}"):
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = 128 - code if code < 0 else code
                while select.select([self.fd], [], [], 0)[0] and self._read(0):
                    pass
                return self.status
        raise AssertionError


def _patiently(seconds: float, complaint: object) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
    raise AssertionError(complaint() if callable(complaint) else complaint)
