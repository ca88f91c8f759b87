"""The container options that `run`, `create` and `load` share.

Each theme has its own module, with the declarations, their words, and a function that adds their values. `run` and
`create` add the options of `setting_options`, which `load` does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.containers.options.env import ENV_FILE_HELP as ENV_FILE_HELP
from arstore.cli.containers.options.env import ENV_OPTIONS, with_environment
from arstore.cli.containers.options.env import variables as variables
from arstore.cli.containers.options.isolation import ISOLATION_OPTIONS, with_isolation
from arstore.cli.containers.options.limit import LIMIT_OPTIONS, LimitWords, with_limits
from arstore.cli.containers.options.mount import MOUNT_OPTIONS, with_mounts
from arstore.cli.containers.options.network import NETWORK_OPTIONS, with_network
from arstore.cli.containers.options.rights import RIGHTS_OPTIONS, with_rights
from arstore.cli.parameter import Range, option

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from arstore.cli.containers.options.env import EnvWords
    from arstore.cli.containers.options.isolation import IsolationWords
    from arstore.cli.containers.options.mount import MountWords
    from arstore.cli.containers.options.network import NetworkWords
    from arstore.cli.containers.options.rights import RightsWords
    from arstore.runtime.spec.options import RunOptions

    F = TypeVar("F", bound="Callable[..., Any]")

    class ContainerWords(EnvWords, MountWords, RightsWords, LimitWords, IsolationWords, NetworkWords):
        """The options as they were typed."""

        init: bool
        init_path: str
        stop_timeout: float | None


_MOST_SECONDS = 1_000_000_000
"""More than thirty years, and less than the limit of the kernel's timers."""
SECONDS = Range(float, min=0, max=_MOST_SECONDS, min_open=True)
GRACE = Range(float, min=0, max=_MOST_SECONDS)


_OPTIONS = (
    *ENV_OPTIONS,
    *MOUNT_OPTIONS,
    *RIGHTS_OPTIONS,
    *LIMIT_OPTIONS,
    *ISOLATION_OPTIONS,
    *NETWORK_OPTIONS,
    option("--init", is_flag=True, help="Run the command under catatonit or tini, which reap zombie processes."),
    option("--init-path", metavar="PATH", default="", help="Use this program for --init."),
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
    from arstore.runtime.spec.options import RunOptions

    stop_timeout = words["stop_timeout"]
    options = RunOptions(
        init=words["init"],
        init_path=_program(words["init_path"]) if words["init_path"] else "",
        stop_timeout=STOP_TIMEOUT if stop_timeout is None else stop_timeout,
    )
    options = with_limits(with_environment(with_network(options, words), words), words)
    return with_isolation(with_mounts(with_rights(options, words), words), words)


def _program(path: str) -> str:
    """Return the absolute path of an executable file. Raises NotFoundError, UsageError."""
    import os

    from arstore.errors import NotFoundError, UsageError

    if not os.path.exists(path):
        raise NotFoundError(path, "no such program")
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise UsageError(path, "is not an executable file")
    return os.path.realpath(path)
