"""What the commands have in common: exit statuses in their help, `--json`, `--progress`, and how errors end them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from arstore import errors
from arstore.cli.option import WithHelp, option
from arstore.cli.session import PROGRESS_KINDS, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.errors import ArstoreError

F = TypeVar("F", bound="Callable[..., Any]")

ALWAYS: tuple[type[ArstoreError], ...] = (
    errors.ArstoreError,
    errors.UsageError,
    errors.StoreVersionError,
    errors.StoreDamagedError,
    errors.NoStoreError,
    errors.HostError,
    errors.NoSpaceError,
    errors.PermissionDeniedError,
    errors.InterruptedByUserError,
)
"""What any command can end with, because every one opens the store."""

SOURCE_ERRORS: tuple[type[ArstoreError], ...] = (
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InvalidReferenceError,
    errors.UnknownFormatError,
    errors.TruncatedError,
    errors.DigestMismatchError,
    errors.SizeMismatchError,
    errors.CompressionError,
    errors.ManifestError,
    errors.MissingBlobError,
    errors.PlatformError,
    errors.TarError,
    errors.UnsafePathError,
    errors.LimitError,
)
"""What can be the matter with an image that is read."""

IMAGE_ERRORS: tuple[type[ArstoreError], ...] = (
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InvalidReferenceError,
)
"""What can be the matter with a text that is to mean a stored image."""

MOUNT_ERRORS: tuple[type[ArstoreError], ...] = (errors.MountError, errors.MountForbiddenError)


class Command(WithHelp):
    """A command that tells its exit statuses at the end of its help."""

    errors: tuple[type[ArstoreError], ...] = ()
    """What can end it, besides ALWAYS."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; the session learns which command this is, and to speak JSON, even if parsing fails."""
        session = ctx.find_object(Session)
        if session is None:
            return super().parse_args(ctx, args)
        session.command = self
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            session.json = session.json or ("--json" in words and any("--json" in p.opts for p in self.params))
            raise

    def status_of(self, error: ArstoreError) -> int:
        """The exit status with which *error* ends this command."""
        return error.exit_code

    def statuses(self) -> list[tuple[int, str]]:
        """Every exit status of this command with what it means, ascending."""
        found = {cls.exit_code: _sentence(cls) for cls in {*ALWAYS, *self.errors}}
        found[errors.READER_GONE] = "nobody reads stdout any more, and the command has changed nothing"
        return [(0, "the command did what it was asked to do"), *sorted(found.items())]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit statuses."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit statuses"):
            formatter.write_dl([(str(status), text) for status, text in self.statuses()])


class ContainerCommand(Command):
    """A command that ends with the status of a program in a container; what is its own comes from 125 up."""

    def status_of(self, error: ArstoreError) -> int:
        """125 to 127, by the convention of other container tools; an interrupt stays what it is."""
        if isinstance(error, errors.CommandNotExecutableError | errors.IdentityError):
            return errors.RUN_CANNOT_INVOKE
        if isinstance(error, errors.CommandNotFoundError):
            return errors.RUN_NOT_FOUND
        return error.exit_code if isinstance(error, errors.InterruptedByUserError) else errors.RUN_FAILED

    def statuses(self) -> list[tuple[int, str]]:
        """See Command."""
        detaching = any("--detach" in parameter.opts for parameter in self.params)
        told = (errors.HostError.exit_code, "with --detach: the container was started, but its id could not be printed")
        return [
            *([told] if detaching else []),
            (errors.RUN_FAILED, "arstore or the OCI runtime failed; with --json, `kind` tells more"),
            (errors.RUN_CANNOT_INVOKE, "the command cannot be invoked, or its user, group or directory does not exist"),
            (errors.RUN_NOT_FOUND, "the command does not exist in the container"),
            (errors.InterruptedByUserError.exit_code, "interrupted before the command was started"),
        ]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit statuses, the command's own first."""
        WithHelp.format_epilog(self, ctx, formatter)
        with formatter.section("Exit statuses"):
            own = ("any", "that of the command in the container; 128 and N when signal N ended it")
            formatter.write_dl([own, *((str(status), text) for status, text in self.statuses())])


def _sentence(cls: type[ArstoreError]) -> str:
    """The first sentence of a class's docstring, as a line of a list."""
    text = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).rstrip(".").replace("*", "")
    if cls is errors.ArstoreError:
        text = "an error that has no exit status of its own"
    return text[:1].lower() + text[1:]


def exit_statuses(*classes: type[ArstoreError]) -> Callable[[Command], Command]:
    """Decorate a command with the errors that end it, besides those that can end any."""

    def decorate(command: Command) -> Command:
        command.errors = classes
        return command

    return decorate


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    session = ctx.find_object(Session)
    if session is not None and value:
        session.json = True


def _set_progress(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    session = ctx.find_object(Session)
    if session is not None and value is not None:
        session.progress_kind = value


def json_option(function: F) -> F:
    """Give a command `--json`; the session knows the answer."""
    return option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_json,
        help="Write one JSON document to stdout; an error is one JSON object on stderr.",
    )(function)


def progress_option(function: F) -> F:
    """Give a command `--progress`; the session knows the answer."""
    return option(
        "--progress",
        type=click.Choice(PROGRESS_KINDS),
        expose_value=False,
        callback=_set_progress,
        help="How progress is told on stderr; auto is a bar on a terminal and a line a layer elsewhere.",
    )(function)


def limit_option(function: F) -> F:
    """Give a command `--limit`, as often as wanted; its parameter is `limit`."""
    return option(
        "--limit",
        metavar="NAME=VALUE",
        multiple=True,
        help="Change a limit on what an image may ask of this host, such as inflated=2t, ratio=1000 or reserve=0; "
        "a name that is none lists them.",
    )(function)


def strict_xattrs_option(function: F) -> F:
    """Give a command `--strict-xattrs`; its parameter is `strict_xattrs`."""
    return option(
        "--strict-xattrs",
        is_flag=True,
        help="Refuse an image with an extended attribute that cannot be kept, instead of leaving the attribute out.",
    )(function)


pass_session = click.make_pass_decorator(Session)
"""Calls the decorated function with the session before all other arguments."""
