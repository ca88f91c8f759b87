"""Files in images: searches, exports and differences."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of, text_of, warn_of_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.opened import Named, Path
    from arstore.api.values.containers import Container
    from arstore.api.values.contents import Difference, Duplicates, Exported, Found
    from arstore.store.progress import Progress

    Root = Named | Container


class ContentMethods(OpenStore):
    """Methods of `Store` that look into root file systems."""

    def find(
        self,
        wanted: str = "",
        *,
        content_of: Path | None = None,
        images: Sequence[Named] = (),
        visible: bool = False,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Found:
        """Find files in all images, or in *images*.

        *wanted* is a path (with a slash), a name, a pattern with `*`, `?` or `[...]`, or a digest, as for the command
        `arstore find`; or *content_of* is a file of the host with the wanted content. With *visible*, files that a
        layer above hides are left out. At most *limit* paths are returned, by default 1000. *progress* gets the number
        of layers that the index of contents lacks, which are read.

        Raises:
            UsageError: neither or both of *wanted* and *content_of* are given; or *content_of* cannot be read.
            InvalidReferenceError, NotFoundError, AmbiguousError: one of *images* is not found.
        """
        from arstore.api.searching import find
        from arstore.errors import UsageError

        if bool(wanted) == (content_of is not None):
            raise UsageError("find", "give either a path, a digest or a pattern, or a file with the content")
        chosen = [query_of(one) for one in images]

        def report(count: int) -> None:
            if progress is not None:
                progress.start("contents", "layers that the index of contents lacks", count)

        return find(self._open(), wanted or None, text_of(content_of), chosen, visible, limit, report)

    def update_contents(self, progress: Progress | None = None) -> int:
        """Complete the index of contents, which `find` and `duplicates` use. Return the number of added layers."""
        from arstore.maintenance.find.update import update
        from arstore.store.progress import NoProgress

        return update(self._open(), progress or NoProgress())

    def duplicates(self, *images: Named) -> Duplicates:
        """Find files with equal content in all layers, or in the layers of *images*.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: one of *images* is not found.
        """
        from arstore.api.searching import duplicates

        return duplicates(self._open(), [query_of(one) for one in images])

    def export(self, what: Root, output: Path, progress: Progress | None = None) -> Exported:
        """Write the root file system of a container or an image as a tar to the file *output*; `-` is standard output.

        A word that is the name of a container and of an image means the container. *output* is replaced only when the
        new file is complete. Forks if layer trees must be rebuilt first.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            InUseError: a file changed while it was read.
            MountError, MountForbiddenError, PermissionDeniedError: the trees cannot be read by this user.
        """
        from arstore.api.roots import export
        from arstore.store.progress import NoProgress

        warn_of_threads()
        return export(self._open(), _text(what), os.fspath(output), progress or NoProgress())

    def diff(
        self, a: Root, b: Root | None = None, *, sizes: bool = False, progress: Progress | None = None
    ) -> tuple[Difference, ...]:
        """Compare root file systems; return the paths that differ, sorted.

        For one container: what it changed in its image. For one image: what its top layer changed. With two: what turns
        the first into the second. *sizes* adds the bytes of files. Forks if layer trees must be rebuilt first.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            MountError, MountForbiddenError, PermissionDeniedError: the trees cannot be read by this user.
        """
        from arstore.api.roots import diff

        warn_of_threads()
        return diff(self._open(), _text(a), None if b is None else _text(b), sizes, progress)


def _text(what: Root) -> str:
    from arstore.api.values.containers import Container

    return what.id if isinstance(what, Container) else query_of(what)
