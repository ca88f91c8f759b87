"""Messages between a container's streams and the processes attached to them, and the sockets that carry them.

A socket (SOCK_SEQPACKET) keeps the borders of messages. The first byte of a message is its kind, the rest its content.
`<container>/attach` is the socket at which processes of the container's owner, and root's, are accepted. Unix addresses
have only 108 bytes, so it is named by way of its open directory. Out of scope: what is done with messages, see `hub`
and `client`.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress

from arstore.store.collect.launcher_files import SOCKET_NAME
from arstore.values import NamedTuple

STDOUT, STDERR, LOST, TAKEN, ENDED = b"o", b"e", b"l", b"t", b"x"
"""To the client: output; the number of bytes of output that it lost; the bytes of its input that the container took;
the container's exit status, the last message.
"""
INPUT, INPUT_END, SIZE, SIGNAL, DETACH = b"i", b"z", b"w", b"s", b"d"
"""To the container: input; its end; the terminal's size, `ROWS COLUMNS`; a signal's number; the client leaves."""

LARGEST = 1 << 16
"""Maximum number of bytes in a message's content."""
WINDOW = 1 << 16
"""Maximum number of bytes of input that a client sends before the container takes them."""

_BACKLOG = 16
_CREDENTIALS = struct.Struct("3i")


class Message(NamedTuple):
    """One message."""

    kind: bytes
    content: bytes = b""

    @property
    def number(self) -> int:
        """The content as a number; 0 if it is none."""
        return int(self.content) if self.content.isdigit() and len(self.content) < 19 else 0

    @property
    def size(self) -> tuple[int, int] | None:
        """The content as rows and columns; None if it is not a size."""
        words = self.content.split()
        if len(words) != 2 or not all(word.isdigit() and len(word) < 6 for word in words):
            return None
        rows, columns = map(int, words)
        return (rows, columns) if 0 < rows < 1 << 16 and 0 < columns < 1 << 16 else None


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def receive(connection: socket.socket) -> Message | None:
    """Return the next message; None at the end, or if the other side has gone. Raises BlockingIOError."""
    try:
        data = connection.recv(1 + LARGEST)
    except (ConnectionError, BrokenPipeError):
        return None
    return Message(data[:1], data[1:]) if data else None


def listening(directory: str) -> int:
    """Return a socket that listens for clients of the container in *directory*; -1 if there can be none.

    Some file systems have no sockets; the container then runs without.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET_NAME, dir_fd=place)
        made.bind(f"/proc/self/fd/{place}/{SOCKET_NAME}")
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        return -1
    finally:
        os.umask(before)
        os.close(place)
    return made.detach()


def remove_socket(directory: str) -> None:
    """Remove the name of the socket, if it is there."""
    with suppress(OSError):
        os.unlink(f"{directory}/{SOCKET_NAME}")


def connected(directory: str) -> socket.socket:
    """Return a connection to the container in *directory*.

    Raises FileNotFoundError or ConnectionRefusedError if no process listens, PermissionError, OSError.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        made.connect(f"/proc/self/fd/{place}/{SOCKET_NAME}")
    except BaseException:
        made.close()
        raise
    finally:
        os.close(place)
    return made


def accepted(listener: socket.socket) -> socket.socket | None:
    """Accept a client; None if it belongs to another user, or has gone already."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    if uid not in {0, os.geteuid()}:
        connection.close()
        return None
    connection.setblocking(False)
    return connection
