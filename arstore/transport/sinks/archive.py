"""Write tar archives: members one after the other, into a stream, or into a file that appears when it is complete.

A member is a regular file (or a link) of mode 0644, owned by root and dated to the epoch: equal images make equal
bytes. A header is one block, with the size in GNU's base 256 from 8 GiB on, so that in a seekable file it can be
written after the content. Only a name of more than 100 bytes (of a sha512 blob) needs an extended header.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import ConflictError, UsageError, calling
from arstore.linux.files.writing import write_all
from arstore.store.apart import refuse_within
from arstore.tar.entry import Entry, Kind
from arstore.tar.header import BLOCK, ZEROS
from arstore.tar.writer import TarWriter, file_header
from arstore.transport.sinks.whole_file import WholeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from arstore.digest import Digest

STREAM = "-"
"""The path that means standard output."""
_MOST_LINKS = 40
"""Links that are followed in succession, as many as in the kernel."""


class _Output:
    """An open file or stream that is written from its start, with the current position."""

    def __init__(self, fd: int, what: str, *, is_seekable: bool) -> None:
        self.fd = fd
        self.what = what
        self.is_seekable = is_seekable
        self.at = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raises OSError."""
        with calling(self.what):
            if self.is_seekable:
                write_all(self.fd, data)
            else:
                _write_stream(self.fd, data)
        self.at += len(data)

    def patch(self, data: bytes, offset: int) -> None:
        """Overwrite the bytes at *offset*. Raises OSError."""
        with calling(self.what):
            os.pwrite(self.fd, data, offset)

    def cut(self, offset: int) -> None:
        """Truncate the file to *offset* bytes. Raises OSError."""
        with calling(self.what):
            os.ftruncate(self.fd, offset)
            os.lseek(self.fd, offset, os.SEEK_SET)
        self.at = offset


class ArchiveFile:
    """An archive at *path*, or on the descriptor *stream*. Leaving the context before `finish` drops the file.

    A regular file at *path* is replaced atomically when the archive is finished. A device or a pipe at *path* is
    written to directly, and so is a descriptor that is open already: `/dev/stdout`, `/dev/fd/3`.
    """

    def __init__(self, path: str, stream: int = 1) -> None:
        """Open the output. Raises ConflictError for a directory and for a place in a store; OSError."""
        self.what = "standard output" if path == STREAM else path
        self._file: WholeFile | None = None
        self._owned = -1
        descriptor = stream if path == STREAM else descriptor_of(path)
        if descriptor is not None:
            fd = descriptor
        elif _is_special(path):
            with calling(path):
                fd = self._owned = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
        else:
            place = os.path.realpath(path)
            if os.path.isdir(place):
                raise ConflictError(path, "is a directory", "name a file")
            refuse_within(place)
            self._file = WholeFile(place, path)
            fd = self._file.fd
        self._output = _Output(fd, self.what, is_seekable=self._file is not None)

    @property
    def is_seekable(self) -> bool:
        """Whether the size of a member may be given after its content."""
        return self._output.is_seekable

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes of members that were written elsewhere. Raises OSError."""
        self._output.write(data)

    def add(self, name: str, data: bytes) -> None:
        """Write a small member. Raises OSError."""
        self._output.write(file_header(name.encode("ascii"), len(data)) + data + bytes(-len(data) % BLOCK))

    def link(self, name: str, target: str) -> None:
        """Write a symbolic link. Raises OSError."""
        TarWriter(self._output.write).add(Entry(name.encode(), Kind.SYMLINK, mode=0o777, link=target.encode()))

    def directory(self, name: str) -> None:
        """Write a directory. Raises OSError."""
        TarWriter(self._output.write).add(Entry(name.encode(), Kind.DIRECTORY, mode=0o755))

    def begin(self, named: Callable[[Digest], str], digest: Digest | None, size: int | None) -> MemberWriter:
        """Begin a member, the only one until it is closed; *named* returns its name for its digest.

        Digest and size may be None if the archive `is_seekable`. Raises OSError.
        """
        return MemberWriter(self._output, named, digest, size)

    def finish(self) -> None:
        """End the archive, and give the file its name, durably. Raises OSError."""
        self._output.write(ZEROS + ZEROS)
        if self._file is not None:
            self._file.finish()

    def __enter__(self) -> ArchiveFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        elif self._owned >= 0:
            os.close(self._owned)


class MemberWriter:
    """A member that is being written to an archive."""

    def __init__(
        self, output: _Output, named: Callable[[Digest], str], digest: Digest | None, size: int | None
    ) -> None:
        self._output = output
        self._named = named
        self._is_open = True
        self._start = output.at
        self._late = digest is None or size is None
        output.write(ZEROS if digest is None or size is None else file_header(named(digest).encode("ascii"), size))
        self._content = output.at

    def write(self, data: bytes | memoryview, /) -> None:
        """Add bytes. Raises OSError."""
        self._output.write(data)

    def finish(self, digest: Digest, size: int) -> None:
        """Pad the member, and write its header if that was not written yet. Raises OSError."""
        if self._late:
            self._output.patch(file_header(self._named(digest).encode("ascii"), size), self._start)
        self._output.write(bytes((self._content - self._output.at) % BLOCK))
        self._is_open = False

    def close(self) -> None:
        """Remove an unfinished member if the archive is seekable. Raises OSError."""
        if self._is_open and self._output.is_seekable:
            self._output.cut(self._start)
        self._is_open = False


def refuse_terminal(path: str) -> None:
    """Refuse to write an archive to a terminal. Raises UsageError."""
    if path == STREAM and os.isatty(1):
        raise UsageError("-", "stdout is a terminal, and an archive is binary", "redirect it, or name a file with -o")


def _write_stream(fd: int, data: bytes | memoryview) -> None:
    """Write all of *data*, even if another process has made the shared stream non-blocking. Raises OSError."""

    import select

    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def descriptor_of(path: str) -> int | None:
    """The descriptor of this process that *path* means, such as 1 for `/dev/stdout`; None for any other path."""
    for _ in range(_MOST_LINKS):
        directory, name = os.path.split(path)
        if name.isdecimal() and os.path.realpath(directory) == f"/proc/{os.getpid()}/fd":
            return int(name)
        try:
            path = os.path.join(directory, os.readlink(path))
        except OSError:
            return None
    return None


def _is_special(path: str) -> bool:
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    return False
