"""Options for a container's environment: variables from the command line, files and the host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.parameter import option
from arstore.errors import UsageError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypedDict

    from arstore.runtime.spec.options import RunOptions

    class EnvWords(TypedDict):
        """The options as they were typed."""

        env: tuple[str, ...]
        env_file: tuple[str, ...]
        env_host: bool
        env_merge: tuple[str, ...]
        unsetenv: tuple[str, ...]
        unsetenv_all: bool
        http_proxy: bool


ENV_FILE_HELP = (
    "Set the variables in FILE, with K[=V] on each line; # begins a comment. Use it for secrets: every user of the "
    "host can read the values of -e in /proc/PID/cmdline."
)
_FILE_LIMIT = 16 << 20
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


ENV_OPTIONS = (
    option(
        "-e",
        "--env",
        metavar="K[=V]",
        multiple=True,
        help="Set a variable; K alone takes its value from the environment, and K* all that begin with K.",
    ),
    option("--env-file", metavar="FILE", multiple=True, help=ENV_FILE_HELP),
    option("--env-host", is_flag=True, help="Set all variables of the environment; they override the image's."),
    option(
        "--env-merge",
        metavar="K=V",
        multiple=True,
        help="Set a variable to V with the image's variables filled in, such as PATH=${PATH}:/opt/bin.",
    ),
    option("--unsetenv", metavar="K", multiple=True, help="Leave out this variable of the image, or a default one."),
    option("--unsetenv-all", is_flag=True, help="Leave out all variables of the image, and the default ones."),
    option(
        "--http-proxy",
        is_flag=True,
        default=True,
        help="Pass on http_proxy and the other proxy variables of the environment; this is the default. "
        "--http-proxy=false leaves them out.",
    ),
)


def with_environment(options: RunOptions, words: EnvWords) -> RunOptions:
    """Return *options* with the variables. Raises the errors of `variables`."""
    from arstore.runtime.spec.process import EVERY

    host = os.environ.items() if words["env_host"] else ()
    names = (*_PROXIES, *map(str.upper, _PROXIES)) if words["http_proxy"] else ()
    proxies = (f"{name}={os.environ[name]}" for name in names if name in os.environ)
    for text in words["env_merge"]:
        if not text.partition("=")[0]:
            raise UsageError(text, "an environment variable needs a name")
    unset = (EVERY,) if words["unsetenv_all"] else words["unsetenv"]
    return options._replace(
        env=(*_clean(f"{name}={value}" for name, value in host), *variables(words["env_file"], words["env"])),
        inherited_env=_clean(proxies),
        merged_env=tuple(text for text in words["env_merge"] if "=" in text),
        unset=unset,
    )


def _clean(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the variables of the host that can be in config.json, and are not the value of an empty name."""
    return tuple(
        text
        for text in texts
        if not text.startswith("=") and not any("\udc80" <= character <= "\udcff" for character in text)
    )


def environment(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the variables of `--env`: `K=V`, and for `K` alone the value in the environment, if any.

    `K*` stands for all variables whose names begin with K, as in podman. Raises UsageError.
    """
    from arstore.runtime.spec.options import parse_env

    found: list[str] = []
    for text in texts:
        if text.endswith("*") and "=" not in text:
            start = text.removesuffix("*")
            found += _clean(f"{name}={value}" for name, value in os.environ.items() if name.startswith(start))
        elif (one := parse_env(text, os.environ)) is not None:
            found.append(one)
    return tuple(found)


def variables(paths: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """Return the variables of `--env-file`, then those of `--env`, which override them.

    Raises UsageError, NotFoundError, PermissionDeniedError, HostError.
    """
    found = [variable for path in paths for variable in env_file(path)]
    return (*found, *environment(texts))


def env_file(path: str) -> tuple[str, ...]:
    """Return the variables in the file *path*, which is read as podman and docker do.

    Each line has one variable; blank lines and comments are ignored. The value is everything after the first `=`,
    quotes included. Raises UsageError with the number of the line, NotFoundError, PermissionDeniedError, HostError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        with open(fd, encoding="utf-8", errors="surrogateescape", newline="") as file:
            text = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise from_os_error(error, path) from error
    if len(text) > _FILE_LIMIT:
        raise UsageError(path, f"is larger than {_FILE_LIMIT >> 20} MiB")
    found: list[str] = []
    for number, whole in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = whole.lstrip().removesuffix("\r")
        if line and not line.startswith("#"):
            _check_line(line, f"{path}: line {number}")
            found += environment([line])
    return tuple(found)


def _check_line(line: str, where: str) -> None:
    """Raise UsageError for a line without a variable. The error does not contain the value, which may be secret."""
    name = line.partition("=")[0]
    why = ""
    if not name:
        why = "has no name before ="
    elif any(character.isspace() for character in name):
        why = "has white space in the name of the variable"
    elif "\0" in line:
        why = "contains NUL"
    elif any("\udc80" <= character <= "\udcff" for character in line):
        why = "is not valid UTF-8"
    if why:
        raise UsageError(
            where, why, "write NAME=VALUE, NAME alone for the value in the environment, or # and a comment"
        )
