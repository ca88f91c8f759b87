"""The options of `run` and `create`, besides those that `load` shares, and the request made from them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.containers.options.health import health_options, parse_health
from arstore.cli.containers.options.limit import warn_of_limits
from arstore.cli.containers.options.network import warn_of_ports
from arstore.cli.containers.options.setting import setting_options, wanted_platform, with_settings
from arstore.cli.containers.options.shared import SECONDS, container_options, run_options
from arstore.cli.containers.options.stream import log_options
from arstore.cli.parameter import ANY, option
from arstore.cli.registries.missing import found_or_pulled, may_pull, pull_options
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from arstore.cli.containers.options.health import HealthWords
    from arstore.cli.containers.options.setting import SettingWords
    from arstore.cli.containers.options.shared import ContainerWords
    from arstore.cli.containers.options.stream import LogWords
    from arstore.cli.registries.missing import PullWords
    from arstore.cli.session import Session
    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.containers import RunRequest
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.store import Store, StoredImage

    F = TypeVar("F", bound="Callable[..., Any]")

    class NewContainerWords(ContainerWords, SettingWords, HealthWords, LogWords, PullWords):
        """The options of the container, as they were typed."""

        name: str
        replace: bool
        cidfile: str
        requires: tuple[str, ...]
        timeout: float | None
        runtime_path: str | None
        restart: str
        remove: bool


_OPTIONS = (
    option("--name", metavar="ID", type=ANY, default="", help="Set the container's id; by default it is random."),
    option("--replace", is_flag=True, help="With --name: first remove the container that has this name."),
    option(
        "--requires",
        metavar="ID[,ID]",
        multiple=True,
        help="Start these containers first, unless they are running. They cannot be removed before this one.",
    ),
    option("--cidfile", metavar="FILE", default="", help="Write the id to FILE, which is removed with the container."),
    option(
        "--timeout",
        metavar="S",
        type=SECONDS,
        help="Stop the container after this many seconds; the status is then 255.",
    ),
    option("--runtime", "runtime_path", metavar="PATH", help="Use this OCI runtime; by default the first that works."),
    option(
        "--restart",
        metavar="POLICY",
        type=ANY,
        default="no",
        help="Start the command again when it ends: no, on-failure[:N], always or unless-stopped; for as long as its "
        "launcher lives, and not after a stop or kill.",
    ),
)


def new_container_options(function: F) -> F:
    """Add the options of NewContainerWords to a command, except `remove`."""
    function = setting_options(container_options(health_options(log_options(pull_options(function)))))
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


def requested(
    session: Session, store: Store, image: str, args: tuple[str, ...], words: NewContainerWords
) -> RunRequest:
    """Return the request for a new container of *image*, which is pulled if that is asked for.

    Raises the errors of `run_options`, `found_or_pulled`, `Store.stack_records` and `working_runtime`.
    """
    from arstore.runtime.lifecycle.containers import RunRequest
    from arstore.runtime.lifecycle.id_files import write_id_file

    options = options_of(args, words)
    warn_of_limits(session, options)
    warn_of_ports(session, words)
    for file in filter(None, (words["cidfile"], options.pid_file, options.launcher_pid_file)):
        # A file that cannot be written is reported before anything is started.
        write_id_file(file, "")
    found = found_or_pulled(session, store, image, words, wanted_platform(words))
    with session.progress() as progress:
        trees = tuple(store.stack_records(found, progress))
    warn_of_config(session, store, found)
    timeout, path = words["timeout"], words["runtime_path"]
    runtime = working_runtime(session, store, path, cgroups=options.cgroups, timeout=timeout)
    if words["replace"]:
        from arstore.runtime.lifecycle.removal import remove_named

        remove_named(store, words["name"])
    return RunRequest(
        found,
        options,
        runtime,
        words["name"],
        timeout=timeout,
        trees=trees,
        remove=words["remove"],
        chosen_runtime=path or "",
    )


def creates_store(image: str, words: NewContainerWords) -> bool:
    """Return whether the command may have to create the store, because it may pull *image*."""
    return may_pull(image, words)


def refuse_contradictions(command: str, words: NewContainerWords) -> None:
    """Raise UsageError for options that exclude each other."""
    from arstore.runtime.spec.restart import parse_restart

    if parse_restart(words["restart"]).is_active and words["remove"]:
        raise UsageError(command, "--restart and --rm exclude each other")
    if words["replace"] and not words["name"]:
        raise UsageError("--replace", "needs --name")


def out_of_memory(what: str, limit: int | None) -> str:
    """Return the message about a process killed for lack of memory; *limit* is `--memory` in bytes."""
    from arstore.cli.terminal.output import human_size

    why = "the host had no memory left" if limit is None else f"it reached its limit of {human_size(limit)} (--memory)"
    return f"{what}: the kernel killed a process in the container: {why}"


def warn_of_config(session: Session, store: Store, image: StoredImage) -> None:
    """Warn of parts of the image's config that cannot be applied. Raises MissingBlobError, ManifestError."""
    left = [one for one in store.config(image).left_out if one.startswith(("config.", "config "))]
    if left:
        session.warn(f"{image.label}: parts of its config are ignored: {', '.join(left)}")


def working_runtime(
    session: Session, store: Store, explicit: str | None, *, cgroups: bool, timeout: float | None
) -> Runtime:
    """Return the OCI runtime to use: *explicit*, or the configured one; *timeout* (seconds) limits the search.

    The graph is closed first, because the search forks. Raises RuntimeMissingError, UsageError, HostError.
    """
    from arstore.api.runtimes import working_runtime as found

    return found(store, session.settings, explicit, cgroups=cgroups, timeout=timeout, warn=session.warn)


def options_of(args: tuple[str, ...], words: NewContainerWords) -> RunOptions:
    """Return the options as values. Raises the errors of `run_options` and `with_settings`."""
    from arstore.runtime.spec.restart import parse_restart
    from arstore.runtime.stdio.log_options import parse_log

    options = with_settings(run_options(words), args, words)
    return options._replace(
        id_file=os.path.abspath(words["cidfile"]) if words["cidfile"] else "",
        requires=tuple(name for word in words["requires"] for name in word.split(",")),
        restart=parse_restart(words["restart"]),
        health=parse_health(words),
        log=parse_log(words["log_driver"], words["log_opt"]),
    )
