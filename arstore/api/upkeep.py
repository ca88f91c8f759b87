"""Removal, disk usage, garbage collection and checks, as the library offers them."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.api.values.upkeep import CheckReport, Finding, Garbage, GcPlan, Removal, Trimmed
from arstore.api.values.usage import DiskUsage, ImageUsage
from arstore.errors import AmbiguousError, ArstoreError, NotFoundError, UsageError
from arstore.store.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from arstore.maintenance import gc
    from arstore.maintenance.check import Finding as Found
    from arstore.maintenance.check.affected import HitImage
    from arstore.maintenance.remove import Disposal
    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.tar.limits import Limits


def disk_usage(store: Store, images: Sequence[StoredImage] | None) -> DiskUsage:
    """Return the disk usage, with an entry for each of *images*, or of all. Raises StoreError, HostError, OSError."""
    from arstore.maintenance.disk_usage import measure

    bill = measure(store, images)
    items = tuple(ImageUsage(one.digest, one.names, one.size, one.unique, one.shared) for one in bill.images)
    return DiskUsage(
        total=bill.total, **bill.parts(), reclaimable=bill.reclaimable, images=items, strays=dict(bill.strays)
    )


def remove(store: Store, images: Sequence[str], *, force: bool, dry_run: bool) -> Removal:
    """Remove *images*, with *force* also their containers; with *dry_run*, only return the plan.

    Raises StoreError, HostError, OSError, and the errors of `Store.find`.
    """
    from arstore.maintenance.remove import containers_in_the_way, plan_removal, remove_images

    bound = 0
    with _containers_hinted(store):
        ended = containers_in_the_way(store, images) if force else []
        if dry_run:
            from arstore.maintenance.records_bound import removal_bound

            done = plan_removal(store, images, ended)
            bound = removal_bound(store, done, len(ended))
        else:
            _end(store, ended)
            done = remove_images(store, images)
    return _removal(done, ended, bound, dry_run=dry_run)


def _removal(done: Disposal, ended: Sequence[str], bound: int, *, dry_run: bool) -> Removal:
    gone = done.removed
    return Removal(
        tuple(done.untagged),
        tuple(gone.images),
        tuple(gone.layers),
        tuple(gone.blobs),
        tuple(gone.trees),
        done.freed,
        tuple(gone.attachments),
        tuple(ended),
        done.parts._asdict() if dry_run else {},
        bound,
    )


def prune(store: Store, unused_for: float, *, dry_run: bool) -> Removal:
    """Remove images by their last use; see `arstore.api.store.Store.prune`."""
    from arstore.maintenance.prune import plan_prune
    from arstore.maintenance.prune import prune as perform
    from arstore.maintenance.records_bound import removal_bound

    moment = time.time() - unused_for
    done = plan_prune(store, moment) if dry_run else perform(store, moment)
    return _removal(done, (), removal_bound(store, done) if dry_run else 0, dry_run=dry_run)


def trim(store: Store, total: int | None, freed: int | None, unused_for: float | None, *, dry_run: bool) -> Trimmed:
    """Give up cached trees; see `arstore.api.store.Store.trim`."""
    from arstore.maintenance.records_bound import changed_by_trim, records_bound
    from arstore.maintenance.trim import Goal, plan_trim
    from arstore.maintenance.trim import trim as perform

    if total is not None and freed is not None:
        raise UsageError("trim", "a size of the store and a size to free exclude each other", "give one of them")
    goal = Goal(total, freed, None if unused_for is None else time.time() - unused_for)
    done = plan_trim(store, goal) if dry_run else perform(store, goal)
    bound = records_bound(store.directories, changed_by_trim(store, done.trees)) if dry_run else 0
    return Trimmed(done.images, done.trees, done.freed, done.short, bound)


@contextmanager
def _containers_hinted(store: Store) -> Iterator[None]:
    """Have the error for an image that does not exist say so if there is a container of that name or id."""
    try:
        yield
    except NotFoundError as error:
        try:
            container = store.containers.find(error.what)
        except (NotFoundError, AmbiguousError):
            raise error from None
        hint = f"`arstore container rm {container.id}` removes the container"
        raise NotFoundError(error.what, "no such image in the store, but a container", hint) from error


def _end(store: Store, container_ids: list[str]) -> None:
    """Stop and remove containers. One that has been removed meanwhile is ignored."""
    if not container_ids:
        return
    from arstore.runtime.lifecycle.removal import remove_by_force

    for container_id in container_ids:
        with suppress(NotFoundError):
            remove_by_force(store, store.containers.get(container_id))


def plan_gc(store: Store) -> GcPlan:
    """Return a plan that removes all unreferenced content. Raises StoreError, HostError, OSError."""
    from arstore.maintenance.gc import plan_collection
    from arstore.maintenance.records_bound import changed_by_gc, records_bound

    plan = plan_collection(store)
    bound = records_bound(store.directories, changed_by_gc(plan))
    return GcPlan(_garbage(plan), plan, plan.parts._asdict(), bound)


def apply(store: Store, plan: GcPlan) -> Garbage:
    """Remove the content in *plan* that is still unreferenced. Raises StoreError, HostError, OSError."""
    from arstore.maintenance.gc import Plan, collect

    assert isinstance(plan.basis, Plan)
    return _garbage(collect(store, plan.basis))


def _garbage(found: gc.Garbage) -> Garbage:
    return Garbage(**found.by_kind(), bytes=found.bytes)


def check(
    store: Store,
    sources: Sequence[str],
    limits: Limits,
    progress: Progress | None,
    *,
    quick: bool,
    mend: bool,
    nice: bool,
) -> CheckReport:
    """Check the store, and with *mend* repair it from *sources*, to which *limits* apply.

    Raises StoreError, HostError, OSError; SourceError, RegistryError for *sources*.
    """
    from arstore.maintenance.check import affected, repair

    findings, count = _look(store, quick, nice, progress or NoProgress())
    if mend and findings:
        findings = repair(store, findings, sources, limits)
    hits = affected(store, findings)
    _record(store, findings, hits, whole=not quick)
    return CheckReport(tuple(_finding(one, hits.get(one, ())) for one in findings), count)


def _look(store: Store, quick: bool, nice: bool, progress: Progress) -> tuple[list[Found], int]:
    """Return the findings, and the number of bytes that were read for them."""
    from arstore.maintenance.check import check as look
    from arstore.maintenance.check import extent

    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress.advance("store", count)

    if not quick:
        progress.start("store", "store", extent(store))
    findings = look(store, quick, report, nice)
    progress.finish("store")
    return findings, done


def _finding(found: Found, hits: Sequence[HitImage]) -> Finding:
    return Finding(
        found.damage.value,
        found.what,
        found.why,
        found.harmless,
        found.repaired,
        tuple(image.digest for image in hits),
        tuple(image.names for image in hits),
    )


def _record(
    store: Store, findings: Sequence[Found], hits: Mapping[Found, tuple[HitImage, ...]], *, whole: bool
) -> None:
    """Record the damage for `arstore images`, if the store is writable."""
    from arstore.maintenance.check import Damage
    from arstore.maintenance.verdicts import record

    bad = [found for found in findings if not (found.harmless or found.repaired)]
    if any(found.damage is Damage.GRAPH_PAGES for found in bad):
        return
    damage = {
        (found.damage.value, found.what): [image.digest for image in hits[found]]
        for found in bad
        if found in hits and found.damage is not Damage.LENT_ABSENT
    }
    with suppress(OSError, ArstoreError):
        record(store, damage, whole)
