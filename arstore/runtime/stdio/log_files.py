"""Writing the log: one open file, replaced by a new one when it has reached its limit.

There is one writer. Output that the file system refuses (ENOSPC) is lost, because a full disk must not stop the
container; a line in the log says how much, as soon as there is space again. Each line is whole: one that was written
in part is cut off. The directory is used through its descriptor, because the writer has its own mount namespace.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from arstore.runtime.stdio.logs import LOG_NAME, LogLimit, now, rotated

_BATCH = 1 << 18


class LogFile:
    """The log that is being written."""

    def __init__(self, directory: int, limit: LogLimit | None = None) -> None:
        """Open the log in the open *directory*, or make it. Raises OSError."""
        self._directory = directory
        self._limit = limit or LogLimit()
        self._fd = self._opened()
        self._size = os.fstat(self._fd).st_size
        self._last = max(rotated(directory), default=0)
        # A launcher that was killed may have left a part of a line.
        self._is_torn = self._size > 0 and os.pread(self._fd, 1, self._size - 1) != b"\n"
        self._lost = 0
        self._why = 0

    @property
    def lost(self) -> int:
        """The bytes of output that could not be written, and that the log does not mention yet."""
        return self._lost

    def put(self, lines: list[bytes]) -> None:
        """Append whole lines, each with its newline."""
        batch: list[bytes] = []
        size = 0
        for line in lines:
            if batch and (size + len(line) > _BATCH or self._is_full(size + len(line))):
                self._write(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        if batch:
            self._write(batch)

    def close(self) -> None:
        """Write how much is missing, if that is possible now, and close the file."""
        self._mention()
        os.close(self._fd)

    def _write(self, batch: list[bytes]) -> None:
        if self._mention():
            data = b"".join(batch)
            written = self._append(data)
            if written == len(data):
                return
            batch = [line + b"\n" for line in data[written:].split(b"\n")[:-1]]
        self._lost += sum(map(_content, batch))

    def _mention(self) -> bool:
        """Write a line that says how much is missing; return False if something is, and there is still no space."""
        if not self._lost:
            return True
        text = f"arstore: {self._lost} bytes of output are missing here: {os.strerror(self._why)}"
        notice = b"%b stderr F %b\n" % (now(), text.encode())
        if self._append(notice) < len(notice):
            return False
        self._lost = 0
        return True

    def _append(self, data: bytes) -> int:
        """Append the lines in *data* to the file, or to a new one if it is full; return the bytes that are written.

        Only whole lines stay, and those that a reader may have seen are not removed.
        """
        if self._is_full(len(data)):
            self._rotate()
        start = b"\n" if self._is_torn else b""
        try:
            written = os.write(self._fd, start + data)
        except OSError as error:
            self._why = error.errno or errno.EIO
            return 0
        self._is_torn = False
        if written == len(start) + len(data):
            self._size += written
            return len(data)
        self._why = errno.ENOSPC
        whole = (start + data).rfind(b"\n", 0, written) + 1
        self._size += whole
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._is_torn = True
            self._size += written - whole
        return max(0, whole - len(start))

    def _is_full(self, more: int) -> bool:
        return 0 < self._limit.size < self._size + more and self._size > 0

    def _rotate(self) -> None:
        """Begin a new file. If that fails, the present one becomes larger than its limit."""
        name = f"{LOG_NAME}.{self._last + 1}"
        try:
            os.rename(LOG_NAME, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            return
        try:
            fd = self._opened()
        except OSError:
            with suppress(OSError):
                os.rename(name, LOG_NAME, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            return
        os.close(self._fd)
        self._fd, self._size, self._is_torn = fd, 0, False
        self._last += 1
        with suppress(OSError):
            numbers = rotated(self._directory)
            for number in numbers[: max(0, len(numbers) + 1 - self._limit.files)]:
                os.unlink(f"{LOG_NAME}.{number}", dir_fd=self._directory)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(LOG_NAME, flags, 0o600, dir_fd=self._directory)


def _content(line: bytes) -> int:
    """Return how many bytes of output a line of the log contains."""
    _, _, tag, content = line.split(b" ", 3)
    return len(content) - (tag == b"P")
