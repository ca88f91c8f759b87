"""Terminals: the user's in raw mode, the container's as a descriptor from the runtime, with the same size.

The runtime opens the pseudo-terminal inside the container and sends its controlling side through a Unix socket
(SCM_RIGHTS), as crun, runc and youki all do for a detached container. Out of scope: moving the bytes, see `streams`.
"""

from __future__ import annotations

import errno
import os
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.errors import RuntimeFailedError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

END_OF_FILE = b"\x04"
"""The byte that a terminal's user types to end the input."""

GRACE = 0.05
"""Seconds. The kernel passes on bytes written to a terminal a moment later (a work queue), without notification."""

_CONSOLE_WAIT = 5.0
_OFLAG, _LFLAG, _CC = 1, 3, 6


@contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Pass every byte unchanged, in and out, during the context; do nothing without a terminal."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
        | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[_OFLAG] &= ~termios.OPOST
    characters = list(mode[_CC])
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    mode[_CC] = characters
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def window_size(*fds: int) -> tuple[int, int] | None:
    """Return rows and columns of the first of *fds* that is a terminal and knows them; None if none does."""
    for fd in fds:
        try:
            rows, columns = termios.tcgetwinsize(fd)
        except (termios.error, OSError):
            continue
        if rows and columns:
            return rows, columns
    return None


def follow_size(master: int, *fds: int) -> None:
    """Set the container's terminal to the size of the first terminal among *fds*; its processes get SIGWINCH."""
    size = window_size(*fds)
    if size is not None:
        set_size(master, size)


def set_size(master: int, size: tuple[int, int]) -> None:
    """Set the container's terminal to *size*, rows and columns; its processes get SIGWINCH."""
    with suppress(termios.error, OSError):
        termios.tcsetwinsize(master, size)


class Console:
    """The socket to which a runtime sends the container's terminal. *path* is relative, because a Unix address has only
    108 bytes.
    """

    def __init__(self, path: str) -> None:
        import socket

        self.path = path
        self._socket: socket.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen(1)

    def receive(self) -> int:
        """Return the descriptor of the terminal's controlling side.

        Raises RuntimeFailedError if the runtime, which has ended by now, did not send it.
        """
        import socket

        self._socket.settimeout(_CONSOLE_WAIT)
        try:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(_CONSOLE_WAIT)
                _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        except TimeoutError as error:
            raise RuntimeFailedError("terminal", "the runtime did not send one") from error
        if not fds:
            raise RuntimeFailedError("terminal", "the runtime did not send one")
        os.set_inheritable(fds[0], False)
        return fds[0]

    def close(self) -> None:
        """Close the socket and remove its name."""
        self._socket.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)


def is_hang_up(error: OSError) -> bool:
    """Whether reading a terminal's controlling side failed because the container has closed its side."""
    return error.errno == errno.EIO
