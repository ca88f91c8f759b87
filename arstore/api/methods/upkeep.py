"""Disk usage, garbage collection and checks of a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of, warn_of_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.opened import Named, Path
    from arstore.api.values.upkeep import CheckReport, Garbage, GcPlan
    from arstore.api.values.usage import DiskUsage
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits


class UpkeepMethods(OpenStore):
    """Methods of `Store` that measure, collect and check."""

    def disk_usage(self, *images: Named) -> DiskUsage:
        """Return the disk usage of the store, with an entry for each of *images*, by default for all. Forks.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
        """
        from arstore.api.upkeep import disk_usage

        warn_of_threads()
        store = self._open()
        return disk_usage(store, [store.find(query_of(one)) for one in images] if images else None)

    def plan_gc(self) -> GcPlan:
        """Return a plan that removes everything unused: by names, containers, mounts and running processes."""
        from arstore.api.upkeep import plan_gc

        return plan_gc(self._open())

    def apply(self, plan: GcPlan) -> Garbage:
        """Remove the content in *plan*, and return the removed content. Content that is used again meanwhile stays."""
        from arstore.api.upkeep import apply

        return apply(self._open(), plan)

    def check(
        self,
        *,
        quick: bool = False,
        repair: bool = False,
        sources: Sequence[Path] = (),
        limits: Limits | None = None,
        nice: bool = False,
        progress: Progress | None = None,
    ) -> CheckReport:
        """Check the store for damage, and with *repair* repair it. Findings are returned, not raised. Forks.

        *quick* skips reading content. *sources* may contain lost blobs; their syntax is that of `import_images`.
        *limits* apply to them. With *nice*, the check runs with the lowest priority for disk and processor. The damage
        is recorded: `arstore images` marks the images that it affects.

        Raises:
            SourceError, RegistryError: one of *sources* cannot be read.
        """
        from arstore.api.upkeep import check

        warn_of_threads()
        limits = limits or self._limits()
        paths = [os.fspath(one) for one in sources]
        return check(self._open(), paths, limits, progress, quick=quick, mend=repair, nice=nice)
