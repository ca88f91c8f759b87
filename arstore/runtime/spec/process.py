"""The `process` of config.json: who runs what, where and with which environment (runtime-spec config.md, "Process").

Text from an image or the command line is passed exactly or refused: a newline or a further `=` in a value is only a
character to execve(2) and JSON, so it is kept; NUL and text that is no Unicode, which config.json cannot carry, are
ImageConfigError. Out of scope: looking users and commands up.
"""

from __future__ import annotations

import posixpath
import resource
import stat
from typing import TYPE_CHECKING

from arstore.errors import IdentityError, ImageConfigError, reason
from arstore.linux.isolation import capability
from arstore.runtime.spec import defaults
from arstore.runtime.spec.capabilities import capabilities_section
from arstore.runtime.spec.command import DEFAULT_PATH
from arstore.runtime.spec.limits import rlimits
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.image_files import RootDirectory
    from arstore.runtime.spec.limits import Ulimit
    from arstore.runtime.spec.options import RunOptions
    from arstore.runtime.spec.users import User


class Process(NamedTuple):
    """A process to be: everything looked up, nothing left to guess."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: User
    tty: bool = False
    ulimits: tuple[Ulimit, ...] = ()

    @property
    def search_path(self) -> str:
        """The value of PATH."""
        return next((v[5:] for v in self.env if v.startswith("PATH=")), DEFAULT_PATH)


def environment(*sources: Iterable[str], home: str, hostname: str, tty: bool) -> tuple[str, ...]:
    """One environment of *sources*, each `NAME=VALUE`, later ones winning, and of what is expected to be there.

    PATH, HOSTNAME and, with a terminal, TERM have defaults which *sources* may override; HOME is *home* unless they
    name it. Raises ImageConfigError.
    """
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if tty:
        found["TERM"] = "xterm"
    for source in sources:
        for text in source:
            name, equals, value = checked(text, "environment").partition("=")
            if not name or not equals:
                raise ImageConfigError(f"environment {text!r}", "not of the form NAME=VALUE")
            found[name] = value
    found.setdefault("HOME", home)
    return tuple(f"{name}={value}" for name, value in found.items())


def working_directory(text: str, root: RootDirectory) -> str:
    """*text* as an absolute path without `..`; the runtimes make it where it does not exist.

    Raises ImageConfigError when it leads, perhaps through symlinks, into /proc, /sys or /dev: with the runtime's own
    descriptors behind /proc/self/fd that has been a way out of containers (CVE-2024-21626).
    """
    path = posixpath.normpath(posixpath.join("/", checked(text or "/", "working directory")))
    path = "/" + path.lstrip("/")
    try:
        real = root.canonical(path)
    except OSError as error:
        raise ImageConfigError(f"working directory {text!r}", reason(error)) from error
    for place in ("/proc", "/sys", "/dev"):
        if any(p.startswith(f"{place}/") for p in (path, real)):
            raise ImageConfigError(f"working directory {text!r}", f"lies in {place}")
    return path


def make_working_directory(path: str, root: RootDirectory, owner: tuple[int, int]) -> None:
    """Make the image's WORKDIR where it is missing; it belongs to the command's user then, as podman has it.

    Raises IdentityError when something else than a directory is there, OSError.
    """
    try:
        root.make_directories(path, owner)
    except NotADirectoryError:
        raise IdentityError(f"working directory {path!r}", "is not a directory in the container") from None


def check_working_directory(text: str, path: str, root: RootDirectory) -> None:
    """See that *path*, which the user has given as *text*, exists. Raises IdentityError, OSError."""
    about = root.stat(path)
    if about is None or not stat.S_ISDIR(about.st_mode):
        why = "does not exist in the container" if about is None else "is not a directory in the container"
        raise IdentityError(f"working directory {text!r}", why)


def home_of(user: User, cwd: str) -> str:
    """HOME: the account's; for an id without an account the working directory, as podman has it."""
    return user.home or ("/" if user.name else cwd)


def has_home(*sources: Iterable[str]) -> bool:
    """Whether one of these environments names HOME."""
    return any(variable.startswith("HOME=") for source in sources for variable in source)


def checked(text: str, what: str) -> str:
    """*text*, when config.json can carry it exactly. Raises ImageConfigError."""
    if "\0" in text:
        raise ImageConfigError(f"{what} {text!r}", "contains NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ImageConfigError(f"{what} {text!r}", "is not valid Unicode, which the runtime's config must be") from None
    return text


def process_section(process: Process, options: RunOptions) -> Json:
    """The JSON object. Raises UsageError for a limit that this process may not give."""
    return {
        "terminal": process.tty,
        **identity_section(process.user, options.capabilities(capability.effective()), options.security.added),
        "args": [checked(word, "argument") for word in process.args],
        "env": list(process.env),
        "cwd": process.cwd,
        "rlimits": rlimits(process.ulimits, _most_files()),
        "noNewPrivileges": options.security.no_new_privileges,
    }


def identity_section(user: User, capabilities: Sequence[str], added: Sequence[str] = ()) -> Json:
    """The members `user` and `capabilities`, in a container with these; *added* are those that were asked for."""
    # Without the primary group among them, a file that its mode closes to this group could be read by its user
    # (CVE-2022-2989, CVE-2022-36109): a process may drop its primary group, not the others.
    groups = list(dict.fromkeys((user.gid, *user.groups)))
    numbers: Json = {"uid": user.uid, "gid": user.gid, "umask": 0o022, "additionalGids": groups}
    return {"user": numbers, "capabilities": capabilities_section(user.uid, capabilities, added)}


def _most_files() -> int:
    """No more than our own limit: raising one takes CAP_SYS_RESOURCE, which not every root has."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return defaults.MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, defaults.MOST_FILES)
