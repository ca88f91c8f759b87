"""Daemons: work that continues after the command has ended, and the first event that the command waits for.

The daemon has its own session, the root as its working directory and /dev/null as its streams. An LMDB environment must
not be open in the calling process. Out of scope: the work of the daemon.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import RuntimeFailedError
from arstore.runtime.lifecycle.channel import Receiver, Sender, error_of
from arstore.runtime.lifecycle.child import end_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def detached(what: str, work: Callable[[Sender], None]) -> None:
    """Do *work* in a daemon; return when it has sent its first event other than `failed`.

    Raises the error that it sends before that, and RuntimeFailedError, with *what*, if it was killed.
    """
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(reading)
        _daemonise(work, Sender(writing))
    os.close(writing)
    try:
        os.waitpid(middle, 0)
        event = Receiver(reading).receive()
    finally:
        os.close(reading)
    if event is None:
        raise RuntimeFailedError(what, "the launcher ended before the container was started")
    if event.name == "failed":
        raise error_of(event)


def _daemonise(work: Callable[[Sender], None], report: Sender) -> NoReturn:
    """Be the process between the caller and the daemon, or the daemon; neither returns."""

    def life() -> None:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.close(null)
            work(report)

    end_after(life, report)
