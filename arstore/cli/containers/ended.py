"""How `run` and `exec` end when the command in the container has ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.terminal.output import STDERR, STDOUT, unwritten

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.runtime.lifecycle.launcher import Ended


def status_of(session: Session, ended: Ended) -> int:
    """Return the status of the command in the container.

    If its output could not be passed on, that is reported: as a warning, or as HostError when the command itself
    ended with 0, because its caller would take the output for whole.

    Raises: HostError.
    """
    if ended.unwritten is None:
        return ended.status
    stream = STDOUT if ended.unwritten.stream == "stdout" else STDERR
    error = unwritten(OSError(ended.unwritten.errno, os.strerror(ended.unwritten.errno)), stream)
    if ended.status != 0:
        session.warn(f"{error}; what the command wrote is incomplete")
        return ended.status
    session.done = "the command ended with 0, but what it wrote is incomplete"
    error.hint = session.done
    # A failure after the command, which has a status of its own.
    session.command = None
    raise error
