"""The program: global options, the table of commands, and the process's start and end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import arstore
from arstore.cli.failure import guarded, tell
from arstore.cli.group import COMMANDS, Group
from arstore.cli.interrupts import raised_in
from arstore.cli.line import parse
from arstore.cli.parameter import ANY, Choice, option
from arstore.cli.session import LEVELS, Session
from arstore.cli.terminal.output import write_line
from arstore.linux.process import UMASK

if TYPE_CHECKING:
    from typing import NoReturn

PROGRAM = "arstore"
COMPLETION = "_ARSTORE_COMPLETE"
"""The environment variable with which a shell's script asks for completions (`completion`)."""

_EPILOG = """\
For root, the defaults are /var/lib/ar for --root and /run/ar for --runroot. For other users, they are directories named
arstore in XDG's data and runtime directories. If --root is given, the default of --runroot is a subdirectory of the
usual one. Defaults of options can be set in ~/.config/arstore/config.toml and, for all users,
/etc/arstore/config.toml. Every exit status has one meaning; `arstore COMMAND --help` lists those of a command."""


def _show_version(_session: Session, _value: object) -> None:
    write_line(PROGRAM, arstore.__version__)


@option(
    "--config",
    metavar="FILE",
    type=ANY,
    envvar="ARSTORE_CONFIG",
    show_envvar=True,
    help="Read this configuration file, and neither the user's nor the host's; /dev/null for none.",
)
@option("--root", metavar="DIR", type=ANY, envvar="ARSTORE_ROOT", show_envvar=True, help="The directory of the store.")
@option(
    "--runroot",
    metavar="DIR",
    type=ANY,
    envvar="ARSTORE_RUNROOT",
    show_envvar=True,
    help="The directory of runtime state, discarded at reboot.",
)
@option(
    "--additional-store",
    metavar="DIR",
    multiple=True,
    help="Use the images of this store too, read-only and without copying them; repeatable. The default is "
    "ARSTORE_ADDITIONAL_STORES (directories separated by colons), or else config.toml or stores.conf.",
)
@option(
    "--additional-store-owner",
    metavar="USER",
    multiple=True,
    help="Also accept additional stores owned by USER, not only by this user and root; repeatable.",
)
@option("--log-level", type=Choice(LEVELS), help="Log verbosity; by default info.")
@option("-q", "--quiet", is_flag=True, help="Print errors only, and no progress.")
@option("--version", is_flag=True, is_eager=True, apply=_show_version, ends=True, help="Show the version and exit.")
def _arstore(
    session: Session,
    config: str | None,
    root: str | None,
    runroot: str | None,
    additional_store: tuple[str, ...],
    additional_store_owner: tuple[str, ...],
    log_level: str | None,
    quiet: bool,
) -> None:
    """Keep container images in a store, mount them, and run containers from them.

    Examples:

    arstore import app.tar

    arstore run app:1
    """
    session.config = config
    session.root = root
    session.runroot = runroot
    session.additional = additional_store
    session.additional_owners = additional_store_owner
    session.given_level = log_level
    session.level = log_level or session.level
    session.quiet = quiet


cli = Group(PROGRAM, _arstore, COMMANDS)
cli.epilog = _EPILOG
cli.shows_help_alone = True


def main() -> NoReturn:
    """Run the program with the arguments of this process, and exit."""
    arstore.end_at_interrupt()
    # The caller's umask must not matter, even if it restricts the owner: every mode that matters is set explicitly.
    os.umask(UMASK)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a TextIOWrapper in a program
    session = Session()
    session.tell = partial(tell, session)
    _end(guarded(session, lambda: raised_in(lambda: run(session, sys.argv[1:]))))


def run(session: Session, words: list[str]) -> int:
    """Run the command line *words* and return the exit status. Raises the errors that `failure.guarded` handles.

    click is imported only for a line that is not plain: one that asks for help, or is invalid (see `line`).
    """
    if COMPLETION in os.environ:
        from arstore.cli.completion.words import answer

        return answer(cli, words, os.environ)
    line = parse(cli, words, os.environ)
    if line is not None:
        return line.run(session)
    from arstore.cli import clicked

    return clicked.run(cli, session, words)


def _end(status: int) -> NoReturn:
    """End the process without the interpreter's finalization, which takes as long as a short command.

    Nothing is lost: all output is flushed, and every context manager has released its resources.
    """
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.flush()
    os._exit(status)
