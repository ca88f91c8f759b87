"""`run`: a command in a new container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, TypedDict

import click

from arstore.cli.command import ContainerCommand, json_option, pass_session, progress_option
from arstore.cli.option import option
from arstore.cli.output import write_json, write_line
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.runtime.driver import Runtime
    from arstore.runtime.options import RunOptions
    from arstore.store.store import Store, StoredImage

NETWORKS = ("none", "host")
SECONDS = click.FloatRange(min=0, min_open=True)


class _Asked(TypedDict):
    """The options that say how the container is to be, as they were typed."""

    interactive: bool
    tty: bool
    env: tuple[str, ...]
    volume: tuple[str, ...]
    workdir: str
    user: str | None
    entrypoint: str | None
    memory: str | None
    cpus: str | None
    pids_limit: int | None
    network: Literal["none", "host"]
    read_only: bool
    hostname: str
    label: tuple[str, ...]
    stop_signal: str


@click.command("run", cls=ContainerCommand, context_settings={"allow_interspersed_args": False})
@click.argument("image")
@click.argument("args", metavar="[ARG]...", nargs=-1, type=click.UNPROCESSED)
@option("--name", metavar="ID", default="", help="The container's id; made up by default.")
@option("-d", "--detach", is_flag=True, help="Print the id and leave the container running.")
@option("-i", "--interactive", is_flag=True, help="Pass stdin to the command.")
@option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@option("-e", "--env", metavar="K[=V]", multiple=True, help="A variable; K alone takes this environment's value.")
@option("-v", "--volume", metavar="SRC:DST[:ro]", multiple=True, help="A host file or directory, seen at DST.")
@option("-w", "--workdir", metavar="DIR", default="", help="The working directory.")
@option("-u", "--user", metavar="USER[:GROUP]", help="Who the command runs as.")
@option("--entrypoint", metavar="X", help="In place of the image's ENTRYPOINT and CMD; empty for neither.")
@option("-m", "--memory", metavar="N", help="The most memory, such as 512m or 2g.")
@option("--cpus", metavar="N", help="The most processors, such as 1.5.")
@option("--pids-limit", metavar="N", type=click.IntRange(min=1), help="The most processes and threads.")
@option("--network", type=click.Choice(NETWORKS), default="none", show_default=True, help="The network.")
@option("--read-only", is_flag=True, help="Let the root file system not be written to.")
@option("--hostname", metavar="NAME", default="", help="The host name; by default the container's id.")
@option("-l", "--label", metavar="K[=V]", multiple=True, help="A label, besides the image's.")
@option("--stop-signal", metavar="SIGNAL", default="", help="In place of the image's.")
@option("--timeout", metavar="S", type=SECONDS, help="The most seconds, then it is stopped.")
@option("--runtime", "runtime_path", metavar="PATH", help="The OCI runtime; by default the first that works.")
@option("--keep", is_flag=True, help="Keep the container when the command has ended.")
@option("--rm", "remove", is_flag=True, help="Remove it then, which is the default.")
@progress_option
@json_option
@pass_session
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
    **asked: Unpack[_Asked],
) -> int:
    """Run a command in a new container.

    ARG... replaces the image's CMD. Everything from the first ARG on is the command's own. The container has the
    image's root file system, which it may write to without changing the image, and what it wrote goes with it unless
    --keep says otherwise.
    """
    from arstore.runtime import containers

    _refuse_contradictions(detach, keep, remove, timeout, asked)
    options = _options(args, asked)
    with session.store() as store:
        found = store.find_image(image)
        with session.progress() as progress:
            store.stack(found, progress)
        warn_of_config(session, store, found)
        runtime = working_runtime(session, store, runtime_path)
        request = containers.RunRequest(found, options, runtime, name, keep, timeout)
        if not detach:
            return containers.run(store, request)
        container_id = containers.start(store, request)
    if session.json:
        write_json({"container": container_id, "image": found.digest})
    else:
        write_line(container_id)
    return 0


def _refuse_contradictions(detach: bool, keep: bool, remove: bool, timeout: float | None, asked: _Asked) -> None:
    if keep and remove:
        raise UsageError("run", "--keep and --rm exclude each other")
    if detach and remove:
        raise UsageError("run", "--detach and --rm exclude each other", "`arstore container rm` removes it later")
    if detach and asked["interactive"]:
        raise UsageError("run", "--detach and --interactive exclude each other: nobody would be there to type")
    if detach and timeout is not None:
        raise UsageError("run", "--detach and --timeout exclude each other")


def warn_of_config(session: Session, store: Store, image: StoredImage) -> None:
    """Warn of what the image's config says and no process can be given. Raises MissingBlobError, ManifestError."""
    left = [one for one in store.config(image).left_out if one.startswith(("config.", "config "))]
    if left:
        session.warn(f"{image.label}: parts of its config are ignored: {', '.join(left)}")


def working_runtime(session: Session, store: Store, explicit: str | None) -> Runtime:
    """The OCI runtime to use; the graph is closed meanwhile, because trying one forks. Raises RuntimeMissingError."""
    from arstore.runtime.discovery import find_runtime

    store.close()
    runtime = find_runtime(explicit, store.directories.runroot)
    if runtime.note:
        session.warn(runtime.note)
    return runtime


def _options(args: tuple[str, ...], asked: _Asked) -> RunOptions:
    from arstore.runtime.options import RunOptions, check_hostname, parse_cpus, parse_memory, parse_volume
    from arstore.runtime.signals import parse_signal

    memory, cpus, entrypoint = asked["memory"], asked["cpus"], asked["entrypoint"]
    if asked["stop_signal"]:
        parse_signal(asked["stop_signal"])
    return RunOptions(
        args=args,
        entrypoint=None if entrypoint is None else parse_entrypoint(entrypoint),
        env=environment(asked["env"]),
        workdir=asked["workdir"],
        user=asked["user"],
        volumes=tuple(parse_volume(text) for text in asked["volume"]),
        memory=None if memory is None else parse_memory(memory),
        cpus=None if cpus is None else parse_cpus(cpus),
        pids_limit=asked["pids_limit"],
        network=asked["network"],
        read_only=asked["read_only"],
        tty=asked["tty"],
        interactive=asked["interactive"],
        hostname=check_hostname(asked["hostname"]) if asked["hostname"] else "",
        labels=dict(_label(text) for text in asked["label"]),
        stop_signal=asked["stop_signal"],
    )


def environment(texts: Sequence[str]) -> tuple[str, ...]:
    """What `--env` gives: `K=V`, and for `K` alone the value that this process has, if any. Raises UsageError."""
    from arstore.runtime.options import parse_env

    found = (parse_env(text, os.environ) for text in texts)
    return tuple(text for text in found if text is not None)


def parse_entrypoint(text: str) -> tuple[str, ...]:
    """One word, or a JSON list of words; "" stands for no entrypoint. Raises UsageError."""
    if not text.startswith("["):
        return (text,) if text else ()
    import json

    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        from arstore.oci.document import shown

        raise UsageError(shown(text), "neither a word nor a JSON list of words")
    return tuple(words)


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(text, "a label needs a name")
    return name, value
