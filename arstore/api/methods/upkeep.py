"""Disk usage, garbage collection and checks of a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of, warn_of_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.opened import Named, Path
    from arstore.api.values.upkeep import Backup, CheckReport, Garbage, GcPlan, Removal, Trimmed
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

    def trim(
        self,
        *,
        total: int | None = None,
        freed: int | None = None,
        unused_for: float | None = None,
        dry_run: bool = False,
    ) -> Trimmed:
        """Give up cached layer trees, least recently used first; the next use of an image makes its trees again.

        *total* is the number of bytes that the store may occupy afterwards, *freed* the number of bytes to free. With
        neither, all trees go that are not in use. *unused_for* (seconds) spares trees that were used since. With
        *dry_run*, return the plan. `short` of the result is not 0 if the goal could not be reached.

        Raises:
            UsageError: both *total* and *freed* are given.
        """
        from arstore.api.upkeep import trim

        return trim(self._open(), total, freed, unused_for, dry_run=dry_run)

    def prune(self, unused_for: float, *, dry_run: bool = False) -> Removal:
        """Remove images that were not used for *unused_for* seconds; with *dry_run*, return the plan.

        Protected images and images in use stay, and so do the images of an index that stays.
        """
        from arstore.api.upkeep import prune

        return prune(self._open(), unused_for, dry_run=dry_run)

    def backup(
        self,
        directory: Path,
        *,
        verify: bool = False,
        prune: bool = False,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> Backup:
        """Copy all images with their names to *directory*, an OCI layout; only what it does not have is copied.

        *verify* reads the blobs that it has, and copies altered ones again. *prune* removes blobs that none of its
        images needs. *replace* permits to replace the backup of another store, and to lose images.

        Raises:
            ConflictError: the directory has other files.
            BackupRefusedError: it is the backup of another store, or would lose images.
            MissingBlobError: a blob is missing in the store.
        """
        from arstore.api.values.upkeep import Backup
        from arstore.maintenance.backup import back_up
        from arstore.store.progress import NoProgress

        done = back_up(
            self._open(), os.fspath(directory), progress or NoProgress(), verify=verify, prune=prune, replace=replace
        )
        return Backup(
            done.images,
            done.blobs,
            done.copied,
            done.bytes,
            done.pruned,
            done.forgotten_images,
            done.forgotten_names,
        )
