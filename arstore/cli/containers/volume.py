"""`volume create|ls|inspect|rm|prune`: named volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option, needing
from arstore.cli.containers.volume_filters import FILTERS, matching
from arstore.cli.group import CommandEntry, Group
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.listing import Item, Table, listing_options, require_valid, write_listing
from arstore.cli.terminal.output import utc_time, write_json, write_line
from arstore.cli.terminal.spans import rfc_time
from arstore.errors import UsageError

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.api.values.containers import NamedVolume, RemovedVolumes
    from arstore.cli.session import Session
    from arstore.cli.terminal.listing import ListingWords

SORTS = ("created", "name")
HEADINGS = {"Name": "VOLUME NAME", "CreatedAt": "CREATED AT", "NeedsCopyUp": "NEEDS COPY UP"}
_HEAD = ("NAME", "CREATED", "CONTAINERS")
_MODULE = "containers.volume"


@json_option
def _volume(_: Session) -> None:
    """Manage named volumes.

    Example:

    arstore volume ls
    """


volume = Group(
    "volume",
    _volume,
    {
        "Commands": {
            "create": CommandEntry(_MODULE, "create", "Create a volume."),
            "ls": CommandEntry(_MODULE, "ls", "List the volumes."),
            "inspect": CommandEntry(_MODULE, "inspect", "Show the details of volumes, as JSON."),
            "rm": CommandEntry(_MODULE, "rm", "Remove volumes, with everything in them."),
            "prune": CommandEntry(_MODULE, "prune", "Remove the volumes that no container uses."),
        }
    },
)


@exit_statuses(errors.InvalidReferenceError, errors.ConflictError)
@command("create")
@argument("name", metavar="[NAME]", default="")
@option("-l", "--label", metavar="K[=V]", multiple=True, help="Add a label.")
@option("--ignore", is_flag=True, help="Do not fail if the volume exists.")
@option("-d", "--driver", metavar="DRIVER", default="local", help="local is the only driver.")
@json_option
def create(session: Session, name: str, label: tuple[str, ...], ignore: bool, driver: str) -> None:
    """Create a volume.

    Without NAME, the name is random. `run -v NAME:/path` creates a missing volume too. An empty volume is filled with
    what the image has at its place when a container first uses it.

    Prints the name.

    Example:

    arstore volume create --label app=shop data
    """
    if driver != "local":
        raise UsageError(driver, "no such driver of volumes", "local is the only one")
    labels = dict(_label(text) for text in label)
    with session.library(create=True) as store:
        made = store.volumes.create(name, labels=labels, exist_ok=ignore)
    session.done = f"volume {made.name} was created"
    if session.json:
        write_json(_about(made))
    else:
        write_line(made.name)


@exit_statuses()
@command("ls")
@listing_options(SORTS, FILTERS)
@json_option
def ls(session: Session, **words: Unpack[ListingWords]) -> None:
    """List the volumes.

    Filters are name=TEXT (a part of the name), label=K[=V], label!=K[=V], dangling=true|false (whether no container
    uses it), until=TIME and since=TIME (created before or after; a time such as 2026-01-31, or how long ago, such as
    24h). In Go templates, the fields have podman's names.

    Examples:

    arstore volume ls --filter dangling=true

    arstore volume ls --format '{{.Name}} {{.Mountpoint}}'
    """
    require_valid(session, "volume ls", words, SORTS)
    with session.library() as store:
        items = list(map(_item, matching(store.volumes.list(), words["filters"])))
    write_listing(session, words, items, Table(_HEAD, HEADINGS))


def _item(one: NamedVolume) -> Item:
    fields = _about(one)
    cells = (one.name, utc_time(one.created), ", ".join(one.containers) or "-")
    keys = {"name": one.name, "created": one.created}
    return Item(one.name, cells, fields, {**fields, "CreatedAt": rfc_time(one.created)}, keys)


@exit_statuses(errors.NotFoundError)
@command("inspect")
@argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def inspect(session: Session, names: tuple[str, ...]) -> None:
    """Show the details of volumes, as JSON.

    Example:

    arstore volume inspect data
    """
    with session.library() as store:
        found = [_about(store.volumes.get(name)) for name in names]
    if session.json:
        write_json(found)
        return
    import json

    for line in json.dumps(found, indent=2, ensure_ascii=True).split("\n"):
        write_line(line)


@exit_statuses(errors.NotFoundError, errors.InUseError, errors.MountError, errors.MountForbiddenError)
@needing(Need.REMOVAL)
@command("rm")
@argument("names", metavar="[NAME]...", nargs=-1)
@option("-a", "--all", "every", is_flag=True, help="Remove all volumes that no container uses.")
@option("-f", "--force", is_flag=True, help="First remove the containers that use the volumes; ignore missing volumes.")
@option("--dry-run", is_flag=True, help="Only print what would be removed.")
@json_option
def rm(session: Session, names: tuple[str, ...], every: bool, force: bool, dry_run: bool) -> None:
    """Remove volumes, with everything in them.

    Volumes that a container uses are removed only with --force, and the containers with them. Either all of the
    volumes are removed, or the command fails before it removes any. Prints the names.

    Example:

    arstore volume rm data
    """
    if every == bool(names):
        raise UsageError("volume rm", "give names, or --all")
    with session.library() as store:
        if every:
            names = tuple(one.name for one in store.volumes.list() if force or not one.containers)
        done = store.volumes.remove(*names, force=force, dry_run=dry_run)
    _write(session, done, dry_run)


@exit_statuses(errors.InUseError)
@needing(Need.REMOVAL)
@command("prune")
@option("-f", "--force", is_flag=True, help="Remove the volumes; without --force, only the plan is printed.")
@option("--filter", "filters", metavar="KEY=V", multiple=True, help="Remove only some volumes, as in `volume ls`.")
@json_option
def prune(session: Session, force: bool, filters: tuple[str, ...]) -> None:
    """Remove the volumes that no container uses.

    Without --force, only the plan is printed: the names of the volumes. `gc` never removes a volume.

    Example:

    arstore volume prune --force
    """
    with session.library() as store:
        found = matching(store.volumes.list(), filters)
        doomed = [one.name for one in found if not one.containers]
        done = store.volumes.remove(*doomed, dry_run=not force)
    _write(session, done, not force)
    if not force and doomed:
        session.warn("nothing was removed; add --force to remove these volumes")


def _write(session: Session, done: RemovedVolumes, dry_run: bool) -> None:
    """Print what was removed or, with *dry_run*, would be."""
    if not dry_run:
        session.done = "the volumes were removed"
    if session.json:
        kind = "planned" if dry_run else "removed"
        write_json({kind: done.names, "containers": done.containers, "bytes": done.freed})
        return
    for name in done.names:
        write_line(name)
    if dry_run and done.containers:
        session.warn(f"containers would be removed too: {', '.join(done.containers)}")


def _about(one: NamedVolume) -> dict[str, Any]:
    return {
        "Name": one.name,
        "Driver": "local",
        "Mountpoint": one.path,
        "CreatedAt": utc_time(one.created),
        "Labels": dict(one.labels),
        "Scope": "local",
        "Options": {},
        "Containers": list(one.containers),
        "NeedsCopyUp": one.is_new,
    }


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(text, "a label needs a name")
    return name, value
