"""Attaching this process to a container that runs in the background, also to one that it starts there.

A command in the foreground whose user may detach is not the launcher: a daemon is, as with `run -d`, and the command is
its first client, through a pair of sockets made before. So no output is missed between the start and the attachment,
and the daemon knows when the command dies. Out of scope: the messages, see `stdio.client`.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, InUseError, NotFoundError, PipelineTimeoutError
from arstore.runtime.lifecycle.channel import Unwritten
from arstore.runtime.lifecycle.control import kill, wait
from arstore.runtime.lifecycle.launch import OwnClient
from arstore.runtime.lifecycle.launcher import Ended
from arstore.runtime.lifecycle.signals import FORWARDED
from arstore.runtime.lifecycle.state import status
from arstore.runtime.stdio.attach import Attach
from arstore.runtime.stdio.client import Attachment, Client, Parted
from arstore.runtime.stdio.frames import connected, pair
from arstore.runtime.stdio.terminal import raw_mode, window_size
from arstore.store.container_document import reading_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_KILLED = 128 + signal.SIGKILL
_SIGNALS = tuple(int(number) for number in FORWARDED if number not in {signal.SIGWINCH, signal.SIGCONT})
"""Any other signal ends the container's life; the terminal's size has its own message."""


class OwnPair:
    """The sockets between a command and the daemon that it starts: *ours* and *theirs*."""

    def __init__(self) -> None:
        self.ours, self._theirs = pair()

    @property
    def theirs(self) -> int:
        """The daemon's descriptor."""
        return self._theirs.fileno()

    def handed_over(self) -> None:
        """Close the daemon's end on this side, so that its end is noticed."""
        self._theirs.close()

    def __enter__(self) -> OwnPair:
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.close()
        self._theirs.close()


def own_client(pair: OwnPair, attach: Attach) -> OwnClient:
    """Return what the launcher has to know of this process."""
    return OwnClient(pair.theirs, window_size(0, 1, 2), attach.passes_signals)


def attend_started(
    directory: str, attach: Attach, start: Callable[[OwnClient], None], *, interactive: bool, tty: bool
) -> Ended:
    """Start the container in *directory* in the background with *start*, and stay attached to it; return how it ended.

    Raises the errors of *start*, and PipelineTimeoutError.
    """
    with OwnPair() as sockets, _terminal(attach, interactive=interactive, tty=tty), reading_end(directory):
        start(own_client(sockets, attach))
        sockets.handed_over()
        attachment = _attachment(attach, interactive=interactive, tty=tty)
        parted = Client(sockets.ours, attachment, lambda number: _pass_on(directory, number)).attend()
        return _ended(directory, parted, is_leashed=attach.passes_signals)


def attach(directory: str, how: Attach) -> Ended:
    """Attach this process to the running container in *directory*, and return how it ended.

    Raises NotFoundError if it is not running, InUseError if it is paused or has its streams elsewhere, OSError.
    """
    with reading_end(directory):
        state = status(directory)
        if state.status == "paused":
            raise InUseError(f"container {state.id}", "is paused", f"run `arstore unpause {state.id}` first")
        if state.status != "running":
            raise NotFoundError(f"container {state.id}", "is not running", f"start it with `arstore start {state.id}`")
        if not state.detached:
            raise InUseError(f"container {state.id}", "runs in the foreground of the command that started it")
        try:
            connection = connected(directory)
        except (FileNotFoundError, ConnectionRefusedError):
            why = "has just ended" if not status(directory).is_running else "has no socket to attach to"
            raise NotFoundError(f"container {state.id}", why) from None
        with connection, _terminal(how, interactive=True, tty=state.tty):
            attachment = _attachment(how, interactive=True, tty=state.tty)
            parted = Client(connection, attachment, lambda number: _pass_on(directory, number)).attend()
        return _ended(directory, parted, is_leashed=False)


def _terminal(attach: Attach, *, interactive: bool, tty: bool) -> AbstractContextManager[None]:
    return raw_mode(0) if tty and interactive and "stdin" in attach.streams else nullcontext()


def _attachment(attach: Attach, *, interactive: bool, tty: bool) -> Attachment:
    return Attachment(attach.streams, attach.keys, interactive, tty, _SIGNALS if attach.passes_signals else ())


def _pass_on(directory: str, number: int) -> None:
    """Send a signal to the container; errors are ignored, because it may have just ended, or be paused."""
    with suppress(ArstoreError, OSError):
        kill(directory, number)


def _ended(directory: str, parted: Parted, *, is_leashed: bool) -> Ended:
    """Return how the container ended, or that the user has detached.

    A container that *is_leashed* ends with its client. Raises PipelineTimeoutError, BrokenPipeError if the reader of
    the output has gone and the container goes on, OSError.
    """
    if parted.detached:
        return ended(parted, 0)
    if parted.errno == errno.EPIPE and not is_leashed:
        name = "standard output" if parted.stream == "stdout" else "standard error"
        raise BrokenPipeError(parted.errno, os.strerror(parted.errno), name)
    state = wait(directory)
    if state.timed_out:
        raise PipelineTimeoutError(state.id, "did not finish in its time and was stopped")
    code = state.exit_code if parted.status is None else parted.status
    if parted.status is None and state.exit_code is not None and not parted.errno:
        # The container has ended, and did not wait for this process.
        parted = parted._replace(lost=-1)
    return ended(parted, _KILLED if code is None else code)._replace(oom_killed=state.oom_killed)


def ended(parted: Parted, otherwise: int) -> Ended:
    """Return how an attachment ended; its status is *otherwise* if the container's is not known."""
    unwritten = Unwritten(parted.stream, parted.errno) if parted.errno not in {0, errno.EPIPE} else None
    code = 0 if parted.detached else otherwise if parted.status is None else parted.status
    return Ended(code, unwritten=unwritten, detached=parted.detached, lost=parted.lost)
