"""Root file systems: images and containers as mounts.

Each function describes an overlay (`overlay.Overlay`) over an image's trees, and `overlay` or the mount table mounts
it. Mounts for people are recorded in the table; the mount of a run is in that run's own mount namespace and ends with
it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import ExitStack, contextmanager, suppress
from arstore.errors import ArstoreError, ConflictError, InUseError, MountError, NotFoundError, StoreDamagedError
from arstore.linux.process import boot_id
from arstore.mounts.merge_plan import Run, plan
from arstore.mounts.overlay import FORBIDDEN_HINT, MAX_LOWERS, Overlay
from arstore.mounts.table import MountState, MountTable
from arstore.mounts.upper_in_use import require_unused
from arstore.store.last_use import note_use
from arstore.store.store import chain_of
from arstore.trees.directory.form import hides_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.graph.records import TreeRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.mounts.record import MountRecord
    from arstore.mounts.table import MountEntry
    from arstore.store.container_uses import Uses
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage
    from arstore.trees.format import LowerDirectory

    Trees = Sequence[tuple[str, TreeRecord]]

_ATTEMPTS = 5
"""How often to try again when other processes rebuild the trees at the same time."""


@contextmanager
def lowers(
    store: Store, image: StoredImage, writable: bool = False, trees: Trees | None = None
) -> Iterator[tuple[LowerDirectory, ...]]:
    """Open *image* as overlay layers, top first, during the context; at least two unless *writable*.

    *trees* is the result of `Store.stack_records`, if the caller has it. The layers are the image's trees, with merged
    indexes in place of many of them (`mounts.merge_plan`). Missing merged indexes are made if possible. Raises the
    errors of `Store.stack` (StoreError and SourceError), and MountError for more layers than overlayfs takes.
    """
    with ExitStack() as stack:
        found = _opened_whole(store, image, stack, trees)
        wanted = 1 if writable else 2
        for number in range(wanted - len(found)):
            found.append(stack.enter_context(store.blank(number)))
        yield tuple(found)


def _opened_whole(store: Store, image: StoredImage, stack: ExitStack, trees: Trees | None) -> list[LowerDirectory]:
    """Return the layers of `_opened_lowers`; open them again when trees were rebuilt in the meantime."""
    own_trees = False
    for _ in range(_ATTEMPTS):
        records = dict(store.stack_records(image) if trees is None else trees)
        with ExitStack() as opened:
            found = []
            try:
                for lower in _opened_lowers(store, image, records, opened, own_trees):
                    found.append(lower)
                    if hides_below(lower):
                        break
            except (OSError, StoreDamagedError, MountError):
                trees = store.trusted_stack(image, own_trees)
                if trees is not None and dict(trees) == records:
                    if own_trees or not _uses_lent(store, records):
                        raise
                    # Whatever is wrong with trees of an additional store, they can be built here.
                    own_trees = True
                    trees = store.build_stack(image, own_trees=True)
                continue
            stack.enter_context(opened.pop_all())
            return found
    raise _restless(image)


def _uses_lent(store: Store, records: dict[str, TreeRecord]) -> bool:
    """Return whether trees of additional stores are among these."""
    inventory = store.inventory()
    return any(map(inventory.is_lent, records))


def _restless(image: StoredImage) -> ConflictError:
    return ConflictError(image.label, "another process keeps rebuilding its trees")


def _are_in_place(store: Store, snapshot: Snapshot, image: StoredImage, lowers: Sequence[LowerDirectory]) -> bool:
    """Return whether the directories among *lowers* are still where they were opened, and will stay.

    Mounts cannot be removed while they are open, nor can directories of additional stores: only stores that other
    processes do not change lend directories.
    """
    directories = [lower for lower in lowers if lower.path]
    for lower in directories:
        try:
            if not os.path.samestat(os.stat(lower.path), os.fstat(lower.fd)):
                return False
        except FileNotFoundError:
            return False
    if not directories:
        return True
    boot = boot_id()
    below = f"{store.directories.root}/"
    own = {os.path.basename(os.path.dirname(one.path)) for one in directories if one.path.startswith(below)}
    for _, layer in store.chain(image) if image.home is not None else chain_of(snapshot, image):
        record = snapshot.tree(layer.tree)
        is_lent = record is None and store.elsewhere is not None and layer.tree.partition(":")[2] not in own
        if not is_lent and (record is None or not (record.synced or record.boot == boot)):
            return False
    return True


def _opened_lowers(
    store: Store, image: StoredImage, records: dict[str, TreeRecord], stack: ExitStack, own_trees: bool
) -> Iterator[LowerDirectory]:
    """Yield the layers of *image*, which has these trees, top first; each is opened in *stack* in its turn."""
    parts = plan(list(records.items()))
    inventory = store.inventory(own_trees=own_trees)
    missing = _missing_runs(store, [part for part in parts if isinstance(part, Run)])
    count = sum(len(part.members) if part in missing else 1 for part in parts)
    if count > MAX_LOWERS:
        why = (
            f"has {len(image.record.layers)} layers, which cannot be merged into the {MAX_LOWERS} that overlayfs takes"
        )
        raise MountError(image.label, why, FORBIDDEN_HINT)
    for part in parts:
        if isinstance(part, Run) and part not in missing and (merged := _merged(store, part, stack)) is not None:
            yield merged
            continue
        for key in part.members if isinstance(part, Run) else (part,):
            yield stack.enter_context(store.forms[records[key].form].lower(inventory.tree_directory(key)))


def complete_runs(store: Store, image: StoredImage) -> None:
    """Make the merged indexes that a mount of *image* would use, as far as possible.

    Raises the errors of `Store.stack` (StoreError and SourceError).
    """
    _missing_runs(store, [part for part in plan(store.stack_records(image)) if isinstance(part, Run)])


def _missing_runs(store: Store, runs: list[Run]) -> list[Run]:
    """Return those of *runs* that have no merged index after an attempt to make the missing ones."""
    inventory = store.inventory()
    missing = inventory.missing_runs(runs)
    able = [run for run in missing if not any(map(inventory.is_lent, run.members))]
    if able:
        from arstore.disk.staging import Ingest
        from arstore.store.ingest.publish import Publication, VanishedError, publish
        from arstore.trees.format import UnrepresentableError

        # They are only a cache: if one cannot be made, the trees are used.
        with suppress(ArstoreError, OSError, VanishedError), Ingest(store.directories) as ingest:
            work = Publication(reused_trees={key for run in able for key in run.members})
            for run in able:
                with suppress(UnrepresentableError, StoreDamagedError):
                    work.add_run(run, ingest, store.directories.tree, store.inventory())
            publish(store.directories, store.graph, ingest, work)
            missing = store.inventory().missing_runs(missing)
    return missing


def _merged(store: Store, run: Run, stack: ExitStack) -> LowerDirectory | None:
    """Mount the merged index of *run* until *stack* ends; return None if it is missing or unusable."""
    from arstore.trees.erofs.mounting import lower_directory

    place = store.inventory().run_place(run)
    if place is None:
        return None
    try:
        return stack.enter_context(lower_directory(place, shared=store.shared))
    except (OSError, StoreDamagedError):
        return None


def mount_image(
    store: Store,
    image: StoredImage,
    target: str | None = None,
    *,
    dev: bool = False,
    suid: bool = False,
    trees: Trees | None = None,
) -> MountRecord:
    """Mount a read-only view of *image* at *target*, or below the runroot; *trees* as for `lowers`.

    The image is untrusted: devices cannot be opened without *dev*, and set-user-ID programs have no effect without
    *suid*. Raises the errors of `Store.stack` (StoreError and SourceError) and of `MountTable.mount` (ConflictError,
    NotFoundError, MountError, MountForbiddenError, OSError), and NotFoundError when the image was removed.
    """
    for _ in range(_ATTEMPTS):
        image = store.ours(image)
        with lowers(store, image, trees=trees) as found, store.graph.unchanging() as snapshot:
            if image.home is None and snapshot.image(image.digest) is None:
                raise NotFoundError(image.label, "was removed in the meantime")
            if _are_in_place(store, snapshot, image, found):
                description = Overlay(found, nodev=not dev, nosuid=not suid)
                record = MountTable(store.directories).mount(description, target, image=image.digest)
                break
        trees = None
    else:
        raise _restless(image)
    note_use(store, image)
    return record


def mount_container(
    store: Store,
    container: Container,
    target: str | None = None,
    *,
    dev: bool = False,
    suid: bool = False,
    trees: Trees | None = None,
) -> MountRecord:
    """Mount the writable root of *container* at *target*, or below the runroot; other arguments as for `mount_image`.

    An ephemeral container outlives this process from then on. Raises ConflictError when it is already mounted,
    InUseError when another mount writes to it, NotFoundError when it was removed, and the errors of `mount_image`.
    """
    container.verify_whole()
    table = MountTable(store.directories)
    if (entry := table.of_container(container.id)) is not None:
        raise ConflictError(f"container {container.id}", f"is mounted at {entry.record.target}", _how_to_end(entry))
    image = store.find(container.record.image)
    with lowers(store, image, writable=True, trees=trees) as found, store.graph.write() as change:
        if change.container(container.id) is None:
            raise NotFoundError(f"container {container.id}", "was removed in the meantime")
        require_unused(container.upper, f"container {container.id}")
        description = Overlay(found, container.upper, container.work, nodev=not dev, nosuid=not suid)
        record = table.mount(description, target, image=image.digest, container=container.id)
    if container.record.ephemeral:
        try:
            store.containers.keep(container.id)
        except BaseException:
            table.umount(record.id, lazy=True)
            raise
    return record


def create_container(
    store: Store,
    image: StoredImage,
    container_id: str = "",
    ephemeral: bool = False,
    trees: Trees | None = None,
    uses: Uses | None = None,
) -> Container:
    """Create a container over *image*; its `/` gets the attributes of the image's `/`. *trees* as for `lowers`.
    *uses* is what it uses besides the image.

    Raises the errors of `Containers.create` (ConflictError, InvalidReferenceError, OSError) and of `Store.stack`
    (StoreError and SourceError).
    """
    from arstore.store.containers import copy_root_attributes

    # A container lasts, so its image must be known to this store, not only to an additional one.
    image = store.adopt(image)
    with lowers(store, image, writable=True, trees=trees) as found:
        try:
            container = store.containers.create(image.digest, container_id, ephemeral=True, uses=uses)
        except ConflictError:
            # The id may belong to a container whose process was killed.
            if container_id not in remove_abandoned(store):
                raise
            container = store.containers.create(image.digest, container_id, ephemeral=True, uses=uses)
        try:
            copy_root_attributes(found[0].fd, container.upper)
            if not ephemeral:
                # Only now: another process must see the container complete, or not at all.
                store.containers.keep(container.id)
        except BaseException:
            store.containers.remove(container.id)
            raise
    note_use(store, image)
    return container if ephemeral else store.containers.get(container.id)


def remove_abandoned(store: Store) -> dict[str, int]:
    """Unmount and remove the containers whose process was killed.

    Return their ids, each with the bytes freed on disk. A container that still has processes, or that is in use again,
    is left for the next time. Raises OSError.
    """
    gone: dict[str, int] = {}
    for container in store.containers.list():
        if container.abandoned:
            from arstore.store.container_document import take_launch_lock

            # A daemon that was forked before the kill may just be starting it, and will end and remove it itself.
            lock = take_launch_lock(container.path)
            if lock is not None:
                try:
                    _remove_abandoned(store, container, gone)
                finally:
                    if lock >= 0:
                        os.close(lock)
    return gone


def _remove_abandoned(store: Store, container: Container, gone: dict[str, int]) -> None:
    """Remove *container* unless it has processes or is in use; add it to *gone*. Raises OSError."""
    from arstore.disk.cgroups import is_populated, release, remove_cgroups

    with suppress(OSError):
        release(container.path)
    if is_populated(container.path):
        return
    with suppress(NotFoundError, InUseError, MountError):
        remove_cgroups(container.path)
        umount_container(store, container)
        gone[container.id] = remove_container(store, container.id)


def umount_container(store: Store, container: Container) -> None:
    """Unmount *container*'s root if mounted. Raises InUseError, MountError, MountForbiddenError, OSError."""
    table = MountTable(store.directories)
    for entry in table.list():
        if entry.record.container == container.id:
            table.umount(entry.record.id)


def remove_container(store: Store, container_id: str) -> int:
    """Remove a container without processes, and all that it wrote; return the bytes freed on disk.

    Raises NotFoundError, InUseError when it is mounted, and OSError.
    """
    require_unmounted(store, store.containers.get(container_id))
    return store.containers.remove(container_id)


def require_unmounted(store: Store, container: Container) -> None:
    """Raise InUseError when a mount of *container*'s root is recorded. Raises OSError."""
    entry = MountTable(store.directories).of_container(container.id)
    if entry is not None:
        why = f"is mounted at {entry.record.target}"
        if entry.state is MountState.DETACHED:
            why = f"was mounted at {entry.record.target}, and is still in use"
        raise InUseError(f"container {container.id}", why, _how_to_end(entry))


def _how_to_end(entry: MountEntry) -> str:
    if entry.state is MountState.DETACHED:
        return "end the processes that use it first"
    return f"`arstore umount {entry.record.id}` unmounts it"
