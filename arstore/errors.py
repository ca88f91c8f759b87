"""The whole error tree: every failure that arstore reports to a person, each with an exit status of its own.

An error carries three short texts. *what* names the thing that failed (a path, a reference, a digest), *why* says
what is the matter with it, and *hint*, where there is one, says what the user can do. The line for people is made from
them, as `WHAT: WHY; HINT`; nothing else in arstore formats errors.

Not in scope: findings of `check`, `gc` and `du`, which are data, and the exit statuses of what a container runs.
Numbers 125 to 127 belong to `run` (the convention of podman and docker) and are kept free here, like 0, 1 and 2.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FAILED = 125
"""Exit status of `run` when arstore or the runtime failed before the container's command was started."""
RUN_CANNOT_INVOKE = 126
"""Exit status of `run` when the container's command exists but cannot be invoked."""
RUN_NOT_FOUND = 127
"""Exit status of `run` when the container's command does not exist."""
READER_GONE = 141
"""Exit status when nobody reads stdout any more: what a shell tells of a program that SIGPIPE has ended."""


class ArstoreError(Exception):
    """The root of the tree: an error that has no exit status of its own (1)."""

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


class UsageError(ArstoreError):
    """The command line does not make sense."""

    exit_code = 2


# --- naming a thing (3-9) -------------------------------------------------------------------------------------------


class NotFoundError(ArstoreError):
    """No image, container, name, mount or file is known by what was given."""

    exit_code = 3


class AmbiguousError(ArstoreError):
    """A digest prefix, an id prefix, or a name in a source stands for more than one thing."""

    exit_code = 4


class InvalidReferenceError(ArstoreError):
    """A name, digest, platform or transport reference does not follow its grammar."""

    exit_code = 5


class ConflictError(ArstoreError):
    """The name or id is taken already."""

    exit_code = 6


class InUseError(ArstoreError):
    """Something that is alive (a container, a mount, another process) still holds the thing."""

    exit_code = 7


# --- what comes in (10-29) ------------------------------------------------------------------------------------------


class UnknownFormatError(ArstoreError):
    """The source is no image of any kind that arstore reads."""

    exit_code = 10


class TruncatedError(ArstoreError):
    """The source ends before its content does."""

    exit_code = 11


class DigestMismatchError(ArstoreError):
    """Content does not have the digest (or the diff ID) that it was announced with."""

    exit_code = 12


class SizeMismatchError(ArstoreError):
    """Content does not have the size that it was announced with."""

    exit_code = 13


class CompressionError(ArstoreError):
    """A compression is unknown or its stream is damaged."""

    exit_code = 14


class ManifestError(ArstoreError):
    """A manifest, an index, a config or another JSON document is not what it must be."""

    exit_code = 15


class MissingBlobError(ArstoreError):
    """The source names a blob that it does not hold."""

    exit_code = 16


class PlatformError(ArstoreError):
    """The source has no image for the platform asked for."""

    exit_code = 17


class TarError(ArstoreError):
    """A tar archive is malformed, or uses a form that cannot be represented."""

    exit_code = 18


class UnsafePathError(ArstoreError):
    """A member name or link would leave the tree it belongs to."""

    exit_code = 19


class ConversionError(ArstoreError):
    """A copy would need, or would do, a conversion that is not possible or not allowed."""

    exit_code = 29


class LimitError(ArstoreError):
    """The content goes past a limit that protects the host."""

    exit_code = 20


class SyncFailedError(ArstoreError):
    """Some of the images that `sync` was to copy, or of the tags that it was to delete, stay as they were."""

    exit_code = 28


class RegistryUnreachableError(ArstoreError):
    """No registry can be reached at that address, or it did not answer in time, however often it was tried."""

    exit_code = 22


class RegistryAnswerError(ArstoreError):
    """A registry refused a request, or its answer breaks the protocol."""

    exit_code = 23


class RegistryAccessError(ArstoreError):
    """A registry refused the credentials, or refused access without any."""

    exit_code = 24


class RegistryNotFoundError(ArstoreError):
    """The registry does not have the repository, tag or manifest."""

    exit_code = 25


class RegistryBlockedError(ArstoreError):
    """The configuration of registries blocks this registry or repository."""

    exit_code = 26


class RegistryConfigError(ArstoreError):
    """A configuration file for registries, or a credential helper, cannot be used as it is."""

    exit_code = 27


REGISTRY_TROUBLE: tuple[type[ArstoreError], ...] = (
    RegistryUnreachableError,
    RegistryAnswerError,
    RegistryAccessError,
    RegistryNotFoundError,
)
"""What may come of a registry, and says nothing of what it has given before."""

WRONG_CONTENT: tuple[type[ArstoreError], ...] = (
    CompressionError,
    DigestMismatchError,
    LimitError,
    SizeMismatchError,
    TarError,
    TruncatedError,
    UnsafePathError,
)
"""What may come of a blob that is not what it was announced to be."""


# --- the store (30-39) ----------------------------------------------------------------------------------------------


class StoreVersionError(ArstoreError):
    """The store was written by a newer arstore, or by none."""

    exit_code = 30


class StoreDamagedError(ArstoreError):
    """The store lacks or contradicts something that it says it has."""

    exit_code = 31


class CheckFailedError(ArstoreError):
    """`check` found damage; the findings themselves are on stdout."""

    exit_code = 32


class NoStoreError(ArstoreError):
    """There is no store at the root."""

    exit_code = 33


class BackupRefusedError(ArstoreError):
    """The directory holds a backup of another store, or one that would lose images."""

    exit_code = 34


class AdditionalStoreError(ArstoreError):
    """An additional store that is asked or needed is not there, or cannot be used."""

    exit_code = 35


# --- the host (40-49) -----------------------------------------------------------------------------------------------


class HostError(ArstoreError):
    """The operating system refused an operation for a reason that has no class of its own."""

    exit_code = 40


class NoSpaceError(HostError):
    """A file system is full, or out of inodes or quota."""

    exit_code = 41


class PermissionDeniedError(HostError):
    """The operating system does not permit the operation to this user."""

    exit_code = 42


class MountError(HostError):
    """The kernel refused a mount; *why* has the kernel's own message where there is one."""

    exit_code = 43


class MountForbiddenError(MountError):
    """This process may not mount at all."""

    exit_code = 44


# --- running (50-69) ------------------------------------------------------------------------------------------------


class RuntimeMissingError(ArstoreError):
    """No OCI runtime works on this host."""

    exit_code = 50


class RuntimeFailedError(ArstoreError):
    """The OCI runtime failed; *why* has its own message."""

    exit_code = 51


class ImageConfigError(ArstoreError):
    """The image's config asks for something that its root file system does not have."""

    exit_code = 52


class IdentityError(ImageConfigError):
    """The container does not have the user, group or working directory that its command is to run with."""

    exit_code = 55


class CommandNotFoundError(ArstoreError):
    """The container's command does not exist in its root file system."""

    exit_code = 53


class CommandNotExecutableError(ArstoreError):
    """The container's command exists but cannot be invoked."""

    exit_code = 54


class PipelineFailedError(ArstoreError):
    """The pipeline's container ended with a status other than 0."""

    exit_code = 60


class PipelineTimeoutError(ArstoreError):
    """A load, or a part of it, did not end in the time it was given."""

    exit_code = 61


class SubImageError(ArstoreError):
    """Something that the pipeline left behind could not be imported."""

    exit_code = 62


class PipelineRefusedError(ArstoreError):
    """The image is not marked as a pipeline, and only those that are may run (--require-label)."""

    exit_code = 63


class InterruptedByUserError(ArstoreError):
    """The user interrupted the command (SIGINT)."""

    exit_code = 130


_DESCRIPTORS = "/proc/self/fd"
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_PERMITTED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def reason(error: OSError) -> str:
    """What the operating system said, as the middle of a sentence."""
    return (error.strerror or str(error)).lower()


BRING_BACK = "`arstore check --repair --from SOURCE` brings it from an archive or a backup that has it"
"""A hint for a blob that the store has lost."""


def as_root() -> str:
    """The hint for what root may do; none to root, who lacks it too."""
    return "run as root" if os.geteuid() else ""


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Have an OSError that leaves the context name something that the user can look up, or else *what*.

    System calls on a descriptor name its number or nothing, and those below a directory's descriptor a part of a path:
    that stands behind *what*, in parentheses.
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
    """Have an OSError that leaves the context name *what*, as the user wrote it, and nothing else from then on."""
    try:
        yield
    except OSError as error:
        if not hasattr(error, _CALLED):
            error.filename = what
            setattr(error, _CALLED, True)
        raise


_CALLED = "arstore_called"
"""An attribute of errors that have the name that they keep."""


def _file_name(error: OSError) -> str:
    """The file name in *error* as text; "" where it is none, or means an open descriptor."""
    name = error.filename
    if name is None or isinstance(name, int):
        return ""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    return "" if text.isdigit() or (text.startswith(_DESCRIPTORS) and not _is_proc_missing(error)) else text


def _is_proc_missing(error: OSError) -> bool:
    return error.errno == errno.ENOENT and not os.path.exists(_DESCRIPTORS)


def from_os_error(error: OSError, what: str = "") -> ArstoreError:
    """Make the right kind of error from what the operating system said.

    *what* names the thing that the user knows; without it, the file name in *error* is used.
    """
    name = _file_name(error)
    if name.startswith("/proc/") and _is_proc_missing(error):
        return HostError("/proc", "is not mounted", "mount it with `mount -t proc proc /proc`")
    what = what or name
    why = reason(error)
    if error.errno in _NO_SPACE:
        return NoSpaceError(what, why, "free some space, or `arstore gc`")
    if error.errno in _NOT_PERMITTED:
        return PermissionDeniedError(what, why)
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return NotFoundError(what, why)
    return HostError(what, why)


def reportable(error: BaseException, what: str) -> ArstoreError | OSError:
    """Return what a process reports in one line of the *error* that ends it; *what* names its work.

    An error that nobody has foreseen becomes a HostError: a traceback helps no user, and silence nobody.
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
    """Every class of the tree, ordered by exit status; the documentation's table is made from this."""
    found: list[type[ArstoreError]] = []
    todo: list[type[ArstoreError]] = [ArstoreError]
    while todo:
        cls = todo.pop()
        found.append(cls)
        todo.extend(cls.__subclasses__())
    return sorted(found, key=lambda c: (c.exit_code, c.__name__))
