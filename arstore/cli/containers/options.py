"""The options that say how a container is to be, the same words for `run` and `load`, and what they mean.

Each command adds its own: `run` those that only make sense for a person at a terminal, `load` none of these.
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
"""More than thirty years, and less than what the kernel's timers take."""
SECONDS = Range(float, min=0, max=_MOST_SECONDS, min_open=True)
GRACE = Range(float, min=0, max=_MOST_SECONDS)
ENV_FILE_HELP = (
    "A file of variables, K[=V] on each line; # begins a comment. Use it for secrets: every user of the host can read "
    "what -e gives, in /proc/PID/cmdline."
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
    option("-e", "--env", metavar="K[=V]", multiple=True, help="A variable; K alone takes this environment's value."),
    option("--env-file", metavar="FILE", multiple=True, help=ENV_FILE_HELP),
    option(
        "-v", "--volume", metavar="SRC:DST[:OPT,...]", multiple=True, help="A host path, seen at DST; ro: read-only."
    ),
    option("-u", "--user", metavar="USER[:GROUP]", type=ANY, help="Who the command runs as."),
    option("--group-add", metavar="GROUP", multiple=True, help="One more group for it."),
    option("-m", "--memory", metavar="N", help="The most memory, such as 512m or 2g."),
    option("--cpus", metavar="N", help="The most processors, such as 1.5."),
    option(
        "--pids-limit",
        metavar="N",
        type=Range(int, min=-1),
        help="The most processes and threads; 2048 by default, -1 for no limit.",
    ),
    option(
        "--cgroups",
        type=Choice(("enabled", "disabled")),
        default="enabled",
        show_default=True,
        help="disabled: make no control groups, where nobody may; nothing is limited then.",
    ),
    option("--network", type=Choice(NETWORKS), default="none", show_default=True, help="The network."),
    option("--device", metavar="HOST[:PATH][:rwm]", multiple=True, help="A device, or a directory of devices."),
    option("--cap-add", metavar="CAP", multiple=True, help="Add a capability; all for every one."),
    option("--cap-drop", metavar="CAP", multiple=True, help="Drop a capability; all for every one."),
    option(
        "--security-opt",
        metavar="OPT",
        multiple=True,
        help="seccomp=FILE|unconfined|default, no-new-privileges, unmask=ALL|PATH[:PATH...] or mask=PATH[:PATH...].",
    ),
    option("--privileged", is_flag=True, help="Give it every capability and device, and no seccomp profile."),
    option("--init", is_flag=True, help="Run the command under catatonit or tini, which reaps processes."),
    option("--tmpfs", metavar="PATH[:OPT,...]", multiple=True, help="A file system in memory, such as /tmp:size=1g."),
    option("--ulimit", metavar="KIND=SOFT[:HARD]", multiple=True, help="A resource limit, such as nofile=1024:4096."),
    option("--shm-size", metavar="N", help="The size of /dev/shm; 64m by default."),
    option("--stop-timeout", metavar="S", type=GRACE, help="Seconds from the stop signal to SIGKILL; 10."),
)


def container_options(function: F) -> F:
    """Give a command the options of ContainerWords."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


def run_options(words: ContainerWords) -> RunOptions:
    """What the options ask for, before the command's own are added.

    Raises UsageError, NotFoundError for a volume, device or file that does not exist, HostError.
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
        parse_size,
        parse_volume,
    )
    from arstore.runtime.spec.security import parse_security

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
    """Several in one word, with commas between them, as podman takes them."""
    return tuple(one for word in words for one in word.split(","))


def _refuse_limits_without_cgroups(words: ContainerWords) -> None:
    if words["cgroups"] == "enabled":
        return
    limits = {"--memory": words["memory"], "--cpus": words["cpus"], "--pids-limit": words["pids_limit"]}
    for name, value in limits.items():
        if value is not None and value != -1:
            raise UsageError(name, "needs control groups, and --cgroups=disabled makes none")


def environment(texts: Sequence[str]) -> tuple[str, ...]:
    """What `--env` gives: `K=V`, and for `K` alone the value that this process has, if any. Raises UsageError."""
    from arstore.runtime.spec.options import parse_env

    found = (parse_env(text, os.environ) for text in texts)
    return tuple(text for text in found if text is not None)


def variables(paths: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """What `--env-file` and `--env` give, the latter last, so that it wins. Raises as `environment` and `env_file`."""
    found = [variable for path in paths for variable in env_file(path)]
    return (*found, *environment(texts))


def env_file(path: str) -> tuple[str, ...]:
    """The variables in the file *path*, as podman and docker read it: a line each, blank ones and comments left out.

    A value is all that follows the first `=`, quotes included. Raises UsageError, which names the line, NotFoundError,
    PermissionDeniedError, HostError.
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
    """Raise UsageError, which never shows the value, for a line that gives no variable."""
    name = line.partition("=")[0]
    why = ""
    if not name:
        why = "has no name before ="
    elif any(character.isspace() for character in name):
        why = "has white space in the variable's name"
    elif "\0" in line:
        why = "contains NUL"
    elif any("\udc80" <= character <= "\udcff" for character in line):
        why = "is not valid UTF-8"
    if why:
        raise UsageError(where, why, "write NAME=VALUE, NAME for the host's value, or # and a comment")
