"""`run` and `create`: a new container, with a command that runs at once or is started later."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.cli.command import ContainerCommand, command, json_option, needing, progress_option
from arstore.cli.containers.ended import attached_status_of
from arstore.cli.containers.options.new_container import (
    creates_store,
    new_container_options,
    out_of_memory,
    refuse_contradictions,
    requested,
)
from arstore.cli.containers.options.stream import attach_of, attach_option, detach_keys_option, sig_proxy_option
from arstore.cli.namespace import Need
from arstore.cli.parameter import RAW, argument, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.errors import RUN_TIMED_OUT, ArstoreError, PipelineTimeoutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Unpack

    from arstore.cli.containers.options.new_container import NewContainerWords
    from arstore.cli.session import Session
    from arstore.runtime.lifecycle.containers import RunRequest
    from arstore.store.store import Store


@needing(Need.CONTAINERS)
@command("run", cls=ContainerCommand, interspersed=False)
@argument("image")
@argument("args", metavar="[ARG]...", nargs=-1, type=RAW)
@option("-d", "--detach", is_flag=True, help="Print the id and leave the container running in the background.")
@option("--keep", is_flag=True, help="Keep the container after the command has ended.")
@option(
    "--rm", "remove", is_flag=True, help="Remove the container after the command has ended; without -d, the default."
)
@option("--rmi", is_flag=True, help="After the command, remove the image too, unless something else uses it.")
@attach_option
@sig_proxy_option
@detach_keys_option
@new_container_options
@progress_option
@json_option
def run(
    session: Session,
    /,
    image: str,
    args: tuple[str, ...],
    detach: bool,
    keep: bool,
    rmi: bool,
    attach: tuple[str, ...],
    sig_proxy: bool,
    detach_keys: str,
    **words: Unpack[NewContainerWords],
) -> int:
    """Run a command in a new container.

    ARG... replaces the image's CMD; everything from the first ARG on belongs to the command. The container can write to
    its root file system without changing the image. The container is removed when the command ends, unless --keep,
    --detach or --restart is given.

    Prints what the command prints; with --detach, the container's id. The exit status is that of the command. With
    --restart and without --detach, that is the end of its first run; the next ones are in the background.

    With -it on a terminal, the keys ctrl-p ctrl-q leave the container running; the exit status is then 0, and `arstore
    attach` returns to it. With -d and -i, the command's stdin stays open for `arstore attach`.

    Examples:

    arstore run base:1 echo hello

    arstore run -it -v /srv/data:/data:ro base:1 sh

    arstore run -d --restart on-failure:5 --name web base:1 httpd
    """
    from arstore.runtime.lifecycle import containers

    _refuse_contradictions(detach, keep, rmi, words)
    how = attach_of(attach, detach_keys, sig_proxy)
    with session.store(create=creates_store(image, words), makes=True) as store:
        request = requested(session, store, image, args, words)
        if words["tty"] and words["interactive"] and not os.isatty(0):
            session.warn("--tty: standard input is not a terminal; --interactive alone passes it on")
        if request.options.requires:
            from arstore.cli.containers.start import finder
            from arstore.runtime.lifecycle.starting import start_required

            start_required(store, request.options.requires, finder(session, store))
        if not detach:
            keep = keep or (request.options.restarts and not words["remove"])
            request = request._replace(keep=keep, remove=not keep, attach=how)
            return _in_foreground(session, store, request, words["cidfile"], rmi)
        container_id = containers.start(store, request)
    # The command was started: errors from here on have their own status, not that of a failed `run`.
    session.done = f"container {container_id} was started and is running"
    session.command = None
    _write_id(session, container_id, request, words["cidfile"])
    return 0


def _in_foreground(session: Session, store: Store, request: RunRequest, cidfile: str, rmi: bool) -> int:
    """Run the container, and return the exit status of its command; with *rmi*, remove its image afterwards."""
    from arstore.runtime.lifecycle import containers

    made: list[str] = []
    with _cidfile(cidfile, request.keep) as write_id:

        def created(container_id: str) -> None:
            made.append(container_id)
            write_id(container_id)
            if request.attach is not None and request.attach.streams == ("stdin",):
                write_line(container_id)

        try:
            ended = containers.run(store, request, created)
        except PipelineTimeoutError as error:
            if session.json:
                raise
            session.debug(str(error))
            return RUN_TIMED_OUT
    if ended.oom_killed:
        session.warn(out_of_memory(request.image.label, request.options.memory))
    if rmi:
        _remove_image(session, store, request.image.label)
    return attached_status_of(session, made[0], ended)


def _write_id(session: Session, container_id: str, request: RunRequest, cidfile: str) -> None:
    """Print the id of a container that goes on without this command, and write it to the file of `--cidfile`."""
    if cidfile:
        from arstore.runtime.lifecycle.id_files import write_id_file

        write_id_file(cidfile, container_id)
    if session.json:
        write_json({"container": container_id, "image": request.image.digest})
    else:
        write_line(container_id)


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


def _refuse_contradictions(detach: bool, keep: bool, rmi: bool, words: NewContainerWords) -> None:
    refuse_contradictions("run", words)
    if rmi and detach:
        raise UsageError("run", "--rmi and --detach exclude each other", "use `arstore rm` later")
    if keep and (words["remove"] or rmi):
        raise UsageError("run", "--keep and --rm exclude each other")


@needing(Need.CONTAINERS)
@command("create", cls=ContainerCommand, interspersed=False)
@argument("image")
@argument("args", metavar="[ARG]...", nargs=-1, type=RAW)
@option("--rm", "remove", is_flag=True, help="Remove the container after the command has ended.")
@new_container_options
@progress_option
@json_option
def create(session: Session, /, image: str, args: tuple[str, ...], **words: Unpack[NewContainerWords]) -> int:
    """Create a container without starting its command.

    Takes the options of `run`, and records them with the container; `arstore start` starts the command. Prints the
    container's id.

    Example:

    arstore create --name web -v /srv/data:/data:ro base:1 httpd
    """
    from arstore.runtime.lifecycle import containers

    refuse_contradictions("create", words)
    if words["preserve_fds"] or words["preserve_fd"]:
        raise UsageError("create", "a container that starts later gets no open files", "use run")
    with session.store(create=creates_store(image, words), makes=True) as store:
        request = requested(session, store, image, args, words)
        container_id = containers.create(store, request)
    session.done = f"container {container_id} is created"
    session.command = None
    _write_id(session, container_id, request, words["cidfile"])
    return 0
