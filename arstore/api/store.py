"""`Store`: every operation on a store. Each method opens the files that it needs, does one thing, and returns a value.

Threads: `import_images`, `import_image`, `copy`, `mounted`, `unpack`, `run`, `load`, `disk_usage` and `check` fork. A
process must not fork while its other threads hold locks, so call these methods from a program's only thread, or from a
separate process; otherwise a RuntimeWarning is issued once. All other methods can be called in programs with threads.
Use one `Store` object for each directory: two objects of one directory share nothing, and must not be used at once.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from arstore.api.opening import additional_to, directories_of, opened, settings_of
from arstore.trust.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from arstore.api.values import (
        CheckReport,
        Copied,
        DiskUsage,
        Ended,
        Garbage,
        GcPlan,
        Image,
        ImageDetails,
        Imported,
        ImportedImage,
        Loaded,
        Removal,
        Unpacked,
    )
    from arstore.pipeline.load import LoadOptions
    from arstore.registry.access import RegistryOptions
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.progress import Progress
    from arstore.store.store import Store as Inner
    from arstore.tar.limits import Limits

    Path = str | os.PathLike[str]
    Named = str | Image | ImportedImage


class Store:
    """A store in a root and a runroot; a context manager. Opening creates nothing: the first import creates the store.

    Every method raises NoStoreError if the store does not exist, StoreDamagedError or StoreVersionError if it cannot be
    read, and HostError or OSError if the operating system refuses. Methods that are subject to the signature policy
    raise RejectedError and PolicyError.
    """

    def __init__(
        self,
        root: Path | None = None,
        runroot: Path | None = None,
        additional_stores: Sequence[Path] = (),
        *,
        policy: Path | None = None,
        require_signatures: bool = False,
        config: Path | None = None,
    ) -> None:
        """Set the directories; the defaults are those of the command line (ARSTORE_ROOT, ARSTORE_RUNROOT).

        The configuration files of the user and the host are read here, as by the command line. *config*, or else
        ARSTORE_CONFIG, replaces them; /dev/null means none (docs/configuration.md).

        Images of *additional_stores* are used in place, without copying (docs/additional-stores.md). The default is the
        list in the environment, in the configuration or in stores.conf.

        *policy* is the path of the signature policy; the default is the configured one, the user's or the host's. It is
        read when an image is imported, copied, mounted, unpacked or run. With *require_signatures*, images for which
        the policy requires no signature are refused.

        Raises:
            UsageError: a directory is an empty string, or the list of additional stores is invalid.
            PermissionDeniedError: the default runroot belongs to another user.
            ConfigFileError: a configuration file or stores.conf cannot be used.
        """
        chosen = _given(root, "ARSTORE_ROOT"), _given(runroot, "ARSTORE_RUNROOT")
        self._settings = settings = settings_of(_text(config))
        self.root, self.runroot = map(os.path.abspath, directories_of(*chosen, settings))
        self._rules = Rules(_text(policy) or (settings and settings.policy) or "", require_signatures)
        stores = [os.fspath(one) for one in additional_stores]
        self._additional = additional_to(self.root, stores, settings=settings)
        self._stack = ExitStack()
        self._inner: Inner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store's files. A later call opens them again."""
        self._inner = None
        self._stack.close()

    def __repr__(self) -> str:
        return f"Store({self.root!r}, {self.runroot!r})"

    # --- images and names -------------------------------------------------------------------------------------------

    def images(self) -> tuple[Image, ...]:
        """Return all images and indexes, sorted by digest; then those of the available additional stores."""
        from arstore.api.reading import image_of

        inner = self._open()
        theirs = [] if inner.elsewhere is None else [one.image for one in inner.elsewhere.images()]
        return tuple(map(image_of, [*inner.images(), *theirs]))

    def image(self, name: Named) -> Image:
        """Return the image or index *name*: a name, a digest, or a unique prefix of a digest.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
        """
        from arstore.api.reading import image_of

        return image_of(self._open().find(_query(name)))

    def inspect(self, name: Named) -> ImageDetails:
        """Return the contents of an image's documents; of an index, its image for this host.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
            PlatformError: the index has no image for this host.
            MissingBlobError: a document is missing in the store.
            ManifestError: a document is malformed.
        """
        from arstore.api.reading import details_of

        store = self._open()
        return details_of(store, store.find_image(_query(name)))

    def tag(self, image: Named, name: str) -> str:
        """Give *image* another name, and return the name as stored (`NAME:TAG`).

        A name of another image moves to this one.

        Raises:
            InvalidReferenceError: *image* or *name* is malformed.
            NotFoundError: no image matches *image*.
            AmbiguousError: several images match *image*.
        """
        return self._open().tag(_query(image), name)

    def untag(self, name: str) -> str:
        """Remove a name, and return the digest of its image or index. The image itself stays until `apply`.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: the name does not exist.
        """
        return self._open().untag(name).digest

    def remove(self, *images: Named, dry_run: bool = False) -> Removal:
        """Remove all given images and their unshared content, or nothing at all.

        If an image has several names, only the given name is removed. The image is removed with its last name, or with
        all names if it is given by digest. With *dry_run*, return the plan without changing the store.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
            InUseError: a container, a mount or another process uses one of them.
        """
        from arstore.api.values import Removal
        from arstore.maintenance.remove import plan_removal, remove_images

        done = (plan_removal if dry_run else remove_images)(self._open(), [_query(one) for one in images])
        gone = done.removed
        return Removal(
            tuple(done.untagged),
            tuple(gone.images),
            tuple(gone.layers),
            tuple(gone.blobs),
            tuple(gone.trees),
            done.freed,
        )

    # --- imports and copies -----------------------------------------------------------------------------------------

    def import_images(
        self,
        source: Path,
        *,
        name: str = "",
        platform: str = "",
        all_platforms: bool = False,
        tree: str | None = None,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Import every image of *source*: a path, or `TRANSPORT:REFERENCE`, as for the command `arstore import`.

        *platform* is `OS/ARCH[/VARIANT]`, by default the host's; *all_platforms* imports complete indexes. *name*
        replaces the name of a single image. *tree* and *limits* are by default the configured ones. Either all images
        are imported or none. A missing store is created. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged; the store is unchanged.
            RegistryError: a registry cannot be reached or refuses a request; the store is unchanged.
            UsageError: *name* is given, but the source has several images; or *platform* is given with *all_platforms*.
        """
        from arstore.api.moving import import_into, wanted
        from arstore.transport.copy import ImportOptions

        chosen = wanted(platform, all_platforms)
        options = ImportOptions(
            name, chosen, tree or "", limits=limits or self._limits(), registries=registries, rules=self._rules
        )
        with self._bringing() as store:
            return import_into(store, os.fspath(source), options, progress)

    def import_image(
        self, source: Path, *, name: str = "", platform: str = "", progress: Progress | None = None
    ) -> Image:
        """Import the only image of *source*, and return it. Arguments as for `import_images`. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged; the store is unchanged.
            RegistryError: a registry cannot be reached or refuses a request; the store is unchanged.
            UsageError: the source has several images.
        """
        from arstore.api.moving import import_into, wanted
        from arstore.api.reading import image_of
        from arstore.transport.copy import ImportOptions

        chosen = wanted(platform, all_platforms=False)
        options = ImportOptions(name, chosen, single=True, limits=self._limits(), rules=self._rules)
        with self._bringing() as store:
            (taken,) = import_into(store, os.fspath(source), options, progress)
            return image_of(store.find(taken.digest))

    def copy(
        self,
        source: Path | Image,
        destination: Path,
        *,
        platform: str = "",
        all_platforms: bool = False,
        form: str = "",
        compression: str = "",
        level: int | None = None,
        preserve_digests: bool = False,
        registries: RegistryOptions | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy images between two of `docker:// oci: oci-archive: docker-archive: dir: store:`, like `arstore copy`.

        An `Image`, or `store:NAME`, is read from this store; a *destination* `store:[NAME]` is this store. *form* is
        `oci` or `v2s2`, *compression* is `gzip`, `zstd` or `none`; by default nothing is converted. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged.
            RegistryError: a registry cannot be reached or refuses a request.
            ConversionError: a necessary or requested conversion is impossible or not allowed.
            UsageError: the arguments contradict each other.
            InvalidReferenceError: *source* or *destination* is not a valid reference.
        """
        from arstore.api.moving import STORE, How, copy_in, copy_out, stored_name
        from arstore.errors import UsageError

        how = How(platform, all_platforms, form, compression, level, preserve_digests, self._rules, self._limits())
        stored, target = stored_name(source), os.fspath(destination)
        if target.startswith(STORE):
            if stored:
                raise UsageError(stored, "is in the store already", "use tag to give it another name")
            with self._bringing() as store:
                return copy_in(store, _path(source), target.removeprefix(STORE), how, registries, progress)
        _warn_of_threads()
        if stored:
            return copy_out(self._open(), stored, target, how, registries, progress)
        return copy_out(None, _path(source), target, how, registries, progress)

    # --- root file systems and containers ---------------------------------------------------------------------------

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

        _warn_of_threads()
        store = self._open()
        self._require_admitted(store, image)
        with mounted(store, _query(image), _text(target), writable, suid=suid, dev=dev) as path:
            yield path

    def unpack(self, image: Named, directory: Path, *, progress: Progress | None = None) -> Unpacked:
        """Copy an image's root file system to *directory*, which is new or empty. Works without mounts. Forks.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            ConflictError: the directory is not empty.
            SourceError: a layer in the store is malformed.
        """
        from arstore.api.values import Unpacked
        from arstore.rootfs.unpack import unpack_image
        from arstore.store.progress import NoProgress

        _warn_of_threads()
        store, path = self._open(), os.fspath(directory)
        self._require_admitted(store, image)
        report = unpack_image(store, store.find_image(_query(image)), path, progress or NoProgress())
        left_out = {
            "owners": report.owners.count,
            "devices": report.devices.count,
            "attributes": report.attributes.members,
        }
        return Unpacked(path, report.layers, report.members, report.size, report.is_exact, left_out)

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

        _warn_of_threads()
        store = self._open()
        self._require_admitted(store, image)
        return run(store, _query(image), args, options, name, keep, timeout, self._runtime(runtime), progress)

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
        from arstore.api.values import Image
        from arstore.pipeline.load import Archive, InStore, LoadOptions

        given = InStore(source.digest) if isinstance(source, Image) else Archive(os.fspath(source), name)
        chosen = options or LoadOptions()
        asks = chosen.require_label
        if asks is None and self._settings is not None:
            asks = self._settings.require_label
        limits = self._limits() if chosen.limits is None else chosen.limits
        chosen = replace(chosen, rules=self._rules, limits=limits, require_label=asks)
        with self._bringing() as store:
            return load(store, given, chosen, self._runtime(runtime), progress)

    # --- upkeep -----------------------------------------------------------------------------------------------------

    def disk_usage(self, *images: Named) -> DiskUsage:
        """Return the disk usage of the store, with an entry for each of *images*, by default for all. Forks.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
        """
        from arstore.api.upkeep import disk_usage

        _warn_of_threads()
        store = self._open()
        return disk_usage(store, [store.find(_query(one)) for one in images] if images else None)

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
        report: Callable[[int], None] = lambda _bytes: None,
    ) -> CheckReport:
        """Check the store for damage, and with *repair* repair it. Findings are returned, not raised. Forks.

        *quick* skips reading content. *sources* may contain lost blobs; their syntax is that of `import_images`.
        *report* is called with the number of bytes read since its last call.

        Raises:
            SourceError, RegistryError: one of *sources* cannot be read.
        """
        from arstore.api.upkeep import check

        _warn_of_threads()
        return check(self._open(), quick, repair, [os.fspath(one) for one in sources], report, self._limits())

    # --- inside -----------------------------------------------------------------------------------------------------

    def _open(self) -> Inner:
        """Return the internal store, open until `close`. Raises NoStoreError."""
        if self._inner is None:
            making = None if self._settings is None else self._settings.making
            context = opened(self.root, self.runroot, additional=self._additional, making=making)
            self._inner = self._stack.enter_context(context)
        return self._inner

    def _limits(self) -> Limits:
        """Return the configured limits, or the defaults."""
        from arstore.tar.limits import DEFAULT_LIMITS

        return DEFAULT_LIMITS if self._settings is None else self._settings.limited(DEFAULT_LIMITS)

    def _runtime(self, given: str | None) -> str | None:
        """Return the runtime that is *given* or configured; None for the first that works."""
        return self._settings.runtime if given is None and self._settings is not None else given

    def _require_admitted(self, store: Inner, image: Named) -> None:
        """Apply the policy to *image*. Raises RejectedError, PolicyError."""
        if not self._rules.is_open:
            from arstore.transport.admission.kept import require_admitted

            require_admitted(store, store.find_image(_query(image)), self._rules)

    @contextmanager
    def _bringing(self) -> Iterator[Inner]:
        """Yield the internal store. A missing store is created, and removed again if the context fails."""
        from arstore.disk.paths import STORE_FILE

        _warn_of_threads()
        if self._inner is not None or os.path.lexists(f"{self.root}/{STORE_FILE}"):
            yield self._open()
            return
        making = None if self._settings is None else self._settings.making
        with opened(self.root, self.runroot, create=True, additional=self._additional, making=making) as store:
            yield store


_warned = False


def _warn_of_threads() -> None:
    """Warn once that a forked child may hang, if this process has other threads."""
    global _warned
    import threading

    if not _warned and threading.active_count() > 1:
        import warnings

        _warned = True
        why = "arstore forks in a process with other threads: a lock that one of them holds stays locked in the child"
        warnings.warn(why, RuntimeWarning, stacklevel=3)


def _given(path: Path | None, variable: str) -> str | None:
    return os.environ.get(variable) if path is None else os.fspath(path)


def _text(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)


def _path(source: Path | Image) -> str:
    return source.digest if not isinstance(source, str | os.PathLike) else os.fspath(source)


def _query(image: Named) -> str:
    return image if isinstance(image, str) else image.digest
