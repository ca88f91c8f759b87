"""Disk usage, garbage collection and checks, as the library offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.values import CheckReport, DiskUsage, Finding, Garbage, GcPlan, ImageUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.maintenance import gc
    from arstore.store.store import Store, StoredImage


def disk_usage(store: Store, images: Sequence[StoredImage] | None) -> DiskUsage:
    """Return the disk usage, with an entry for each of *images*, or of all. Raises StoreError, HostError, OSError."""
    from arstore.maintenance.disk_usage import measure

    bill = measure(store, images)
    items = tuple(ImageUsage(one.digest, one.names, one.size, one.unique, one.shared) for one in bill.images)
    return DiskUsage(
        total=bill.total, **bill.parts(), reclaimable=bill.reclaimable, images=items, strays=dict(bill.strays)
    )


def plan_gc(store: Store) -> GcPlan:
    """Return a plan that removes all unreferenced content. Raises StoreError, HostError, OSError."""
    from arstore.maintenance.gc import plan_collection

    plan = plan_collection(store)
    return GcPlan(_garbage(plan), plan)


def apply(store: Store, plan: GcPlan) -> Garbage:
    """Remove the content in *plan* that is still unreferenced. Raises StoreError, HostError, OSError."""
    from arstore.maintenance.gc import Plan, collect

    assert isinstance(plan.basis, Plan)
    return _garbage(collect(store, plan.basis))


def _garbage(found: gc.Garbage) -> Garbage:
    return Garbage(**found.by_kind(), bytes=found.bytes)


def check(store: Store, quick: bool, mend: bool, sources: Sequence[str], report: Callable[[int], None]) -> CheckReport:
    """Check the store, and with *mend* repair it from *sources*.

    Raises StoreError, HostError, OSError; SourceError, RegistryError for *sources*.
    """
    from arstore.maintenance.check import affected, repair
    from arstore.maintenance.check import check as look

    count = 0

    def counted(size: int) -> None:
        nonlocal count
        count += size
        report(size)

    findings = look(store, quick, counted)
    if mend and findings:
        findings = repair(store, findings, sources)
    hits = affected(store, findings)
    return CheckReport(
        tuple(
            Finding(
                one.damage.value,
                one.what,
                one.why,
                one.harmless,
                one.repaired,
                tuple(image.digest for image in hits.get(one, ())),
            )
            for one in findings
        ),
        count,
    )
