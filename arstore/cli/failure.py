"""How failures end the program: one line for people or one JSON object on stderr, an exit status, never a traceback.

Nothing else in arstore turns errors into text or exit statuses.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from arstore.cli import interrupts
from arstore.cli.session import write_message
from arstore.cli.terminal.output import STDOUT, ClosedStreamError, json_text, printable, unwritten
from arstore.errors import (
    READER_GONE,
    ArstoreError,
    HostError,
    InterruptedByUserError,
    NoSpaceError,
    from_os_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.cli.session import Session


def guarded(session: Session, body: Callable[[], int]) -> int:
    """Run *body* and return its exit status; whatever goes wrong is told on stderr and becomes one."""
    try:
        status = body()
        failure = _failure_of_stdout()
        if failure is None:
            return status
        return _tell_unwritten(session, failure)
    except KeyboardInterrupt:
        return _interrupted(session)
    except (ArstoreError, ClosedStreamError) as error:
        if isinstance(error, ClosedStreamError) or error.what == STDOUT:
            return _tell_unwritten(session, error)
        return _interrupted(session) if interrupts.happened else tell(session, error)
    except Exception as error:  # the last line of defence, where no caller is left to know more
        if interrupts.happened:
            return _interrupted(session)
        failure = _failure_of_stdout() if isinstance(error, OSError) else None
        if failure is None and isinstance(error, BrokenPipeError) and error.filename == STDOUT:
            # What was written is no text for people, and did not go through Python's buffer.
            failure = ClosedStreamError()
        if failure is not None:
            return _tell_unwritten(session, failure)
        if os.environ.get(interrupts.DEBUG) == "1":
            raise
        return tell(session, _as_ours(error))


def _interrupted(session: Session) -> int:
    _failure_of_stdout()
    return tell(session, InterruptedByUserError("", "interrupted", session.done))


def _as_ours(error: Exception) -> ArstoreError:
    """What an *error* that nobody has foreseen is told as."""
    out_of_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    # A module that there is no room for.
    if out_of_memory or (isinstance(error, ImportError) and "failed to map segment" in str(error)):
        return HostError("", "out of memory", "free some, or raise the limit on it (`ulimit -v`)")
    if isinstance(error, OSError):
        return from_os_error(error)
    hint = f"run with {interrupts.DEBUG}=1 for details"
    return ArstoreError("internal error", f"{type(error).__name__}: {error}", hint)


def _tell_unwritten(session: Session, error: ArstoreError | ClosedStreamError) -> int:
    """Say that what was to be printed was not, and what has been done all the same; return the exit status.

    A reader who has gone is told nothing when there is nothing more to tell than that.
    """
    _failure_of_stdout()
    if isinstance(error, ClosedStreamError):
        if not session.done:
            return READER_GONE
        error = HostError(STDOUT, "nobody reads it any more")
    return tell(session, type(error)(error.what, error.why, error.hint or session.done))


def tell(session: Session, error: ArstoreError) -> int:
    """Write *error* to stderr in the form that was asked for; return the exit status."""
    error = _with_hint_that_helps(session, error)
    status = session.command.status_of(error) if session.command is not None else error.exit_code
    if session.json:
        _write_json(error, status)
    else:
        write_message(printable(str(error)))
    return status


def _with_hint_that_helps(session: Session, error: ArstoreError) -> ArstoreError:
    """*error*; where there is no space, without the collector if that has just failed, or the space is elsewhere."""
    if not (isinstance(error, NoSpaceError) and "`arstore gc`" in error.hint and session.place):
        return error
    elsewhere = error.what.startswith("/") and not f"{error.what}/".startswith(f"{session.place}/")
    name = getattr(session.command, "name", "")
    return type(error)(error.what, error.why, "free some space") if elsewhere or name == "gc" else error


def _write_json(error: ArstoreError, status: int) -> None:
    fields = {"kind": error.kind, "what": error.what, "why": error.why, "hint": error.hint, "exit_code": status}
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(json_text({"error": fields}) + "\n")
        sys.stderr.flush()
    except OSError:
        return


def _failure_of_stdout() -> HostError | ClosedStreamError | None:
    """Write what is still buffered for stdout; why that fails, and then let it go nowhere, so that ending cannot."""
    try:
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, 1)
        os.close(null)
        return ClosedStreamError() if isinstance(error, BrokenPipeError) else unwritten(error)
    return None
