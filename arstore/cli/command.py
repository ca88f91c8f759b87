"""Commands: their declaration, their exit statuses, and the options that many of them share.

A command is declared without click, because importing click takes longer than a short command. `line` reads plain
command lines; for all others, `clicked` converts the declaration to a click command.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.namespace import Need, enter
from arstore.cli.parameter import Choice, Option, option
from arstore.cli.session import PROGRESS_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

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
    errors.ConfigFileError,
    errors.InterruptedByUserError,
)
"""Errors of every command, because every command reads the configuration and opens the store."""

REGISTRY_ERRORS: tuple[type[ArstoreError], ...] = (
    errors.RegistryUnreachableError,
    errors.RegistryAnswerError,
    errors.RegistryAccessError,
    errors.RegistryNotFoundError,
    errors.RegistryBlockedError,
    errors.RegistryConfigError,
)
"""Errors of commands that use a registry."""

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
"""Errors of commands that read an image from a source."""

IMAGE_ERRORS: tuple[type[ArstoreError], ...] = (
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InvalidReferenceError,
)
"""Errors of commands that look up an image of the store."""

MOUNT_ERRORS: tuple[type[ArstoreError], ...] = (errors.MountError, errors.MountForbiddenError)


class Declared:
    """A command or a group of commands: its name, its parameters, its help, and the function that it calls.

    The function is called with the session, and with the parameters as keyword arguments.
    """

    def __init__(self, name: str, function: Callable[..., Any], interspersed: bool = True) -> None:
        self.name = name
        self.function = function
        self.parameters: list[Parameter] = vars(function).get("parameters", [])
        self.help = function.__doc__ or ""
        self.interspersed = interspersed
        """Whether options may follow arguments."""

    def has_option(self, name: str) -> bool:
        """Return whether it has the option *name*, such as --json."""
        return any(isinstance(one, Option) and name in one.names for one in self.parameters)


class Command(Declared):
    """A command, as opposed to a group of commands."""

    errors: tuple[type[ArstoreError], ...] = ()
    """The errors that it can end with, in addition to ALWAYS."""
    configured = True
    """Whether the configuration files are read before the command runs."""
    keeps = True
    """Whether their parsed form may be written to the runroot."""
    need: Need | None = None
    """Why it needs a user namespace when an ordinary user runs it; None if it needs none."""
    any_status = False
    """True if it can end with the exit status of a program in a container."""

    def begin(self, session: Session) -> None:
        """Prepare *session* for the command's function. Raises UsageError, ConfigFileError."""
        if self.configured:
            session.configure(keep=self.keeps)
        if self.need is not None and os.geteuid():
            enter(session, self.need)

    def status_of(self, error: ArstoreError) -> int:
        """Return the exit status for *error*."""
        return error.exit_code

    def own_statuses(self) -> list[tuple[int, str]]:
        """Return the exit statuses that not all commands share, with their meanings, in ascending order."""
        shared = dict(shared_statuses())
        return [(status, meaning) for status, meaning in self.statuses() if status not in shared]

    def statuses(self) -> list[tuple[int, str]]:
        """Return every exit status of this command with its meaning, in ascending order."""
        found = {cls.exit_code: _sentence(cls) for cls in {*ALWAYS, *self.errors}}
        found[errors.READER_GONE] = "the reader of stdout has gone, and the command has changed nothing"
        return [(0, "success"), *sorted(found.items())]


_CANNOT_INVOKE = (
    "the OCI runtime or a network helper failed, the command cannot be invoked, its user, group or directory does not "
    "exist, or a port is in use"
)
_CANNOT_INVOKE_ERRORS = (
    errors.CommandNotExecutableError,
    errors.IdentityError,
    errors.PortInUseError,
    errors.RuntimeFailedError,
)


class ContainerCommand(Command):
    """A command that ends with the exit status of a program in a container, or with 125 or more for its own errors."""

    any_status = True

    def status_of(self, error: ArstoreError) -> int:
        """Return 125 to 127, as other container tools do; an interrupt keeps its status."""
        if isinstance(error, _CANNOT_INVOKE_ERRORS):
            return errors.RUN_CANNOT_INVOKE
        if isinstance(error, errors.CommandNotFoundError):
            return errors.RUN_NOT_FOUND
        if isinstance(error, errors.PipelineTimeoutError):
            return errors.RUN_TIMED_OUT
        return error.exit_code if isinstance(error, errors.InterruptedByUserError) else errors.RUN_FAILED

    def own_statuses(self) -> list[tuple[int, str]]:
        """See Command. None of them is shared: even 130 means something else here."""
        return self.statuses()

    def statuses(self) -> list[tuple[int, str]]:
        """See Command."""
        detaching = self.has_option("--detach")
        late = "the command ended with 0, but its output could not be written"
        if detaching:
            late += "; with --detach: it was started, but the container's id could not be printed"
        timed_out = [(errors.RUN_TIMED_OUT, "the command did not end within --timeout")]
        return [
            (errors.HostError.exit_code, late),
            (errors.RUN_FAILED, "arstore failed; with --json, `kind` has the reason"),
            (errors.RUN_CANNOT_INVOKE, _CANNOT_INVOKE),
            (errors.RUN_NOT_FOUND, "the command does not exist in the container"),
            (errors.InterruptedByUserError.exit_code, "interrupted before the command was started"),
            *(timed_out if self.has_option("--timeout") else []),
        ]


def shared_statuses() -> list[tuple[int, str]]:
    """Return the exit statuses that every Command can end with, with their meanings, in ascending order."""
    return Command("", shared_statuses).statuses()


def _sentence(cls: type[ArstoreError]) -> str:
    """Return the first sentence of a class's docstring, for a list."""
    text = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).rstrip(".").replace("*", "")
    if cls is errors.ArstoreError:
        text = "any other error"
    return text[:1].lower() + text[1:]


def command(
    name: str, cls: type[Command] = Command, interspersed: bool = True
) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a command of a function."""
    return lambda function: cls(name, function, interspersed)


def unconfigured(decorated: Command) -> Command:
    """Let a command run without the configuration files, because it works even if they are wrong."""
    decorated.configured = False
    return decorated


def keeping_nothing(decorated: Command) -> Command:
    """Let a command change nothing at all, not even the cache of the configuration files."""
    decorated.keeps = False
    return decorated


def needing(need: Need) -> Callable[[Command], Command]:
    """Return a decorator that lets an ordinary user's command run in a user namespace."""

    def decorate(decorated: Command) -> Command:
        decorated.need = need
        return decorated

    return decorate


def exit_statuses(*classes: type[ArstoreError]) -> Callable[[Command], Command]:
    """Return a decorator that sets the errors of a command, in addition to ALWAYS."""

    def decorate(decorated: Command) -> Command:
        decorated.errors = classes
        return decorated

    return decorate


def _set_json(session: Session, _: object) -> None:
    session.json = True


def _set_max_size(session: Session, value: str) -> None:
    session.max_size = value


def _set_file_digests(session: Session, value: str) -> None:
    session.file_digests = value


def _set_progress(session: Session, value: str) -> None:
    session.progress_kind = value


def json_option(function: F) -> F:
    """Add `--json` to a command; the value is in the session."""
    return option(
        "--json",
        is_flag=True,
        is_eager=True,
        apply=_set_json,
        help="Print one JSON document; an error is one JSON object on stderr.",
    )(function)


def progress_option(function: F) -> F:
    """Add `--progress` to a command; the value is in the session."""
    return option(
        "--progress",
        type=Choice(PROGRESS_KINDS),
        apply=_set_progress,
        help="How to show progress on stderr; auto is bars on a terminal, and one line per layer elsewhere.",
    )(function)


def limit_option(function: F) -> F:
    """Add the repeatable option `--limit` to a command; its parameter is `limit`."""
    return option(
        "--limit",
        metavar="NAME=VALUE",
        multiple=True,
        help="Change a limit on what an image may use of this host, such as inflated=2t, ratio=1000 or reserve=0; "
        "an unknown name prints the list.",
    )(function)


def max_size_option(function: F) -> F:
    """Add `--max-size` to a command; the value is in the session."""
    return option(
        "--max-size",
        metavar="SIZE",
        apply=_set_max_size,
        help="Let the whole store take at most SIZE, such as 20g: cached trees are given up, or nothing is stored.",
    )(function)


def file_digests_option(function: F) -> F:
    """Add `--file-digests` to a command; the value is in the session."""
    from arstore.trees.contents import MODES

    return option(
        "--file-digests",
        type=Choice(MODES),
        apply=_set_file_digests,
        help="Digests of files for `find` and `du --duplicates`: by default auto, SHA-256 of small files and BLAKE3 of "
        "others; sha256 for all files, which takes longer; off for none.",
    )(function)


def strict_xattrs_option(function: F) -> F:
    """Add `--strict-xattrs` to a command; its parameter is `strict_xattrs`."""
    return option(
        "--strict-xattrs",
        is_flag=True,
        help="Fail if an extended attribute cannot be kept, instead of leaving it out.",
    )(function)
