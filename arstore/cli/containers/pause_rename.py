"""`pause`, `unpause` and `rename`: change a container without ending it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.parameter import argument
from arstore.cli.terminal.output import write_json, write_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.api.methods.containers import Containers
    from arstore.api.values.containers import Container
    from arstore.cli.session import Session


@exit_statuses(errors.NotFoundError, errors.AmbiguousError, errors.InUseError, errors.RuntimeFailedError)
@command("pause")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
def pause(session: Session, ids: tuple[str, ...]) -> None:
    """Freeze the processes of running containers.

    They keep their memory and files, and get no processor time until `arstore unpause`. This needs the container's
    control groups, and is refused for one that was run with --cgroups=disabled.

    Prints the ids.

    Example:

    arstore pause web
    """
    _each(session, ids, lambda containers, one: containers.pause(one), "paused")


@exit_statuses(errors.NotFoundError, errors.AmbiguousError, errors.RuntimeFailedError)
@command("unpause")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
def unpause(session: Session, ids: tuple[str, ...]) -> None:
    """Let the processes of paused containers go on.

    Prints the ids.

    Example:

    arstore unpause web
    """
    _each(session, ids, lambda containers, one: containers.unpause(one), "unpaused")


def _each(session: Session, ids: tuple[str, ...], act: Callable[[Containers, Container], None], done: str) -> None:
    """Do *act* with each container, and print its id."""
    with session.library() as store:
        found = store.containers.find(*ids)
        for one in found:
            act(store.containers, one)
            session.done = f"container {one.id} is {done}"
            if not session.json:
                write_line(one.id)
    if session.json:
        write_json({done: [one.id for one in found]})


@exit_statuses(errors.NotFoundError, errors.AmbiguousError, errors.InvalidReferenceError, errors.ConflictError)
@command("rename")
@argument("container_id", metavar="ID")
@argument("name")
@json_option
def rename(session: Session, container_id: str, name: str) -> None:
    """Give a container another name.

    Its id stays, and the container can be running. The old name is free: a new container that gets it as its --name has
    a random id. Prints nothing.

    Example:

    arstore rename web web-old
    """
    with session.library() as store:
        container = store.containers.rename(container_id, name)
    session.done = f"container {container.id} is named {name}"
    if session.json:
        write_json({"id": container.id, "name": name})
