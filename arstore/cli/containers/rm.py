"""`container` and its commands `rm` and `prune`: remove containers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option, needing
from arstore.cli.containers.options.shared import GRACE
from arstore.cli.group import CommandEntry, Group
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.cli.upkeep.plans import write_freed
from arstore.errors import InUseError, NotFoundError, UsageError

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.store.containers import Container
    from arstore.store.store import Store


@json_option
def _container(_: Session) -> None:
    """Manage containers.

    Example:

    arstore container rm --force web
    """


container = Group(
    "container",
    _container,
    {
        "Commands": {
            "rm": CommandEntry("containers.rm", "container_rm", "Remove containers, with everything that they wrote."),
            "prune": CommandEntry("containers.rm", "container_prune", "Remove all containers that are not running."),
            "inspect": CommandEntry(
                "containers.inspection.inspect", "container_inspect", "Show the details of containers."
            ),
        }
    },
)


@exit_statuses(
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InUseError,
    errors.MountError,
    errors.MountForbiddenError,
)
@needing(Need.REMOVAL)
@command("rm")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-f", "--force", is_flag=True, help="Stop it and unmount its root first, and ignore a missing one.")
@option(
    "-t", "--time", "seconds", metavar="S", type=GRACE, help="With --force: seconds between stop signal and SIGKILL."
)
@json_option
def container_rm(session: Session, ids: tuple[str, ...], force: bool, seconds: float | None) -> None:
    """Remove containers, with everything that they wrote.

    ID is a container's name or id, or a unique prefix of its id. A container that is running or paused, or whose root
    is mounted, is removed only with --force. It is then stopped as by `arstore stop`, and S is as there.

    Prints the ids.

    Examples:

    arstore container rm web

    arstore container rm --force -t 0 web
    """
    if seconds is not None and not force:
        raise UsageError("container rm", "--time needs --force")
    from arstore.runtime.lifecycle.containers import remove
    from arstore.runtime.lifecycle.removal import remove_by_force

    removed = []
    with session.store() as store:
        for found in _meant(store, ids, force):
            if force:
                remove_by_force(store, found, seconds)
            else:
                remove(store, found.id)
            removed.append(found.id)
            if not session.json:
                write_line(found.id)
    session.done = "the containers were removed"
    if session.json:
        write_json({"removed": removed})


def _meant(store: Store, ids: tuple[str, ...], force: bool) -> list[Container]:
    """Return the containers, each once. Raises NotFoundError unless *force*, AmbiguousError."""
    found = {}
    for text in ids:
        with suppress(*([NotFoundError] if force else [])):
            one = store.containers.find(text)
            found[one.id] = one
    return list(found.values())


@exit_statuses(errors.InUseError)
@needing(Need.REMOVAL)
@command("prune")
@option("-n", "--dry-run", is_flag=True, help="Only print what would be removed.")
@option("-f", "--force", is_flag=True, help="Accepted for scripts made for podman, which asks without it.")
@json_option
def container_prune(session: Session, dry_run: bool, force: bool) -> None:
    """Remove all containers that are not running.

    These are the containers that `arstore ps --all` lists as created, exited, failed or dead, with everything that they
    wrote. Containers made by `arstore mount --rw` are left alone, and so are containers whose root is mounted.

    Prints their ids, and the disk space that was freed.

    Example:

    arstore container prune --dry-run
    """
    from arstore.runtime.lifecycle.containers import remove

    del force
    removed, freed = [], 0
    with session.store() as store:
        for found, size in _idle(store):
            if not dry_run:
                # Another process may have started, mounted or removed it since.
                with suppress(InUseError, NotFoundError):
                    remove(store, found.id)
                    removed.append(found.id)
                    freed += size
                continue
            removed.append(found.id)
            freed += size
    session.done = "the containers were removed"
    if session.json:
        write_json({"dry_run": dry_run, "removed": removed, "freed": freed})
        return
    for container_id in removed:
        write_line(container_id)
    write_freed(freed, dry_run)


def _idle(store: Store) -> list[tuple[Container, int]]:
    """Return the containers that are to be pruned, with the bytes that each has on disk."""
    from arstore.maintenance.scan.walk import weigh
    from arstore.runtime.lifecycle.containers import require_idle
    from arstore.store.container_document import is_startable

    found = []
    for one in store.containers.list():
        with suppress(InUseError):
            require_idle(store, one)
            if is_startable(one.path):
                found.append((one, weigh(store.directories, [f"containers/{one.id}"])))
    return found
