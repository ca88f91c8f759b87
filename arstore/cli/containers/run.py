"""`run`: run a command in a new container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.command import (
    ContainerCommand,
    command,
    json_option,
    progress_option,
)
from arstore.cli.containers.ended import status_of
from arstore.cli.containers.options import SECONDS, ContainerWords, container_options, run_options
from arstore.cli.parameter import ANY, RAW, argument, option
from arstore.cli.registries.missing import PullWords, found_or_pulled, may_pull, pull_options
from arstore.cli.terminal.output import human_size, write_json, write_line
from arstore.errors import UsageError

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.runtime.driver import Runtime
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.store import Store, StoredImage


class _Words(ContainerWords, PullWords):
    """The options of the container, as they were typed."""

    interactive: bool
    tty: bool
    workdir: str
    entrypoint: str | None
    read_only: bool
    hostname: str
    label: tuple[str, ...]
    stop_signal: str


@command("run", cls=ContainerCommand, interspersed=False)
@argument("image")
@argument("args", metavar="[ARG]...", nargs=-1, type=RAW)
@option("--name", metavar="ID", type=ANY, default="", help="Set the container's id; by default it is random.")
@option("-d", "--detach", is_flag=True, help="Print the id and leave the container running in the background.")
@option("-i", "--interactive", is_flag=True, help="Pass stdin to the command.")
@option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@option("-w", "--workdir", metavar="DIR", type=ANY, default="", help="Set the working directory.")
@option("--entrypoint", metavar="X", type=ANY, help="Replace the image's ENTRYPOINT and CMD; empty for none.")
@option("--read-only", is_flag=True, help="Make the root file system read-only.")
@option(
    "--hostname", metavar="NAME", type=ANY, default="", help="Set the host name; by default it is the container's id."
)
@option("-l", "--label", metavar="K[=V]", multiple=True, help="Add a label to those of the image.")
@option("--stop-signal", metavar="SIGNAL", type=ANY, default="", help="Replace the image's stop signal.")
@option("--timeout", metavar="S", type=SECONDS, help="Stop the container after this many seconds.")
@option("--runtime", "runtime_path", metavar="PATH", help="Use this OCI runtime; by default the first that works.")
@option("--keep", is_flag=True, help="Keep the container after the command has ended.")
@option("--rm", "remove", is_flag=True, help="Remove the container after the command has ended; this is the default.")
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
    detach: bool,
    keep: bool,
    remove: bool,
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

    _refuse_contradictions(detach, keep, remove, timeout, words)
    options = _options(args, words)
    with session.store(create=may_pull(image, words), makes=True) as store:
        found = found_or_pulled(session, store, image, words)
        with session.progress() as progress:
            trees = tuple(store.stack_records(found, progress))
        warn_of_config(session, store, found)
        runtime = working_runtime(session, store, runtime_path, cgroups=options.cgroups, timeout=timeout)
        request = containers.RunRequest(found, options, runtime, name, keep, timeout, trees=trees)
        if not detach:
            ended = containers.run(store, request)
            if ended.oom_killed:
                session.warn(out_of_memory(found.label, options.memory))
            return status_of(session, ended)
        container_id = containers.start(store, request)
    # The command was started: errors from here on have their own status, not that of a failed `run`.
    session.done = f"container {container_id} was started and is running"
    session.command = None
    if session.json:
        write_json({"container": container_id, "image": found.digest})
    else:
        write_line(container_id)
    return 0


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
    """Return the OCI runtime to use: *explicit*, or the configured one; *timeout* (seconds) limits the search.

    The graph is closed first, because the search forks. Raises RuntimeMissingError, UsageError, HostError.
    """
    from arstore.runtime.discovery import find_runtime

    store.close()
    with session.blaming("runtime", explicit):
        runtime = find_runtime(session.runtime(explicit), store.directories.runroot, cgroups=cgroups, timeout=timeout)
    if runtime.note:
        session.warn(runtime.note)
    return runtime


def _options(args: tuple[str, ...], words: _Words) -> RunOptions:
    from arstore.runtime.lifecycle.signals import parse_signal
    from arstore.runtime.spec.options import check_hostname

    if words["stop_signal"]:
        parse_signal(words["stop_signal"])
    entrypoint = words["entrypoint"]
    return run_options(words)._replace(
        args=args,
        entrypoint=None if entrypoint is None else parse_entrypoint(entrypoint),
        workdir=words["workdir"],
        read_only=words["read_only"],
        tty=words["tty"],
        interactive=words["interactive"],
        hostname=check_hostname(words["hostname"]) if words["hostname"] else "",
        labels=dict(_label(text) for text in words["label"]),
        stop_signal=words["stop_signal"],
    )


def parse_entrypoint(text: str) -> tuple[str, ...]:
    """Parse one word, or a JSON list of words; "" means without an entrypoint. Raises UsageError."""
    if not text.startswith("["):
        return (text,) if text else ()
    import json

    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        from arstore.oci.document import shown

        raise UsageError(shown(text), "is neither a word nor a JSON list of words")
    return tuple(words)


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(text, "a label needs a name")
    return name, value
