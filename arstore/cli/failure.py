"""Turn errors into one line or one JSON object on stderr and an exit status, never into a traceback.

No other module turns errors into text or exit statuses.
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
    """Run *body* and return its exit status. Every exception is printed on stderr and becomes an exit status."""
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
    except Exception as error:  # the last line of defence: no caller is left to handle it
        if interrupts.happened:
            return _interrupted(session)
        failure = _failure_of_stdout() if isinstance(error, OSError) else None
        if failure is None and isinstance(error, BrokenPipeError) and error.filename == STDOUT:
            # Binary output was written directly, not through Python's buffer.
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
    """Return the ArstoreError to print for an unexpected *error*."""
    out_of_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    # ImportError: there is not enough memory to load the module.
    if out_of_memory or (isinstance(error, ImportError) and "failed to map segment" in str(error)):
        return HostError("", "out of memory", "free some memory, or raise its limit (`ulimit -v`)")
    if isinstance(error, OSError):
        return from_os_error(error)
    hint = f"run with {interrupts.DEBUG}=1 for details"
    return ArstoreError("internal error", f"{type(error).__name__}: {error}", hint)


def _tell_unwritten(session: Session, error: ArstoreError | ClosedStreamError) -> int:
    """Print that stdout could not be written, and what the command did nevertheless; return the exit status.

    Nothing is printed if the reader has gone and the command has changed nothing.
    """
    _failure_of_stdout()
    if isinstance(error, ClosedStreamError):
        if not session.done:
            return READER_GONE
        error = HostError(STDOUT, "its reader has gone")
    return tell(session, type(error)(error.what, error.why, error.hint or session.done))


def tell(session: Session, error: ArstoreError) -> int:
    """Write *error* to stderr as text or JSON; return the exit status."""
    error = _with_hint_that_helps(session, error)
    status = session.command.status_of(error) if session.command is not None else error.exit_code
    if session.json:
        _write_json(error, status)
    else:
        write_message(printable(str(error)))
    return status


def _with_hint_that_helps(session: Session, error: ArstoreError) -> ArstoreError:
    """Return *error*; if no space is left, without the hint to run gc where gc cannot help.

    It cannot help if gc itself failed, or if another file system is full.
    """
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
    """Flush stdout; return the error if that fails, and redirect stdout to /dev/null, so that exiting cannot fail."""
    try:
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, 1)
        os.close(null)
        return ClosedStreamError() if isinstance(error, BrokenPipeError) else unwritten(error)
    return None
