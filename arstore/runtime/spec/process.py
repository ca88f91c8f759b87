"""The `process` of config.json: user, command, directory and environment (runtime-spec config.md, "Process").

Text from an image or the command line is passed on exactly or refused. A newline or a second `=` in a value is an
ordinary character for execve(2) and JSON, and is kept. NUL, and text that is not Unicode, cannot be in config.json, and
raise ImageConfigError. Out of scope: looking up users and commands.
"""

from __future__ import annotations

import posixpath
import re
import resource
import stat
from typing import TYPE_CHECKING

from arstore.errors import IdentityError, ImageConfigError, reason
from arstore.linux.isolation import capability
from arstore.runtime.spec import defaults
from arstore.runtime.spec.command import DEFAULT_PATH
from arstore.runtime.spec.limits import may_raise_limits, rlimits
from arstore.runtime.spec.rights.capabilities import capabilities_section
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.identity.users import User
    from arstore.runtime.spec.image_files import RootDirectory
    from arstore.runtime.spec.limits import Ulimit
    from arstore.runtime.spec.options import RunOptions


EVERY = "*"
"""In a list of variables to unset, all of them."""

_REFERENCE = r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z_][A-Za-z0-9_]*))"


class Process(NamedTuple):
    """A process to start, with everything resolved."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: User
    tty: bool = False
    ulimits: tuple[Ulimit, ...] = ()

    @property
    def search_path(self) -> str:
        """The value of PATH; "" if the user has unset it."""
        return next((v[5:] for v in self.env if v.startswith("PATH=")), "")


def environment(
    *sources: Iterable[str], home: str, hostname: str, tty: bool, unset: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return one environment from *sources*, each `NAME=VALUE`, in which later ones win, and from defaults.

    PATH, HOSTNAME and, with a terminal, TERM have defaults that *sources* may override; HOME is *home* unless they
    set it. The defaults PATH and TERM are left out if they are among *unset*. Raises ImageConfigError.
    """
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if tty:
        found["TERM"] = "xterm"
    for name in ("PATH", "TERM"):
        if EVERY in unset or name in unset:
            found.pop(name, None)
    for source in sources:
        for text in source:
            name, equals, value = checked(text, "environment").partition("=")
            if not name or not equals:
                raise ImageConfigError(f"environment {text!r}", "not of the form NAME=VALUE")
            found[name] = value
    found.setdefault("HOME", home)
    return tuple(f"{name}={value}" for name, value in found.items())


def container_environment(image: Iterable[str], options: RunOptions, *, home: str, hostname: str) -> tuple[str, ...]:
    """Return the environment of a container's own process, from the variables of its *image* and its options.

    Raises ImageConfigError.
    """
    image, unset = tuple(image), options.unset
    return environment(
        without(defaults.VARIABLES, unset),
        options.inherited_env,
        without(image, unset),
        merged(options.merged_env, image),
        options.env,
        home=home,
        hostname=hostname,
        tty=options.tty,
        unset=unset,
    )


def without(variables: Iterable[str], unset: Iterable[str]) -> list[str]:
    """Return the *variables* whose names are not among *unset*; EVERY stands for all names."""
    names = frozenset(unset)
    return [] if EVERY in names else [text for text in variables if text.partition("=")[0] not in names]


def merged(variables: Iterable[str], image: Iterable[str]) -> list[str]:
    """Return *variables* with `$NAME` and `${NAME}` in values replaced by the value in *image*, or by nothing."""
    values = dict(text.split("=", 1) for text in image if "=" in text)
    values.setdefault("PATH", DEFAULT_PATH)

    def filled(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2], "")

    found = []
    for text in variables:
        name, equals, value = text.partition("=")
        found.append(name + equals + re.sub(_REFERENCE, filled, value))
    return found


def working_directory(text: str, root: RootDirectory) -> str:
    """Return *text* as an absolute path without `..`; the runtimes make it if it does not exist.

    Raises ImageConfigError if it leads, directly or through symlinks, into /proc, /sys or /dev: /proc/self/fd has the
    runtime's own descriptors, through which a process could leave the container (CVE-2024-21626).
    """
    path = posixpath.normpath(posixpath.join("/", checked(text or "/", "working directory")))
    path = "/" + path.lstrip("/")
    try:
        real = root.canonical(path)
    except OSError as error:
        raise ImageConfigError(f"working directory {text!r}", reason(error)) from error
    for place in ("/proc", "/sys", "/dev"):
        if any(p.startswith(f"{place}/") for p in (path, real)):
            raise ImageConfigError(f"working directory {text!r}", f"is in {place}")
    return path


def make_working_directory(path: str, root: RootDirectory, owner: tuple[int, int]) -> None:
    """Make the image's WORKDIR if it is missing; it then belongs to the command's user, as in podman.

    Raises IdentityError if something other than a directory is there, OSError.
    """
    try:
        root.make_directories(path, owner)
    except NotADirectoryError:
        raise IdentityError(f"working directory {path!r}", "is not a directory in the container") from None


def check_working_directory(text: str, path: str, root: RootDirectory) -> None:
    """Require that *path*, which the user has given as *text*, is a directory. Raises IdentityError, OSError."""
    about = root.stat(path)
    if about is None or not stat.S_ISDIR(about.st_mode):
        why = "does not exist in the container" if about is None else "is not a directory in the container"
        raise IdentityError(f"working directory {text!r}", why)


def home_of(user: User, cwd: str) -> str:
    """Return HOME: the account's; for an id without an account the working directory, as in podman."""
    return user.home or ("/" if user.name else cwd)


def has_home(*sources: Iterable[str]) -> bool:
    """Whether one of these environments sets HOME."""
    return any(variable.startswith("HOME=") for source in sources for variable in source)


def checked(text: str, what: str) -> str:
    """Return *text* if config.json can carry it exactly. Raises ImageConfigError."""
    if "\0" in text:
        raise ImageConfigError(f"{what} {text!r}", "contains NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ImageConfigError(f"{what} {text!r}", "is not valid Unicode, which config.json requires") from None
    return text


def process_section(process: Process, options: RunOptions) -> Json:
    """Return the JSON object. Raises RuntimeFailedError for a limit that this process may not set."""
    found = {
        "terminal": process.tty,
        **identity_section(
            process.user, options.capabilities(capability.effective()), options.security.added, options.umask
        ),
        "args": [checked(word, "argument") for word in process.args],
        "env": list(process.env),
        "cwd": process.cwd,
        "rlimits": rlimits(process.ulimits, _most_files()),
        "noNewPrivileges": options.security.no_new_privileges,
    }
    if options.oom_score_adj is not None:
        found["oomScoreAdj"] = settable_oom_score(options.oom_score_adj)
    if options.security.apparmor:
        found["apparmorProfile"] = options.security.apparmor
    return found


def identity_section(user: User, capabilities: Sequence[str], added: Sequence[str] = (), umask: int = 0o022) -> Json:
    """Return the members `user` and `capabilities`, given the container's; *added* are the requested ones."""
    # The primary group has to be among them: a process may drop its primary group, but not the others. Otherwise the
    # user could read a file whose mode excludes this group (CVE-2022-2989, CVE-2022-36109).
    groups = list(dict.fromkeys((user.gid, *user.groups)))
    numbers: Json = {"uid": user.uid, "gid": user.gid, "umask": umask, "additionalGids": groups}
    return {"user": numbers, "capabilities": capabilities_section(user.uid, capabilities, added)}


def settable_oom_score(wanted: int) -> int:
    """Return *wanted*, or this process's own value if that is higher and only root may lower it."""
    if may_raise_limits():
        return wanted
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return max(wanted, int(file.read()))


def _most_files() -> int:
    """Return the limit of open files, at most our own: raising it needs CAP_SYS_RESOURCE, which some roots lack."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return defaults.MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, defaults.MOST_FILES)
