"""Commands: their declaration, their exit statuses, how errors end them, and the options that many of them have.

A command is declared without click, which takes longer to import than a short command takes to work: `line` reads plain
command lines, and `clicked` makes click's command of it for everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from arstore import errors
from arstore.cli.parameter import Choice, Option, option
from arstore.cli.session import PROGRESS_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.cli.parameter import Parameter
    from arstore.cli.session import Session
    from arstore.errors import ArstoreError

F = TypeVar("F", bound="Callable[..., Any]")

ALWAYS: tuple[type[ArstoreError], ...] = (
    errors.ArstoreError,
    errors.UsageError,
    errors.StoreVersionError,
    errors.StoreDamagedError,
    errors.NoStoreError,
    errors.AdditionalStoreError,
    errors.HostError,
    errors.NoSpaceError,
    errors.PermissionDeniedError,
    errors.InterruptedByUserError,
)
"""What any command can end with, because every one opens the store."""

REGISTRY_ERRORS: tuple[type[ArstoreError], ...] = (
    errors.RegistryUnreachableError,
    errors.RegistryAnswerError,
    errors.RegistryAccessError,
    errors.RegistryNotFoundError,
    errors.RegistryBlockedError,
    errors.RegistryConfigError,
)
"""What can be the matter with a registry."""

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
    *REGISTRY_ERRORS,
)
"""What can be the matter with an image that is read."""

IMAGE_ERRORS: tuple[type[ArstoreError], ...] = (
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InvalidReferenceError,
)
"""What can be the matter with a text that is to mean a stored image."""

MOUNT_ERRORS: tuple[type[ArstoreError], ...] = (errors.MountError, errors.MountForbiddenError)


class Declared:
    """A command or a group of commands: its name, its parameters, its help, and the function that it calls.

    The function gets the session, and the parameters as keyword arguments.
    """

    def __init__(self, name: str, function: Callable[..., Any], interspersed: bool = True) -> None:
        self.name = name
        self.function = function
        self.parameters: list[Parameter] = vars(function).get("parameters", [])
        self.help = function.__doc__ or ""
        self.interspersed = interspersed
        """Whether options may follow arguments."""

    def has_option(self, name: str) -> bool:
        """Whether it has the option *name*, such as --json."""
        return any(isinstance(one, Option) and name in one.names for one in self.parameters)


class Command(Declared):
    """A command that does something."""

    errors: tuple[type[ArstoreError], ...] = ()
    """The errors that can end it, besides ALWAYS."""
    any_status = False
    """Whether it can end with the status of a program in a container."""

    def status_of(self, error: ArstoreError) -> int:
        """The exit status with which *error* ends this command."""
        return error.exit_code

    def statuses(self) -> list[tuple[int, str]]:
        """Every exit status of this command with what it means, ascending."""
        found = {cls.exit_code: _sentence(cls) for cls in {*ALWAYS, *self.errors}}
        found[errors.READER_GONE] = "nobody reads stdout any more, and the command has changed nothing"
        return [(0, "the command did what it was asked to do"), *sorted(found.items())]


class ContainerCommand(Command):
    """A command that ends with the status of a program in a container; what is its own comes from 125 up."""

    any_status = True

    def status_of(self, error: ArstoreError) -> int:
        """125 to 127, by the convention of other container tools; an interrupt stays what it is."""
        if isinstance(error, errors.CommandNotExecutableError | errors.IdentityError):
            return errors.RUN_CANNOT_INVOKE
        if isinstance(error, errors.CommandNotFoundError):
            return errors.RUN_NOT_FOUND
        return error.exit_code if isinstance(error, errors.InterruptedByUserError) else errors.RUN_FAILED

    def statuses(self) -> list[tuple[int, str]]:
        """See Command."""
        detaching = self.has_option("--detach")
        late = "the command ended with 0, but what it wrote could not be passed on"
        if detaching:
            late += "; with --detach: it was started, but the container's id could not be printed"
        return [
            (errors.HostError.exit_code, late),
            (errors.RUN_FAILED, "arstore or the OCI runtime failed; with --json, `kind` tells more"),
            (errors.RUN_CANNOT_INVOKE, "the command cannot be invoked, or its user, group or directory does not exist"),
            (errors.RUN_NOT_FOUND, "the command does not exist in the container"),
            (errors.InterruptedByUserError.exit_code, "interrupted before the command was started"),
        ]


def _sentence(cls: type[ArstoreError]) -> str:
    """The first sentence of a class's docstring, as a line of a list."""
    text = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).rstrip(".").replace("*", "")
    if cls is errors.ArstoreError:
        text = "an error that has no exit status of its own"
    return text[:1].lower() + text[1:]


def command(
    name: str, cls: type[Command] = Command, interspersed: bool = True
) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of the decorated function."""
    return lambda function: cls(name, function, interspersed)


def exit_statuses(*classes: type[ArstoreError]) -> Callable[[Command], Command]:
    """Decorate a command with the errors that end it, besides those that can end any."""

    def decorate(decorated: Command) -> Command:
        decorated.errors = classes
        return decorated

    return decorate


def _set_json(session: Session, _: object) -> None:
    session.json = True


def _set_progress(session: Session, value: str) -> None:
    session.progress_kind = value


def json_option(function: F) -> F:
    """Give a command `--json`; the session knows the answer."""
    return option(
        "--json",
        is_flag=True,
        is_eager=True,
        apply=_set_json,
        help="Write one JSON document to stdout; an error is one JSON object on stderr.",
    )(function)


def progress_option(function: F) -> F:
    """Give a command `--progress`; the session knows the answer."""
    return option(
        "--progress",
        type=Choice(PROGRESS_KINDS),
        apply=_set_progress,
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
