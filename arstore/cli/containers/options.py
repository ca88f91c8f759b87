"""The container options that `run` and `load` share, and their meaning.

`run` adds those that only make sense for a person at a terminal; `load` does not have them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar

from arstore.cli.parameter import ANY, Choice, Range, option
from arstore.errors import UsageError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from arstore.runtime.spec.options import RunOptions

    F = TypeVar("F", bound="Callable[..., Any]")

NETWORKS = ("none", "host")
_MOST_SECONDS = 1_000_000_000
"""More than thirty years, and less than the limit of the kernel's timers."""
SECONDS = Range(float, min=0, max=_MOST_SECONDS, min_open=True)
GRACE = Range(float, min=0, max=_MOST_SECONDS)
ENV_FILE_HELP = (
    "Set the variables in FILE, with K[=V] on each line; # begins a comment. Use it for secrets: every user of the "
    "host can read the values of -e in /proc/PID/cmdline."
)
_ENV_FILE_LIMIT = 16 << 20


class ContainerWords(TypedDict):
    """The options as they were typed."""

    env: tuple[str, ...]
    env_file: tuple[str, ...]
    volume: tuple[str, ...]
    user: str | None
    group_add: tuple[str, ...]
    memory: str | None
    cpus: str | None
    pids_limit: int | None
    cgroups: Literal["enabled", "disabled"]
    network: Literal["none", "host"]
    device: tuple[str, ...]
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    security_opt: tuple[str, ...]
    privileged: bool
    init: bool
    tmpfs: tuple[str, ...]
    ulimit: tuple[str, ...]
    shm_size: str | None
    stop_timeout: float | None


_OPTIONS = (
    option(
        "-e",
        "--env",
        metavar="K[=V]",
        multiple=True,
        help="Set a variable; K alone takes its value from the environment.",
    ),
    option("--env-file", metavar="FILE", multiple=True, help=ENV_FILE_HELP),
    option(
        "-v", "--volume", metavar="SRC:DST[:OPT,...]", multiple=True, help="Mount a host path at DST; ro is read-only."
    ),
    option("-u", "--user", metavar="USER[:GROUP]", type=ANY, help="Run the command as this user."),
    option("--group-add", metavar="GROUP", multiple=True, help="Add the command to this group; repeatable."),
    option("-m", "--memory", metavar="N", help="Limit the memory, such as 512m or 2g."),
    option("--cpus", metavar="N", help="Limit the CPUs, such as 1.5."),
    option(
        "--pids-limit",
        metavar="N",
        type=Range(int, min=-1),
        help="Limit the processes and threads; 2048 by default, -1 for no limit.",
    ),
    option(
        "--cgroups",
        type=Choice(("enabled", "disabled")),
        default="enabled",
        show_default=True,
        help="disabled: create no control groups, for hosts that do not allow it; limits are not available then.",
    ),
    option(
        "--network",
        type=Choice(NETWORKS),
        default="none",
        show_default=True,
        help="none has loopback only; host is the host's network.",
    ),
    option("--device", metavar="HOST[:PATH][:rwm]", multiple=True, help="Add a device, or a directory of devices."),
    option("--cap-add", metavar="CAP", multiple=True, help="Add a capability, or all."),
    option("--cap-drop", metavar="CAP", multiple=True, help="Drop a capability, or all."),
    option(
        "--security-opt",
        metavar="OPT",
        multiple=True,
        help="seccomp=FILE|unconfined|default, no-new-privileges, unmask=ALL|PATH[:PATH...] or mask=PATH[:PATH...].",
    ),
    option(
        "--privileged", is_flag=True, help="Give the container all capabilities and devices, and no seccomp profile."
    ),
    option("--init", is_flag=True, help="Run the command under catatonit or tini, which reap zombie processes."),
    option(
        "--tmpfs", metavar="PATH[:OPT,...]", multiple=True, help="Mount a file system in memory, such as /tmp:size=1g."
    ),
    option(
        "--ulimit", metavar="KIND=SOFT[:HARD]", multiple=True, help="Set a resource limit, such as nofile=1024:4096."
    ),
    option("--shm-size", metavar="N", help="Set the size of /dev/shm; 64m by default."),
    option(
        "--stop-timeout", metavar="S", type=GRACE, help="Seconds between the stop signal and SIGKILL; 10 by default."
    ),
)


def container_options(function: F) -> F:
    """Add the options of ContainerWords to a command."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


def run_options(words: ContainerWords) -> RunOptions:
    """Return the options as values; the command then adds its own.

    Raises UsageError, HostError; NotFoundError for a volume, device or file that does not exist.
    """
    from arstore.runtime.lifecycle.state import STOP_TIMEOUT
    from arstore.runtime.spec.defaults import SHM_SIZE
    from arstore.runtime.spec.devices import parse_device
    from arstore.runtime.spec.limits import parse_tmpfs, parse_ulimit
    from arstore.runtime.spec.options import (
        RunOptions,
        check_pids_limit,
        parse_cpus,
        parse_memory,
        parse_volume,
    )
    from arstore.runtime.spec.security import parse_security
    from arstore.runtime.spec.sizes import parse_size

    _refuse_limits_without_cgroups(words)
    memory, cpus, shm_size, stop_timeout = words["memory"], words["cpus"], words["shm_size"], words["stop_timeout"]
    return RunOptions(
        env=variables(words["env_file"], words["env"]),
        user=words["user"],
        groups=_split(words["group_add"]),
        volumes=tuple(map(parse_volume, words["volume"])),
        memory=None if memory is None else parse_memory(memory),
        cpus=None if cpus is None else parse_cpus(cpus),
        pids_limit=None if words["pids_limit"] is None else check_pids_limit(words["pids_limit"]),
        cgroups=words["cgroups"] == "enabled",
        network=words["network"],
        security=parse_security(
            words["security_opt"], _split(words["cap_add"]), _split(words["cap_drop"]), words["privileged"]
        ),
        devices=tuple(map(parse_device, words["device"])),
        tmpfs=tuple(map(parse_tmpfs, words["tmpfs"])),
        ulimits=tuple(map(parse_ulimit, words["ulimit"])),
        shm_size=SHM_SIZE if shm_size is None else parse_size(shm_size),
        init=words["init"],
        stop_timeout=STOP_TIMEOUT if stop_timeout is None else stop_timeout,
    )


def _split(words: Sequence[str]) -> tuple[str, ...]:
    """Split words at commas, as podman does."""
    return tuple(one for word in words for one in word.split(","))


def _refuse_limits_without_cgroups(words: ContainerWords) -> None:
    if words["cgroups"] == "enabled":
        return
    limits = {"--memory": words["memory"], "--cpus": words["cpus"], "--pids-limit": words["pids_limit"]}
    for name, value in limits.items():
        if value is not None and value != -1:
            raise UsageError(name, "needs control groups, but --cgroups=disabled is given")


def environment(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the variables of `--env`: `K=V`, and for `K` alone the value in the environment, if any.

    Raises UsageError.
    """
    from arstore.runtime.spec.options import parse_env

    found = (parse_env(text, os.environ) for text in texts)
    return tuple(text for text in found if text is not None)


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
            text = file.read(_ENV_FILE_LIMIT + 1)
    except OSError as error:
        raise from_os_error(error, path) from error
    if len(text) > _ENV_FILE_LIMIT:
        raise UsageError(path, f"is larger than {_ENV_FILE_LIMIT >> 20} MiB")
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
