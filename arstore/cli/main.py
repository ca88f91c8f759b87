"""The program: global options, the table of commands, and the one place where errors become exit statuses."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from typing import NoReturn

import click

import arstore
from arstore.cli.failure import guarded, tell
from arstore.cli.group import Program
from arstore.cli.interrupts import raised_in
from arstore.cli.option import option
from arstore.cli.session import LEVELS, Session
from arstore.cli.terminal.output import write_line
from arstore.linux.process import UMASK

PROGRAM = "arstore"
COMPLETION = "_ARSTORE_COMPLETE"
"""An environment variable with which a shell asks for completions; click answers."""
_SETTINGS = {"help_option_names": ["-h", "--help"]}

_EPILOG = """\
The directories have defaults for root, /var/lib/ar and /run/ar, and for others, arstore in XDG's data and runtime
directories; with a --root of one's own, --runroot is a directory below its default. The exit status is 0 when all was
done; every other has one meaning, which each command's --help tells."""


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        write_line(PROGRAM, arstore.__version__)
        context.exit()


@click.group(PROGRAM, cls=Program, epilog=_EPILOG, no_args_is_help=False, context_settings=_SETTINGS)
@option("--root", metavar="DIR", envvar="ARSTORE_ROOT", show_envvar=True, help="The store.")
@option("--runroot", metavar="DIR", envvar="ARSTORE_RUNROOT", show_envvar=True, help="What ends with the boot.")
@option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="How much is told.")
@option("-q", "--quiet", is_flag=True, help="Tell errors only, and no progress.")
@option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_obj
def cli(session: Session, root: str | None, runroot: str | None, log_level: str, quiet: bool) -> None:
    """Keep container images in a store, mount them, and run containers from them."""
    session.root = root
    session.runroot = runroot
    session.level = log_level
    session.quiet = quiet


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

    click's own `main` is not used: it has its own ideas about interrupts and broken pipes.
    """
    if COMPLETION in os.environ:
        cli.main(words, prog_name=PROGRAM, complete_var=COMPLETION, obj=session)
    try:
        with cli.make_context(PROGRAM, words, obj=session) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else 0


def _end(status: int) -> NoReturn:
    """End the process at once: everything is written.

    Nothing is left to be done then: every resource is let go by the context that took it. Taking the interpreter apart
    would cost as much time as a short command.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    os._exit(status)
