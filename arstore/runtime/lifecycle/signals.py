"""Signals: names as images and users write them, and the signals that the launcher passes on.

Out of scope: the receiver of signals.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)
"""Signals that the launcher passes on to the container's process."""

DEFAULT_STOP = signal.SIGTERM


def parse_signal(text: str) -> int:
    """Return the number of `SIGTERM`, `term`, `15` or `RTMIN+3`. Raises UsageError."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and len(name) < 4:
        number = int(name)
    elif name.startswith(("RTMIN", "RTMAX")):
        number = _real_time(name)
    else:
        found = getattr(signal, f"SIG{name}", None)
        number = int(found) if isinstance(found, signal.Signals) else 0
    if not 1 <= number <= signal.SIGRTMAX:
        from arstore.oci.document import shown

        raise UsageError(shown(text), "not a signal")
    return number


def _real_time(name: str) -> int:
    base = int(signal.SIGRTMIN if name.startswith("RTMIN") else signal.SIGRTMAX)
    rest = name[5:]
    if not rest:
        return base
    if rest[0] not in "+-" or not rest[1:].isascii() or not rest[1:].isdigit() or len(rest) > 3:
        return 0
    number = base + int(rest)
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else 0


def exit_status(wait_status: int) -> int:
    """Return a shell's exit status for a status of wait(2): 128 and the signal's number for a process killed by a
    signal.
    """
    code = os.waitstatus_to_exitcode(wait_status)
    return 128 - code if code < 0 else code


@contextmanager
def held_back() -> Iterator[None]:
    """Block the forwarded signals during the context, here and in processes forked from here."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def passing_on(send: Callable[[int], None]) -> Iterator[None]:
    """Pass each forwarded signal that this process gets to *send*, in the main thread; in other threads, do nothing.

    Python restricts signal handlers to the main thread, so a caller in another thread has to pass signals on itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda got, _: send(got)) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
