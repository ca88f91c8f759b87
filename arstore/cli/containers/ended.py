"""Exit status of `run` and `exec` after the command in the container has ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.terminal.output import STDERR, STDOUT, unwritten

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.runtime.lifecycle.launcher import Ended


def attached_status_of(session: Session, name: str, ended: Ended) -> int:
    """Return the exit status of a command that was attached to the container *name*, like `status_of`."""
    if ended.lost:
        what = "the end of the output was" if ended.lost < 0 else f"{ended.lost} bytes of output were"
        session.warn(f"{what} not printed, because it was not read in time; `arstore logs {name}` has it")
    if ended.detached:
        session.note(f"container {name} is still running; `arstore attach {name}` returns to it")
    return status_of(session, ended)


def status_of(session: Session, ended: Ended) -> int:
    """Return the exit status of the command in the container.

    Output that could not be written is reported as a warning. If the command ended with 0, HostError is raised instead,
    because the caller would take the output for complete.

    Raises HostError.
    """
    if ended.unwritten is None:
        return ended.status
    stream = STDOUT if ended.unwritten.stream == "stdout" else STDERR
    error = unwritten(OSError(ended.unwritten.errno, os.strerror(ended.unwritten.errno)), stream)
    if ended.status != 0:
        session.warn(f"{error}; the output of the command is incomplete")
        return ended.status
    session.done = "the command ended with 0, but its output is incomplete"
    error.hint = session.done
    # A failure after the command has its own status.
    session.command = None
    raise error
