"""`run`: run a command in a new container."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.cli.command import (
    ContainerCommand,
    command,
    json_option,
    progress_option,
)
from arstore.cli.containers.ended import status_of
from arstore.cli.containers.limit_options import warn_of_limits
from arstore.cli.containers.network_options import warn_of_ports
from arstore.cli.containers.options import SECONDS, ContainerWords, container_options, run_options
from arstore.cli.containers.setting_options import SettingWords, setting_options, wanted_platform, with_settings
from arstore.cli.parameter import ANY, RAW, argument, option
from arstore.cli.registries.missing import PullWords, found_or_pulled, may_pull, pull_options
from arstore.cli.terminal.output import human_size, write_json, write_line
from arstore.errors import ArstoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.runtime.driver import Runtime
    from arstore.store.store import Store, StoredImage


class _Words(ContainerWords, SettingWords, PullWords):
    """The options of the container, as they were typed."""


@command("run", cls=ContainerCommand, interspersed=False)
@argument("image")
@argument("args", metavar="[ARG]...", nargs=-1, type=RAW)
@option("--name", metavar="ID", type=ANY, default="", help="Set the container's id; by default it is random.")
@option("--replace", is_flag=True, help="With --name: first remove the container that has this id.")
@option("-d", "--detach", is_flag=True, help="Print the id and leave the container running in the background.")
@option("--cidfile", metavar="FILE", default="", help="Write the container's id to FILE; removed with the container.")
@option("--timeout", metavar="S", type=SECONDS, help="Stop the container after this many seconds.")
@option("--runtime", "runtime_path", metavar="PATH", help="Use this OCI runtime; by default the first that works.")
@option("--keep", is_flag=True, help="Keep the container after the command has ended.")
@option("--rm", "remove", is_flag=True, help="Remove the container after the command has ended; this is the default.")
@option("--rmi", is_flag=True, help="Then remove the image too, unless something else uses it.")
@setting_options
@container_options
@pull_options
@progress_option
@json_option
def run(
    session: Session,
    /,
    image: str,
    args: tuple[str, ...],
    name: str,
    replace: bool,
    detach: bool,
    cidfile: str,
    keep: bool,
    remove: bool,
    rmi: bool,
    timeout: float | None,
    runtime_path: str | None,
    **words: Unpack[_Words],
) -> int:
    """Run a command in a new container.

    ARG... replaces the image's CMD; everything from the first ARG on belongs to the command. The container can write to
    its root file system without changing the image. The container is removed when the command ends, unless --keep or
    --detach is given.

    Prints what the command prints; with --detach, the container's id. The exit status is that of the command.

    Examples:

    arstore run base:1 echo hello

    arstore run -it -v /srv/data:/data:ro base:1 sh
    """
    from arstore.runtime.lifecycle import containers
    from arstore.runtime.lifecycle.id_files import write_id_file
    from arstore.runtime.lifecycle.replace import replaced

    _refuse_contradictions(detach, keep, remove or rmi, timeout, words)
    if replace and not name:
        raise UsageError("--replace", "needs --name")
    options = with_settings(run_options(words), args, words)
    warn_of_limits(session, options)
    warn_of_ports(session, words)
    with session.store(create=may_pull(image, words), makes=True) as store:
        found = found_or_pulled(session, store, image, words, wanted_platform(words))
        with session.progress() as progress:
            trees = tuple(store.stack_records(found, progress))
        warn_of_config(session, store, found)
        runtime = working_runtime(session, store, runtime_path, cgroups=options.cgroups, timeout=timeout)
        if replace:
            replaced(store, name)
        request = containers.RunRequest(found, options, runtime, name, keep, timeout, trees=trees)
        if not detach:
            with _cidfile(cidfile, keep) as created:
                ended = containers.run(store, request, created)
            if ended.oom_killed:
                session.warn(out_of_memory(found.label, options.memory))
            if rmi:
                _remove_image(session, store, found.label)
            return status_of(session, ended)
        container_id = containers.start(store, request)
    # The command was started: errors from here on have their own status, not that of a failed `run`.
    session.done = f"container {container_id} was started and is running"
    session.command = None
    if cidfile:
        write_id_file(cidfile, container_id)
    if session.json:
        write_json({"container": container_id, "image": found.digest})
    else:
        write_line(container_id)
    return 0


@contextmanager
def _cidfile(path: str, stays: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes the container's id to the file *path*, if given.

    Unless the container *stays*, the file is removed.
    """
    from arstore.runtime.lifecycle.id_files import remove_id_file, write_id_file

    written: list[str] = []

    def write(container_id: str) -> None:
        if path:
            write_id_file(path, container_id)
            written.append(container_id)

    try:
        yield write
    finally:
        if written and not stays:
            remove_id_file(path, written[0])


def _remove_image(session: Session, store: Store, name: str) -> None:
    """Remove the image called *name*, unless something uses it; that is only a warning, because the command has run."""
    from arstore.maintenance.remove import remove_images

    try:
        remove_images(store, [name])
    except ArstoreError as error:
        session.warn(f"{error}; the image stays")


def out_of_memory(what: str, limit: int | None) -> str:
    """Return the message about a process killed for lack of memory; *limit* is `--memory` in bytes."""
    why = "the host had no memory left" if limit is None else f"it reached its limit of {human_size(limit)} (--memory)"
    return f"{what}: the kernel killed a process in the container: {why}"


def _refuse_contradictions(detach: bool, keep: bool, remove: bool, timeout: float | None, words: _Words) -> None:
    if keep and remove:
        raise UsageError("run", "--keep and --rm exclude each other")
    if detach and remove:
        raise UsageError("run", "--detach and --rm exclude each other", "use `arstore container rm` later")
    if detach and words["interactive"]:
        raise UsageError("run", "--detach and --interactive exclude each other")
    if detach and timeout is not None:
        raise UsageError("run", "--detach and --timeout exclude each other")


def warn_of_config(session: Session, store: Store, image: StoredImage) -> None:
    """Warn of parts of the image's config that cannot be applied. Raises MissingBlobError, ManifestError."""
    left = [one for one in store.config(image).left_out if one.startswith(("config.", "config "))]
    if left:
        session.warn(f"{image.label}: parts of its config are ignored: {', '.join(left)}")


def working_runtime(
    session: Session, store: Store, explicit: str | None, *, cgroups: bool, timeout: float | None
) -> Runtime:
    """Return the OCI runtime to use; *timeout* (seconds) limits the search.

    The graph is closed first, because the search forks. Raises RuntimeMissingError, UsageError, HostError.
    """
    from arstore.runtime.discovery import find_runtime

    store.close()
    runtime = find_runtime(explicit, store.directories.runroot, cgroups=cgroups, timeout=timeout)
    if runtime.note:
        session.warn(runtime.note)
    return runtime
