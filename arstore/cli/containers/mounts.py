"""`mount`, `umount` and `mounts`: mount root file systems."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from arstore import errors
from arstore.api.meaning import container_meant, image_meant
from arstore.cli.command import (
    IMAGE_ERRORS,
    MOUNT_ERRORS,
    command,
    exit_statuses,
    json_option,
    needing,
    progress_option,
)
from arstore.cli.namespace import Need
from arstore.cli.parameter import FilePath, argument, option
from arstore.cli.terminal.output import short_digest, utc_time, write_json, write_path, write_table
from arstore.cli.trust.rules import POLICY_ERRORS, policy_options, require_admitted
from arstore.errors import InUseError, NotFoundError, UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypedDict, Unpack

    from arstore.cli.session import Session
    from arstore.cli.trust.rules import PolicyWords
    from arstore.disk.paths import Directories
    from arstore.mounts.record import MountRecord
    from arstore.mounts.table import MountEntry, MountTable
    from arstore.store.containers import Container
    from arstore.store.store import Store

    class _Allowed(TypedDict):
        """Privileges that a mount has only if they are given explicitly."""

        suid: bool
        dev: bool

    class _Words(_Allowed, PolicyWords):
        """The same, and the options of policies."""


_ORPHANED = "orphaned"
"""State of a mount whose store is gone."""


@exit_statuses(
    *IMAGE_ERRORS,
    *MOUNT_ERRORS,
    errors.ConflictError,
    errors.InUseError,
    errors.PlatformError,
    errors.MissingBlobError,
    errors.DigestMismatchError,
    *POLICY_ERRORS,
)
@needing(Need.MOUNTS)
@command("mount")
@argument("what", metavar="IMAGE|CONTAINER")
@argument("target", required=False, type=FilePath())
@option("--rw", "writable", is_flag=True, help="Create a container from the image and mount its writable root.")
@option("--name", "container_id", metavar="ID", help="With --rw: the id of the new container.")
@option("--suid", is_flag=True, help="Enable set-user-ID programs and file capabilities in the image.")
@option("--dev", is_flag=True, help="Enable device nodes in the image.")
@policy_options
@progress_option
@json_option
def mount(
    session: Session,
    what: str,
    target: str | None,
    writable: bool,
    container_id: str | None,
    **words: Unpack[_Words],
) -> None:
    """Mount an image read-only, or a container's writable root.

    TARGET is an existing directory; by default a directory is created below the runroot. If a word is both a
    container's id and an image's name, it means the container, unless --rw asks for a new one. NAME:TAG always means
    the image.

    An ordinary user mounts in `arstore unshare`, which holds the mounts until it ends.

    Images are untrusted: set-user-ID programs and device nodes are disabled unless --suid or --dev is given. If other
    users can reach TARGET, they can read what the modes in the image allow.

    Prints the path, and nothing else.

    Examples:

    arstore mount app:1

    arstore mount --rw --name box app:1 /mnt
    """
    if container_id is not None and not writable:
        raise UsageError("mount", "--name needs --rw")
    with session.store(makes=True) as store:
        container = None if writable else container_meant(store, what)
        record = _mount(session, store, what, target, container, writable, container_id or "", words)
        try:
            if session.json:
                write_json(_record_json(record))
            else:
                write_path(record.target)
        except BaseException:
            # The caller does not know the path, so it would never unmount it.
            _undo(store, record, writable)
            session.done = "the mount was undone"
            raise


def _undo(store: Store, record: MountRecord, writable: bool) -> None:
    """Unmount, and if *writable*, remove the container that was created for the mount."""
    from arstore.mounts.table import MountTable

    MountTable(store.directories).umount(record.id, lazy=True)
    if writable:
        store.containers.remove(record.container)


def _mount(
    session: Session,
    store: Store,
    what: str,
    target: str | None,
    container: Container | None,
    writable: bool,
    container_id: str,
    words: _Words,
) -> MountRecord:
    from arstore.rootfs.mount import create_container, mount_container, mount_image

    allowed: _Allowed = {"suid": words["suid"], "dev": words["dev"]}
    if container is not None:
        return mount_container(store, container, target, **allowed)
    image = store.find_image(what) if writable else image_meant(store, what)
    require_admitted(session, store, image, words)
    with session.progress() as progress:
        trees = store.stack_records(image, progress)
    if not writable:
        return mount_image(store, image, target, trees=trees, **allowed)
    # Until it is mounted, the container is ephemeral: it is removed if this process dies.
    container = create_container(store, image, container_id, ephemeral=True, trees=trees)
    try:
        return mount_container(store, container, target, trees=trees, **allowed)
    except BaseException:
        store.containers.remove(container.id)
        raise


@exit_statuses(errors.NotFoundError, errors.AmbiguousError, errors.InUseError, *MOUNT_ERRORS)
@command("umount")
@argument("which", metavar="[PATH|ID]...", nargs=-1)
@option("-a", "--all", "every", is_flag=True, help="Unmount all mounts of this store.")
@option("-f", "--force", is_flag=True, help="Detach mounts that are in use: they end when their last user does.")
@json_option
def umount(session: Session, which: tuple[str, ...], every: bool, force: bool) -> None:
    """Unmount images and containers.

    Give a mount by its path, its id, or its container's id or name; a unique prefix of an id is enough. Unmounting the
    root of a container keeps the container; `arstore container rm` removes it. Mounts can be unmounted even if the disk
    of the store is gone.

    Prints nothing.

    Example:

    arstore umount --all
    """
    if every == bool(which):
        raise UsageError("umount", "give either paths or ids, or --all")
    with _table(session) as (table, directories, store):
        which = which if store is None else tuple(_mount_meant(table, store, text) for text in which)
        done = list(_umount_each(session, _chosen(table, directories, which), force))
    session.done = "the mounts were unmounted"
    if session.json:
        write_json({"unmounted": done})


def _mount_meant(table: MountTable, store: Store, text: str) -> str:
    """Return *text*, or if no mount is called that, the id of the container that was renamed to it."""
    try:
        table.find(text)
    except errors.NotFoundError:
        # Only now: mounts can be unmounted even if the graph cannot be read.
        with suppress(errors.NotFoundError):
            return store.containers.find_exactly(text).id
    except errors.AmbiguousError:
        pass
    return text


@contextmanager
def _table(session: Session) -> Iterator[tuple[MountTable, Directories, Store | None]]:
    """Yield the mount table and the store; if the store is gone but its mounts are not, a table without records."""
    from arstore.disk.paths import Directories
    from arstore.mounts.source import orphaned_mounts
    from arstore.mounts.table import MountTable

    directories = Directories(*map(os.path.abspath, session.directories()))
    if orphaned_mounts(directories):
        yield MountTable(directories), directories, None
        return
    with ExitStack() as stack:
        store = None
        try:
            store = stack.enter_context(session.store())
            directories = store.directories
            table = MountTable(directories)
        except errors.NoStoreError:
            # The root is gone, but its mounts may still exist and can be unmounted.
            table = MountTable(directories)
            if not table.list():
                raise
        yield table, directories, store


class _Chosen(NamedTuple):
    """A mount to unmount. `end` takes whether to detach it, and returns whether it is no longer in use."""

    name: str
    end: Callable[[bool], bool]


def _chosen(table: MountTable, directories: Directories, which: tuple[str, ...]) -> list[_Chosen]:
    """Return the mounts that *which* names, each once; all mounts if it is empty."""
    from arstore.mounts.source import orphaned_mounts, unrecorded_at
    from arstore.mounts.table import MountState

    ids: list[str] = []
    places: list[str] = []
    if not which:
        from arstore.mounts.unrecorded import stray_mounts

        ids = [entry.record.id for entry in table.list() if entry.state is not MountState.DETACHED]
        places = [*orphaned_mounts(directories), *stray_mounts(directories)]
    for text in which:
        try:
            ids.append(table.find(text).id)
        except NotFoundError:
            place = unrecorded_at(text, directories)
            if place is None:
                raise
            places.append(place)
    recorded = [_Chosen(one, partial(_end_recorded, table, one)) for one in dict.fromkeys(ids)]
    return [*recorded, *(_Chosen(place, partial(_end_unrecorded, place)) for place in dict.fromkeys(places))]


def _end_recorded(table: MountTable, mount_id: str, lazy: bool) -> bool:
    try:
        return table.umount(mount_id, lazy=lazy)
    except NotFoundError:
        # Another process has unmounted it.
        return True


def _end_unrecorded(place: str, lazy: bool) -> bool:
    from arstore.mounts.source import remove_stray

    if not remove_stray(place, lazy):
        raise InUseError(place, "is in use", "detach it with `arstore umount --force`")
    return True


def _umount_each(session: Session, chosen: list[_Chosen], force: bool) -> Iterator[str]:
    """Unmount everything that can be unmounted and yield its names; then raise the first error, if any."""
    failure: errors.ArstoreError | OSError | None = None
    for name, end in chosen:
        try:
            if not end(force):
                session.warn(f"{name}: is unmounted, but still in use by a process or in another mount namespace")
            yield name
        except (errors.ArstoreError, OSError) as error:
            failure = failure or error
    if failure is not None:
        raise failure


@exit_statuses()
@command("mounts")
@json_option
def mounts(session: Session) -> None:
    """List the mounts.

    STATE is one of: mounted; detached (unmounted, but still in use by a process or in another mount namespace); pending
    (a process is working on it, or it is mounted where this process cannot see it); stale (unmounted by other means;
    `arstore gc` drops its record); orphaned (the store that has its record is gone; `arstore umount` unmounts it).

    Example:

    arstore mounts
    """
    from arstore.mounts.source import orphaned_mounts

    with _table(session) as (table, directories, _):
        entries = table.list()
        recorded = {entry.record.target for entry in entries}
        orphans = [path for path in orphaned_mounts(directories) if path not in recorded]
    if session.json:
        write_json([*map(_entry_json, entries), *map(_orphan, orphans)])
        return
    rows = [
        (
            entry.record.id,
            short_digest(entry.record.image) or "-",
            entry.record.container or "-",
            "ro" if entry.record.read_only else "rw",
            entry.state.value,
            entry.record.target,
        )
        for entry in entries
    ]
    rows += [(os.path.basename(path), "-", "-", "-", _ORPHANED, path) for path in orphans]
    write_table(("ID", "IMAGE", "CONTAINER", "MODE", "STATE", "TARGET"), rows)


def _entry_json(entry: MountEntry) -> dict[str, Any]:
    return _record_json(entry.record) | {"state": entry.state.value, "places": list(entry.places)}


def _orphan(path: str) -> dict[str, Any]:
    """Return the JSON of a mount whose store is gone: only its path, and so its id, are known."""
    unknown = {"image": None, "container": None, "read_only": None, "created": None}
    return {"id": os.path.basename(path), "path": path, **unknown, "state": _ORPHANED, "places": [path]}


def _record_json(record: MountRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "path": record.target,
        "image": record.image,
        "container": record.container or None,
        "read_only": record.read_only,
        "created": utc_time(record.created),
    }
