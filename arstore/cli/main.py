"""The program: global options, the table of commands, and the one place where errors become exit statuses."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from typing import NoReturn

import arstore
from arstore.cli.failure import guarded, tell
from arstore.cli.group import COMMANDS, Group
from arstore.cli.interrupts import raised_in
from arstore.cli.line import parse
from arstore.cli.parameter import ANY, Choice, option
from arstore.cli.session import LEVELS, Session
from arstore.cli.terminal.output import write_line
from arstore.linux.process import UMASK

PROGRAM = "arstore"
COMPLETION = "_ARSTORE_COMPLETE"
"""An environment variable with which a shell asks for completions; click answers."""

_EPILOG = """\
The directories have defaults for root, /var/lib/ar and /run/ar, and for others, arstore in XDG's data and runtime
directories; with a --root of one's own, --runroot is a directory below its default. The exit status is 0 when all was
done; every other has one meaning, which each command's --help tells."""


def _show_version(_session: Session, _value: object) -> None:
    write_line(PROGRAM, arstore.__version__)


@option("--root", metavar="DIR", type=ANY, envvar="ARSTORE_ROOT", show_envvar=True, help="The store.")
@option(
    "--runroot", metavar="DIR", type=ANY, envvar="ARSTORE_RUNROOT", show_envvar=True, help="What ends with the boot."
)
@option(
    "--additional-store",
    metavar="DIR",
    multiple=True,
    help="A store that is only read, whose images are used where they lie; repeatable. In their place "
    "ARSTORE_ADDITIONAL_STORES may name some, with colons between them, or stores.conf.",
)
@option(
    "--additional-store-owner",
    metavar="USER",
    multiple=True,
    help="Who may own an additional store, besides this user and root; repeatable.",
)
@option("--log-level", type=Choice(LEVELS), default="info", show_default=True, help="How much is told.")
@option("-q", "--quiet", is_flag=True, help="Tell errors only, and no progress.")
@option("--version", is_flag=True, is_eager=True, apply=_show_version, ends=True, help="Show the version and exit.")
def _arstore(
    session: Session,
    root: str | None,
    runroot: str | None,
    additional_store: tuple[str, ...],
    additional_store_owner: tuple[str, ...],
    log_level: str,
    quiet: bool,
) -> None:
    """Keep container images in a store, mount them, and run containers from them."""
    session.root = root
    session.runroot = runroot
    session.additional = additional_store
    session.additional_owners = additional_store_owner
    session.level = log_level
    session.quiet = quiet


cli = Group(PROGRAM, _arstore, COMMANDS)
cli.epilog = _EPILOG


def main() -> NoReturn:
    """Run the program with the arguments of this process, and exit."""
    arstore.end_at_interrupt()
    # Whatever the caller's umask takes away, even from the owner: every mode that matters is given where it is made.
    os.umask(UMASK)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a TextIOWrapper in a program
    session = Session()
    session.tell = partial(tell, session)
    _end(guarded(session, lambda: raised_in(lambda: run(session, sys.argv[1:]))))


def run(session: Session, words: list[str]) -> int:
    """Run the command line *words*; return the exit status. Raises what `failure.guarded` takes care of.

    click is imported only for a line that is not plain: one that asks for help, or is wrong (see `line`).
    """
    line = None if COMPLETION in os.environ else parse(cli, words, os.environ)
    if line is not None:
        return line.run(session)
    from arstore.cli import clicked

    if COMPLETION in os.environ:
        clicked.complete(cli, session, words, COMPLETION)
    return clicked.run(cli, session, words)


def _end(status: int) -> NoReturn:
    """End the process at once: everything is written.

    Nothing is left to be done then: every resource is let go by the context that took it. Taking the interpreter apart
    would cost as much time as a short command.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    os._exit(status)
