"""`container` and its commands `rm` and `prune`: remove containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option, needing
from arstore.cli.containers.options.shared import GRACE
from arstore.cli.group import CommandEntry, Group
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.cli.upkeep.plans import write_freed
from arstore.errors import UsageError

if TYPE_CHECKING:
    from arstore.cli.session import Session


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
@option("-f", "--force", is_flag=True, help="Stop and unmount the containers first; ignore missing ones.")
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
    with session.library() as store:
        removed = store.containers.remove(*ids, force=force, timeout=seconds)
    session.done = "the containers were removed"
    if session.json:
        write_json({"removed": removed})
        return
    for one in removed:
        write_line(one)


@exit_statuses(errors.InUseError)
@needing(Need.REMOVAL)
@command("prune")
@option("-n", "--dry-run", is_flag=True, help="Only print what would be removed.")
@option("-f", "--force", is_flag=True, help="No effect: nothing is asked. For scripts made for podman.")
@json_option
def container_prune(session: Session, dry_run: bool, force: bool) -> None:
    """Remove all containers that are not running.

    These are the containers that `arstore ps --all` lists as created, exited, failed or dead, with everything that they
    wrote. Containers made by `arstore mount --rw` are left alone, and so are containers whose root is mounted.

    Prints their ids, and the disk space that was freed.

    Example:

    arstore container prune --dry-run
    """
    del force
    with session.library() as store:
        done = store.containers.prune(dry_run=dry_run)
    session.done = "the containers were removed"
    if session.json:
        write_json({"dry_run": dry_run, "removed": done.removed, "freed": done.freed})
        return
    for container_id in done.removed:
        write_line(container_id)
    write_freed(done.freed, dry_run)
