"""How failures end the program: one line for people or one JSON object on stderr, an exit status, never a traceback.

Nothing else in arstore turns errors into text or exit statuses.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from arstore.cli.output import ClosedStreamError, json_text, printable
from arstore.cli.session import write_message
from arstore.errors import ArstoreError, InterruptedByUserError, UsageError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.cli.session import Session

DEBUG = "ARSTORE_DEBUG"
"""An environment variable that, set to 1, lets errors of the program itself through with their traceback."""


def guarded(session: Session, body: Callable[[], int]) -> int:
    """Run *body* and return its exit status; whatever goes wrong is told on stderr and becomes one."""
    try:
        return body()
    except ArstoreError as error:
        return _tell(session, error)
    except click.ClickException as error:
        return _tell(session, from_click(error))
    except ClosedStreamError:
        abandon_stdout()
        return 0
    except (KeyboardInterrupt, click.Abort):
        return _tell(session, InterruptedByUserError("", "interrupted"))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and abandon_stdout(only_if_broken=True):
            return 0
        if _is_debugging():
            raise
        return _tell(session, from_os_error(error))
    except Exception as error:  # the last line of defence, where no caller is left to know more
        if _is_debugging():
            raise
        hint = f"run with {DEBUG}=1 for details"
        return _tell(session, ArstoreError("internal error", f"{type(error).__name__}: {error}", hint))


def from_click(error: click.ClickException) -> UsageError:
    """What click found wrong with the command line, as an error of ours."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else ""
    what = path.partition(" ")[2]
    why = " ".join(error.format_message().split()).rstrip(".")
    return UsageError(what, why[:1].lower() + why[1:], f"`{path or 'arstore'} --help` tells more")


def _tell(session: Session, error: ArstoreError) -> int:
    """Write *error* to stderr in the form that was asked for; return the exit status."""
    status = session.command.status_of(error) if session.command is not None else error.exit_code
    if session.json:
        _write_json(error, status)
    else:
        write_message(printable(str(error)))
    return status


def _write_json(error: ArstoreError, status: int) -> None:
    fields = {"kind": error.kind, "what": error.what, "why": error.why, "hint": error.hint, "exit_code": status}
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(json_text({"error": fields}) + "\n")
        sys.stderr.flush()
    except OSError:
        return


def _is_debugging() -> bool:
    return os.environ.get(DEBUG) == "1"


def abandon_stdout(only_if_broken: bool = False) -> bool:
    """Let what is still buffered for stdout go nowhere, so that ending cannot fail; whether that was done.

    With *only_if_broken*, it is first tried to write it.
    """
    if sys.stdout is None:
        return False
    if only_if_broken:
        try:
            sys.stdout.flush()
        except OSError:
            pass
        else:
            return False
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.close(null)
    return True
