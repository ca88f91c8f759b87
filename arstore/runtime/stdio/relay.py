"""Transfer of bytes between a stream of the container and one of the caller; each direction has its own thread.

A relay ends at the end of its source. `finish` ends it earlier: it passes on what is already there and does not wait
for more, because a process that outlives the command may keep the other end open forever. Bytes are moved within the
kernel (splice(2)) where both files support that; a file opened with O_APPEND and a terminal of an older kernel do not.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
from contextlib import suppress

from arstore.runtime.stdio import terminal

_CHUNK = 1 << 16
_SPLICE = 1 << 20
_NO_SPLICE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EBADF})


class Relay:
    """Moves bytes from *source* to *target*, which is left open; *source* is closed.

    An error of the target (EPIPE, ENOSPC) ends the relay: the container sees the closed source, and the caller finds
    the error in `error`.
    """

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self.error: OSError | None = None
        """The error from writing to the target; a reader that has gone is not an error."""
        self._wake_read, self._wake_write = os.pipe()
        self._is_finishing = False
        self._splices = stat.S_ISFIFO(os.fstat(source).st_mode)
        self._grace = terminal.GRACE if os.isatty(source) else 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Pass on what is there, without waiting for more; return when that is done."""
        with suppress(OSError):
            os.write(self._wake_write, b"\0")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        try:
            while self._has_more() and self._pass_on():
                pass
        except BrokenPipeError:
            pass
        except OSError as error:
            self.error = error
        finally:
            os.close(self._source)

    def _has_more(self) -> bool:
        """Wait for bytes, or the end, of the source; return False if there are none and the relay is finishing."""
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        if not self._is_finishing:
            poll.register(self._wake_read, select.POLLIN)
            ready = dict(poll.poll())
            if self._source in ready:
                return True
            self._is_finishing = True
            poll.unregister(self._wake_read)
        return bool(poll.poll(self._grace * 1000))

    def _pass_on(self) -> bool:
        """Pass on some of the available bytes; return False at the end."""
        if self._splices:
            try:
                return bool(splice(self._source, self._target))
            except OSError as error:
                if error.errno not in _NO_SPLICE:
                    raise
                self._splices = False
        data = read(self._source)
        if data:
            write_waiting(self._target, data)
        return bool(data)


def feed(source: int, target: int, ending: bytes | None = None) -> None:
    """Copy *source* to *target* in a daemon thread, and then write *ending*, or close *target* if it is None.

    The writer of *source* may keep it open forever, so the thread is never joined.
    """
    threading.Thread(target=_feed, args=(source, target, ending), daemon=True).start()


def _feed(source: int, target: int, ending: bytes | None) -> None:
    with suppress(OSError):
        mode = os.fstat(source).st_mode
        # From other files, splice(2) waits with the pipe locked, so that it cannot be read in the meantime.
        splices = ending is None and (stat.S_ISFIFO(mode) or stat.S_ISREG(mode))
        while True:
            if splices:
                try:
                    if splice(source, target):
                        continue
                    break
                except OSError as error:
                    if error.errno not in _NO_SPLICE:
                        raise
                    splices = False
            data = read(source)
            if not data:
                break
            write_waiting(target, data)
        if ending is not None:
            write_waiting(target, ending)
    if ending is None:
        os.close(target)


def splice(source: int, target: int) -> int:
    """Move bytes within the kernel; return their number, 0 at the end. One of the two is a pipe. Raises OSError."""
    while True:
        try:
            return os.splice(source, target, _SPLICE)
        except BlockingIOError:
            # One of them is non-blocking. The flag belongs to everyone who shares the file, so it is not changed.
            _wait(source, select.POLLIN)
            _wait(target, select.POLLOUT)


def read(fd: int) -> bytes:
    """Return the next bytes; b"" at the end, which a terminal with a closed other side reports as EIO."""
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            _wait(fd, select.POLLIN)
        except OSError as error:
            if terminal.is_hang_up(error):
                return b""
            raise


def write_waiting(fd: int, data: bytes) -> None:
    """Write all of *data*; wait if *fd* is non-blocking and full. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            _wait(fd, select.POLLOUT)


def _wait(fd: int, event: int) -> None:
    poll = select.poll()
    poll.register(fd, event)
    poll.poll()
