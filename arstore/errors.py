"""The error tree: every failure that arstore reports. Each class has its own exit status.

An error has three short texts. *what* names the thing that failed (a path, a reference, a digest), *why* gives the
reason, and *hint*, which may be empty, gives a remedy. Users see them as `WHAT: WHY; HINT`; no other code formats
errors.

Not in scope: findings of `check`, `gc` and `du`, which are data, and the exit statuses of containers' commands.
Numbers 125 to 127 belong to `run` (the convention of podman and docker) and are kept free here, like 0, 1 and 2.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import ClassVar

RUN_FAILED = 125
"""Exit status of `run` when arstore failed before the container's command was started."""
RUN_CANNOT_INVOKE = 126
"""Exit status of `run` when the runtime failed, or the container's command exists but cannot be invoked."""
RUN_NOT_FOUND = 127
"""Exit status of `run` when the container's command does not exist."""
RUN_TIMED_OUT = 255
"""Exit status of `run` when the container did not end within its --timeout: podman's."""
READER_GONE = 141
"""Exit status when the reader of stdout has gone: the status that a shell reports for a program ended by SIGPIPE."""


class ArstoreError(Exception):
    """The root of the tree: an error without a more specific exit status (1)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        line = f"{self.what}: {self.why}" if self.what else self.why
        return f"{line}; {self.hint}" if self.hint else line

    @property
    def kind(self) -> str:
        """The class name without `Error`, for JSON: `NotFound`, `DigestMismatch`."""
        return type(self).__name__.removesuffix("Error")


# --- bases, for a caller that catches by phase (no error is one of them alone) ---------------------------------------


class SourceError(ArstoreError):
    """A source (or a destination) of images is not what it must be. The base of 10 to 20 and of 29."""


class RegistryError(ArstoreError):
    """A registry, or the configuration of registries, does not give what is asked. The base of 22 to 27."""


class StoreError(ArstoreError):
    """The store cannot be used as it is. The base of 30 to 36."""


class RunError(ArstoreError):
    """A container could not be started. The base of 50 to 55."""


class PipelineError(ArstoreError):
    """A pipeline was refused, or did not do its work. The base of 60 and above."""


class UsageError(ArstoreError):
    """The command line is not valid."""

    exit_code = 2


# --- naming a thing (3-9) -------------------------------------------------------------------------------------------


class NotFoundError(ArstoreError):
    """There is no such image, container, name, mount or file."""

    exit_code = 3


class AmbiguousError(ArstoreError):
    """A digest prefix, an id prefix, or a name in a source matches more than one thing."""

    exit_code = 4


class InvalidReferenceError(ArstoreError):
    """A name, digest, platform or transport reference is not valid."""

    exit_code = 5


class ConflictError(ArstoreError):
    """The name or id is already in use."""

    exit_code = 6


class InUseError(ArstoreError):
    """A container, a mount or another process still uses it."""

    exit_code = 7


# --- what comes in (10-29) ------------------------------------------------------------------------------------------


class UnknownFormatError(SourceError):
    """The source is not an image in any format that arstore reads."""

    exit_code = 10


class TruncatedError(SourceError):
    """The source ends before its content does."""

    exit_code = 11


class DigestMismatchError(SourceError):
    """Content does not match its digest or diff ID."""

    exit_code = 12


class SizeMismatchError(SourceError):
    """Content does not have the size that its descriptor gives."""

    exit_code = 13


class CompressionError(SourceError):
    """A compression format is unknown, or the compressed stream is damaged."""

    exit_code = 14


class ManifestError(SourceError):
    """A manifest, an index, a config or another JSON document is not valid."""

    exit_code = 15


class MissingBlobError(SourceError):
    """The source refers to a blob that it does not contain."""

    exit_code = 16


class PlatformError(SourceError):
    """The source has no image for the requested platform."""

    exit_code = 17


class TarError(SourceError):
    """A tar archive is malformed, or uses a feature that is not supported."""

    exit_code = 18


class UnsafePathError(SourceError):
    """A member name or link leads outside its root file system."""

    exit_code = 19


class ConversionError(SourceError):
    """A copy needs a conversion that is not possible or not allowed."""

    exit_code = 29


class LimitError(SourceError):
    """The content exceeds a limit that protects the host."""

    exit_code = 20


class RejectedError(ArstoreError):
    """The policy does not accept the image; the error names the requirement that is not met."""

    exit_code = 21


class SyncFailedError(ArstoreError):
    """`sync` could not copy some images, or could not delete some tags."""

    exit_code = 28


class RegistryUnreachableError(RegistryError):
    """The registry cannot be reached, or did not answer in time, after all retries."""

    exit_code = 22


class RegistryAnswerError(RegistryError):
    """The registry refused a request, or its answer breaks the protocol."""

    exit_code = 23


class RegistryAccessError(RegistryError):
    """The registry refused the credentials, or refused access without credentials."""

    exit_code = 24


class RegistryNotFoundError(RegistryError):
    """The registry does not have the repository, tag or manifest."""

    exit_code = 25


class RegistryBlockedError(RegistryError):
    """registries.conf blocks this registry or repository."""

    exit_code = 26


class RegistryConfigError(RegistryError):
    """A registry configuration file or a credential helper is not usable."""

    exit_code = 27


REGISTRY_TROUBLE: tuple[type[ArstoreError], ...] = (
    RegistryUnreachableError,
    RegistryAnswerError,
    RegistryAccessError,
    RegistryNotFoundError,
)
"""Errors of registries that do not discredit content which the registry has already sent."""

WRONG_CONTENT: tuple[type[ArstoreError], ...] = (
    CompressionError,
    DigestMismatchError,
    LimitError,
    SizeMismatchError,
    TarError,
    TruncatedError,
    UnsafePathError,
)
"""Errors that a blob may cause which does not match its descriptor."""


# --- the store (30-39) ----------------------------------------------------------------------------------------------


class StoreVersionError(StoreError):
    """The store was written by a newer arstore, or the directory is not a store."""

    exit_code = 30


class StoreDamagedError(StoreError):
    """The store is damaged or inconsistent."""

    exit_code = 31


class CheckFailedError(StoreError):
    """`check` found damage; the findings are on stdout."""

    exit_code = 32


class NoStoreError(StoreError):
    """There is no store at the root."""

    exit_code = 33


class BackupRefusedError(StoreError):
    """The directory has a backup of another store, or the backup would lose images."""

    exit_code = 34


class BudgetError(StoreError):
    """The store cannot be made as small as was requested: the rest is in use, or cannot be rebuilt."""

    exit_code = 36


class AdditionalStoreError(ArstoreError):
    """An additional store that was named, or that an image needs, is missing or cannot be used."""

    exit_code = 35


# --- the host (40-49) -----------------------------------------------------------------------------------------------


class HostError(ArstoreError):
    """The operating system refused an operation for another reason."""

    exit_code = 40


class NoSpaceError(HostError):
    """A file system is full, or has no inodes or quota left."""

    exit_code = 41


class PermissionDeniedError(HostError):
    """The operating system does not permit this user to do it."""

    exit_code = 42


class MountError(HostError):
    """The kernel refused a mount; *why* has the kernel's message if there is one."""

    exit_code = 43


class MountForbiddenError(MountError):
    """This process may not mount file systems."""

    exit_code = 44


class ConfigFileError(HostError):
    """A configuration file of arstore cannot be used: it is unreadable, malformed, or another user can write to it."""

    exit_code = 45


class PortInUseError(HostError):
    """A port of the host that a container is to publish is in use."""

    exit_code = 46


class HighWaterError(ArstoreError):
    """The store takes more space than the high-water mark that was given; the usage is on stdout."""

    exit_code = 47


# --- running (50-55, 60-63) -----------------------------------------------------------------------------------------


class RuntimeMissingError(RunError):
    """No OCI runtime works on this host."""

    exit_code = 50


class RuntimeFailedError(RunError):
    """The OCI runtime failed; *why* has its message."""

    exit_code = 51


class ImageConfigError(RunError):
    """The image's config refers to something that its root file system does not have."""

    exit_code = 52


class IdentityError(ImageConfigError):
    """The container does not have the user, group or working directory for its command."""

    exit_code = 55


class CommandNotFoundError(RunError):
    """The container's command does not exist in its root file system."""

    exit_code = 53


class CommandNotExecutableError(RunError):
    """The container's command exists but cannot be executed."""

    exit_code = 54


class PipelineFailedError(PipelineError):
    """The pipeline's container ended with a status other than 0."""

    exit_code = 60


class PipelineTimeoutError(PipelineError):
    """A load, or a part of it, took longer than its timeout."""

    exit_code = 61


class SubImageError(PipelineError):
    """An image that the pipeline left could not be imported."""

    exit_code = 62


class PipelineRefusedError(PipelineError):
    """The image does not have the label arstore.pipeline=true, which --require-label requires."""

    exit_code = 63


# --- trust (56-59), besides 21 --------------------------------------------------------------------------------------


class SignatureError(ArstoreError):
    """A signature is malformed, is made by another key, or is for other bytes."""

    exit_code = 56


class KeyFileError(ArstoreError):
    """A key file cannot be used: it is malformed, of an unknown kind, or its passphrase is wrong."""

    exit_code = 57


class DecryptionError(SourceError):
    """A layer is encrypted, and no key that was given opens it, or its encryption is damaged or of an unknown kind."""

    exit_code = 59


class PolicyError(ArstoreError):
    """A policy file cannot be used: it is malformed, or says something that has no meaning."""

    exit_code = 58


class InterruptedByUserError(ArstoreError):
    """The user interrupted the command (SIGINT)."""

    exit_code = 130


_DESCRIPTORS = "/proc/self/fd"
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_PERMITTED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def reason(error: OSError) -> str:
    """Message of the operating system, in lower case as the middle of a sentence."""
    return (error.strerror or str(error)).lower()


BRING_BACK = "`arstore check --repair --from SOURCE` brings it from an archive or a backup that has it"
"""Hint for a blob that the store has lost."""


def as_root() -> str:
    """Hint that root may do it, of the host or of a user namespace; "" when this is root already."""
    return "run as root, or in `arstore unshare`" if os.geteuid() else ""


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Make an OSError that leaves the context name a path that the user can look up, or else *what*.

    Errors of system calls on a descriptor have its number or no name; those below a directory's descriptor have a
    relative path, which is put in parentheses after *what*.
    """
    try:
        yield
    except OSError as error:
        if hasattr(error, _CALLED):
            raise
        name = _file_name(error)
        if not name or name == ".":
            error.filename = what
        elif not name.startswith("/") and name != what and not name.startswith(f"{what} ("):
            error.filename = f"{what} ({name})"
        raise


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Make an OSError that leaves the context name *what*, as the user wrote it, and keep that name."""
    try:
        yield
    except OSError as error:
        if not hasattr(error, _CALLED):
            error.filename = what
            setattr(error, _CALLED, True)
        raise


_CALLED = "arstore_called"
"""Attribute of errors whose name is final."""


def _file_name(error: OSError) -> str:
    """Return the file name in *error* as text; "" if there is none, or it means an open descriptor."""
    name = error.filename
    if name is None or isinstance(name, int):
        return ""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    return "" if text.isdigit() or (text.startswith(_DESCRIPTORS) and not _is_proc_missing(error)) else text


def _is_proc_missing(error: OSError) -> bool:
    return error.errno == errno.ENOENT and not os.path.exists(_DESCRIPTORS)


def from_os_error(error: OSError, what: str = "") -> ArstoreError:
    """Convert an OSError to the error class that fits.

    *what* is a name that the user knows; the default is the file name in *error*.
    """
    name = _file_name(error)
    if name.startswith("/proc/") and _is_proc_missing(error):
        return HostError("/proc", "is not mounted", "mount it with `mount -t proc proc /proc`")
    what = what or name
    why = reason(error)
    if error.errno in _NO_SPACE:
        return NoSpaceError(what, why, "free some space, or run `arstore gc`")
    if error.errno in _NOT_PERMITTED:
        return PermissionDeniedError(what, why)
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return NotFoundError(what, why)
    return HostError(what, why)


def is_no_space(error: BaseException) -> bool:
    """Return whether *error* means that the file system or a quota is full."""
    return isinstance(error, NoSpaceError) or (isinstance(error, OSError) and error.errno in _NO_SPACE)


def reportable(error: BaseException, what: str) -> ArstoreError | OSError:
    """Convert the *error* that ends a process to one that it can report in one line; *what* names its work.

    An unexpected error becomes a HostError: users can do nothing with a traceback, and silence would hide it.
    """
    if isinstance(error, ArstoreError) or (isinstance(error, OSError) and error.strerror):
        return error
    if isinstance(error, MemoryError):
        return HostError(what, "out of memory")
    if isinstance(error, KeyboardInterrupt):
        return InterruptedByUserError("", "interrupted")
    text = f": {error}" if str(error) else ""
    return HostError(what, f"unexpected {type(error).__name__}{text}")


def error_classes() -> list[type[ArstoreError]]:
    """Return every class with an exit status, ordered by status. The documentation's table is generated from it."""
    found: list[type[ArstoreError]] = []
    todo: list[type[ArstoreError]] = [ArstoreError]
    while todo:
        cls = todo.pop()
        if "exit_code" in vars(cls):
            found.append(cls)
        todo.extend(cls.__subclasses__())
    return sorted(found, key=lambda c: (c.exit_code, c.__name__))
