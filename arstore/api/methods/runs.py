"""Root file systems of images, and the programs in them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of, text_of, warn_of_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.api.opened import Named, Path
    from arstore.api.values.images import Image
    from arstore.api.values.runs import Ended, Loaded, Unpacked
    from arstore.pipeline.load import LoadOptions
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.progress import Progress


class RunMethods(OpenStore):
    """Methods of `Store` that mount, unpack and run images."""

    @contextmanager
    def mounted(
        self,
        image: Named,
        target: Path | None = None,
        *,
        writable: bool = False,
        suid: bool = False,
        dev: bool = False,
    ) -> Iterator[str]:
        """Mount an image's root file system until the end of the context, and yield its path.

        *target* is an existing directory; by default a directory is created. With *writable*, changes are stored in a
        container that is removed at the end. Set-user-ID programs and device nodes work only with *suid* and *dev*.
        Forks if layer trees must be rebuilt first.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            MountError: the mount failed.
            MountForbiddenError, PermissionDeniedError: this user or host does not allow mounts.
            InUseError: at the end of the context, a process still uses the mount, which is then detached.
        """
        from arstore.api.mounting import mounted

        warn_of_threads()
        store = self._open()
        self._require_admitted(store, image)
        with mounted(store, query_of(image), text_of(target), writable, suid=suid, dev=dev) as path:
            yield path

    def unpack(
        self, image: Named, directory: Path, *, strict_xattrs: bool = False, progress: Progress | None = None
    ) -> Unpacked:
        """Copy an image's root file system to *directory*, which is new or empty. Works without mounts. Forks.

        With *strict_xattrs*, an extended attribute that cannot be set is an error.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            ConflictError: the directory is not empty.
            SourceError: a layer in the store is malformed.
        """
        from arstore.api.values.runs import Unpacked
        from arstore.rootfs.unpack import unpack_image
        from arstore.store.progress import NoProgress

        warn_of_threads()
        store, path = self._open(), os.fspath(directory)
        found = store.find_image(query_of(image))
        self._require_admitted(store, found.digest)
        done = unpack_image(store, found, path, progress or NoProgress(), strict_xattrs=strict_xattrs)
        left_out = {
            "owners": done.owners.count,
            "devices": done.devices.count,
            "attributes": done.attributes.members,
        }
        lost = str(done.attributes) if done.attributes.count else ""
        return Unpacked(found.digest, path, done.layers, done.members, done.size, done.is_exact, left_out, lost)

    def run(
        self,
        image: Named,
        *args: str,
        options: RunOptions | None = None,
        name: str = "",
        keep: bool = False,
        timeout: float | None = None,
        runtime: str | None = None,
        progress: Progress | None = None,
    ) -> Ended:
        """Run a command in a new container, with this process's standard streams, and wait for its end. Forks.

        *args* replace the image's CMD; *options* are the other options of `arstore run`. *timeout* is in seconds. With
        *keep*, the container *name* is kept. *runtime* is the path of an OCI runtime; by default arstore finds one.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            RuntimeMissingError: no OCI runtime works on this host.
            RuntimeFailedError: the OCI runtime failed.
            ImageConfigError, CommandNotFoundError, CommandNotExecutableError: the command cannot be started.
            PipelineTimeoutError: the timeout expired, and the container was stopped.
        """
        from arstore.api.running import run

        warn_of_threads()
        store = self._open()
        self._require_admitted(store, image)
        find = self._working_runtime
        return run(store, query_of(image), args, options, name, keep, timeout, runtime, find, progress)

    def load(
        self,
        source: Path | Image,
        *,
        name: str = "",
        options: LoadOptions | None = None,
        runtime: str | None = None,
        progress: Progress | None = None,
    ) -> Loaded:
        """Import a pipeline image, run it once, and import the images that it makes, like `arstore load`. Forks.

        *source* is an archive, or an `Image` of the store. *name* is the name for an archive's image without a name.

        Raises:
            SourceError: the archive is missing, malformed or damaged.
            PipelineError: the pipeline was refused, failed, or took too long.
            SubImageError: an image that the pipeline made could not be imported; the others are in the store.
        """
        from dataclasses import replace

        from arstore.api.running import load
        from arstore.api.values.images import Image
        from arstore.pipeline.load import Archive, InStore, LoadOptions

        given = InStore(source.digest) if isinstance(source, Image) else Archive(os.fspath(source), name)
        chosen = options or LoadOptions()
        asks = chosen.require_label
        if asks is None and self._settings is not None:
            asks = self._settings.require_label
        limits = self._limits() if chosen.limits is None else chosen.limits
        chosen = replace(chosen, rules=self._rules, limits=limits, require_label=asks)
        with self._bringing() as store:
            return load(store, given, chosen, runtime, self._working_runtime, progress)
