"""`volume create|ls|inspect|rm|prune`: named volumes."""

from __future__ import annotations

from contextlib import suppress
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
from arstore.errors import ArstoreError, ConflictError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.cli.terminal.listing import ListingWords
    from arstore.store.store import Store
    from arstore.store.volumes import StoredVolume

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
    with session.store(create=True) as store:
        try:
            made = store.volumes.create(name, labels)
        except ConflictError:
            if not ignore:
                raise
            made = store.volumes.get(name)
    session.done = f"volume {made.name} was created"
    if session.json:
        write_json(_about(made, ()))
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
    with session.store() as store:
        users = store.volumes.users()
        found = matching(_all(session, store), users, words["filters"])
        items = [_item(one, users.get(one.name, ())) for one in found]
    write_listing(session, words, items, Table(_HEAD, HEADINGS))


def _item(one: StoredVolume, users: Sequence[str]) -> Item:
    fields = _about(one, users)
    cells = (one.name, utc_time(one.created), ", ".join(users) or "-")
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
    with session.store() as store:
        users = store.volumes.users()
        found = [_about(store.volumes.get(name), users.get(name, ())) for name in names]
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
@option("-f", "--force", is_flag=True, help="First end and remove the containers that use them; ignore missing ones.")
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
    with session.store() as store:
        users = store.volumes.users()
        wanted = store.volumes.names() if every else list(dict.fromkeys(names))
        if every and not force:
            wanted = [name for name in wanted if name not in users]
        existing = store.volumes.names()
        for name in wanted:
            if name not in existing and not force:
                store.volumes.get(name)
            if name in users and not force:
                _refuse(name, users[name])
        wanted = [name for name in wanted if name in existing]
        _apply(session, store, wanted, {one for name in wanted for one in users.get(name, ())}, dry_run)


@exit_statuses(errors.InUseError)
@needing(Need.REMOVAL)
@command("prune")
@option("-f", "--force", is_flag=True, help="Remove them; without it, only the plan is printed.")
@option("--filter", "filters", metavar="KEY=V", multiple=True, help="Remove only some volumes, as in `volume ls`.")
@json_option
def prune(session: Session, force: bool, filters: tuple[str, ...]) -> None:
    """Remove the volumes that no container uses.

    Without --force, only the plan is printed: the names of the volumes. `gc` never removes a volume.

    Example:

    arstore volume prune --force
    """
    with session.store() as store:
        users = store.volumes.users()
        found = matching(_all(session, store), users, filters)
        doomed = [one.name for one in found if one.name not in users]
        _apply(session, store, doomed, set(), not force)
    if not force and doomed:
        session.warn("nothing was removed; add --force to remove these volumes")


def _apply(session: Session, store: Store, names: list[str], containers: set[str], dry_run: bool) -> None:
    """Remove the volumes *names*, after the *containers* that use them; print what was removed, or would be."""
    freed = 0
    if not dry_run:
        from arstore.runtime.lifecycle.removal import remove_by_force

        for container_id in sorted(containers):
            # It may have ended and been removed by itself.
            with suppress(errors.NotFoundError):
                remove_by_force(store, store.containers.get(container_id), 0.0)
        for name in names:
            freed += store.volumes.remove(name)
        session.done = "the volumes were removed"
    if session.json:
        kind = "planned" if dry_run else "removed"
        write_json({kind: names, "containers": sorted(containers), "bytes": freed})
        return
    for name in names:
        write_line(name)
    if dry_run and containers:
        session.warn(f"containers would be removed too: {', '.join(sorted(containers))}")


def _refuse(name: str, users: Sequence[str]) -> None:
    from arstore.errors import InUseError

    why = f"is used by container {', '.join(users)}"
    raise InUseError(f"volume {name}", why, f"run `arstore container rm {users[0]}` first, or use --force")


def _all(session: Session, store: Store) -> list[StoredVolume]:
    """Return all volumes; one whose record is damaged is reported as a warning."""
    found = []
    for name in store.volumes.names():
        try:
            found.append(store.volumes.get(name))
        except ArstoreError as error:
            session.warn(str(error))
    return found


def _about(one: StoredVolume, users: Sequence[str]) -> dict[str, Any]:
    return {
        "Name": one.name,
        "Driver": "local",
        "Mountpoint": one.mountpoint,
        "CreatedAt": utc_time(one.created),
        "Labels": dict(one.labels),
        "Scope": "local",
        "Options": {},
        "Containers": list(users),
        "NeedsCopyUp": one.is_new,
    }


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(text, "a label needs a name")
    return name, value
