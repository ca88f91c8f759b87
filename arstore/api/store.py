"""`Store`: all that a program can do with a store. Each method opens what it needs, does one thing, and gives a value.

Processes, and so programs with threads: `import_images`, `load`, `run`, `disk_usage`, `check`, `mounted` and `unpack`
fork. A process with other threads must not fork while these hold locks, so call them from a program's only thread, or
from a separate process; a RuntimeWarning says so once. Programs with threads may call everything else.
One process opens a store once: two `Store` objects of one directory share nothing, and must not be used at once.
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
    """A store in two directories; a context manager. Opening it touches nothing: the first import makes the store.

    Every method raises NoStoreError while there is no store, StoreDamagedError and StoreVersionError when it cannot be
    read, and HostError or OSError when the operating system refuses.
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
        """Name the directories; the defaults are those of the command line (ARSTORE_ROOT, ARSTORE_RUNROOT).

        The configuration files of the user and the host are read now, as by the command line; *config*, or else
        ARSTORE_CONFIG, replaces them, and /dev/null stands for none (docs/configuration.md).

        *additional_stores* are only read, and their images used where they lie (docs/additional-stores.md). Without
        any, they are those of the environment, the configuration or stores.conf.

        *policy* is the signature policy file; by default the configured one, the user's or the host's holds. It is read
        when an image comes in, is copied, mounted, unpacked or run. With *require_signatures*, images for which it asks
        no signature are refused.

        Raises:
            UsageError: a directory is the empty text, or the list of additional stores makes no sense.
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
        """Let go of the store's files. A later call opens them again."""
        self._inner = None
        self._stack.close()

    def __repr__(self) -> str:
        return f"Store({self.root!r}, {self.runroot!r})"

    # --- images and names -------------------------------------------------------------------------------------------

    def images(self) -> tuple[Image, ...]:
        """All images and indexes, sorted by digest; then those of the additional stores that are there."""
        from arstore.api.reading import image_of

        inner = self._open()
        theirs = [] if inner.elsewhere is None else [one.image for one in inner.elsewhere.images()]
        return tuple(map(image_of, [*inner.images(), *theirs]))

    def image(self, name: Named) -> Image:
        """The image or index that *name* means: a name, a digest, or the unique start of a digest.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: no or several images are meant.
        """
        from arstore.api.reading import image_of

        return image_of(self._open().find(_query(name)))

    def inspect(self, name: Named) -> ImageDetails:
        """Return the contents of an image's documents; of an index, its image for this host.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: no or several images are meant.
            PlatformError: the index has no image for this host.
            MissingBlobError, ManifestError: the store does not have the documents, or they are not what they must be.
        """
        from arstore.api.reading import details_of

        store = self._open()
        return details_of(store, store.find_image(_query(name)))

    def tag(self, image: Named, name: str) -> str:
        """Give *image* another name, and return the name as stored (`NAME:TAG`).

        A name that stands for another image moves to this one.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: of *image*; InvalidReferenceError of *name* too.
        """
        return self._open().tag(_query(image), name)

    def untag(self, name: str) -> str:
        """Take a name away, and return the digest of what it stood for. The image stays until `gc`.

        Raises:
            InvalidReferenceError, NotFoundError: there is no such name.
        """
        return self._open().untag(name).digest

    def remove(self, *images: Named, dry_run: bool = False) -> Removal:
        """Remove images, and what nothing else needs; all that is named, or nothing.

        A name of several is only taken away; the image goes with its last name, or with all when named by digest. With
        *dry_run*, return what would be removed.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: no or several images are meant.
            InUseError: a container, a mount or another process needs one of them.
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

    # --- bringing in, and out ---------------------------------------------------------------------------------------

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
        """Import every image of *source*: a path, or `TRANSPORT:REFERENCE` as `arstore import` takes it.

        *platform* is `OS/ARCH[/VARIANT]`, by default the host's; *all_platforms* takes indexes whole. *name* replaces
        the name of the one image that comes. *tree* and *limits* are by default the configured ones. All images come
        in, or none. Makes the store if there is none. Forks.

        Raises:
            errors.SourceError: the source is not there or not sound; the store is as before.
            UsageError: *name* is given and several images come; *platform* and *all_platforms* exclude each other.
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
        """Import the one image of *source*, and return it.

        Raises:
            SourceError, RegistryError: the source is not there or not sound; the store is as before.
            UsageError: it holds several images.
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
        """Copy images between any two of `docker:// oci: oci-archive: docker-archive: dir: store:`, as `arstore copy`.

        An `Image`, or `store:NAME`, is read from this store; a *destination* `store:[NAME]` is this store. *form* is
        `oci` or `v2s2`, *compression* `gzip`, `zstd` or `none`; without these nothing is converted.

        Raises:
            errors.SourceError: the source is not there or not sound.
            ConversionError: a conversion is needed or asked for that is impossible or not allowed.
            UsageError, InvalidReferenceError: the arguments contradict each other, or are none.
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
        """Mount an image's root file system for the length of the context, and give its path.

        *target* is an existing directory; by default one is made. With *writable*, what is written goes to a container
        that is removed at the end. Set-user-ID programs and device nodes work only with *suid* and *dev*. Forks when
        layers have to be unpacked first.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as `inspect`.
            MountError, MountForbiddenError, PermissionDeniedError: this host or user may not mount.
            InUseError: at the end of the context, something still uses the mount; it is then detached.
        """
        from arstore.api.mounting import mounted

        _warn_of_threads()
        store = self._open()
        self._require_admitted(store, image)
        with mounted(store, _query(image), _text(target), writable, suid=suid, dev=dev) as path:
            yield path

    def unpack(self, image: Named, directory: Path, *, progress: Progress | None = None) -> Unpacked:
        """Copy an image's root file system to *directory*, which is made, or is empty. Needs no mounts. Forks.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as `inspect`.
            ConflictError: the directory is not empty.
            errors.SourceError: a layer of the store is damaged or not sound.
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
        """Run a command in a new container on this process's standard streams, and wait for its end. Forks.

        *args* replace the image's CMD; *options* say the rest. *timeout* is in seconds. With *keep*, the container
        called *name* stays.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as `inspect`.
            RuntimeMissingError, RuntimeFailedError: no OCI runtime works here, or it failed.
            ImageConfigError, CommandNotFoundError, CommandNotExecutableError: the command cannot be started.
            PipelineTimeoutError: it had to be stopped.
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
        """Import a pipeline image, run it once, and import the images that it makes, as `arstore load`. Forks.

        *source* is an archive; an `Image` is one of the store. *name* is for an archive's image that brings none.

        Raises:
            errors.SourceError: the archive is not sound.
            PipelineError: the pipeline was refused, failed, or took too long.
            SubImageError: something that it left could not be imported; what could is in the store.
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
        """Where the bytes of the store are; of *images* only those are itemised, by default all. Forks.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: no or several images are meant.
        """
        from arstore.api.upkeep import disk_usage

        _warn_of_threads()
        store = self._open()
        return disk_usage(store, [store.find(_query(one)) for one in images] if images else None)

    def plan_gc(self) -> GcPlan:
        """Plan the removal of everything that no name, container, mount or running process needs."""
        from arstore.api.upkeep import plan_gc

        return plan_gc(self._open())

    def apply(self, plan: GcPlan) -> Garbage:
        """Remove what `plan_gc` found, and return what was removed. What has come to be needed since then stays."""
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
        """Look for damage, and with *repair* mend it. Findings are returned, not raised. Forks.

        *quick* reads no content. *sources* are where lost blobs may come from, as `import_images` takes them. *report*
        is called with the number of bytes that were read.
        """
        from arstore.api.upkeep import check

        _warn_of_threads()
        return check(self._open(), quick, repair, [os.fspath(one) for one in sources], report, self._limits())

    # --- inside -----------------------------------------------------------------------------------------------------

    def _open(self) -> Inner:
        """The store below, open until `close`. Raises NoStoreError."""
        if self._inner is None:
            tree = self._settings.tree if self._settings is not None else None
            context = opened(self.root, self.runroot, additional=self._additional, tree=tree)
            self._inner = self._stack.enter_context(context)
        return self._inner

    def _limits(self) -> Limits:
        """The configured limits, or the defaults."""
        from arstore.tar.limits import DEFAULT_LIMITS

        return DEFAULT_LIMITS if self._settings is None else self._settings.limited(DEFAULT_LIMITS)

    def _runtime(self, given: str | None) -> str | None:
        """The runtime that is *given* or configured; None for the first that works."""
        return self._settings.runtime if given is None and self._settings is not None else given

    def _require_admitted(self, store: Inner, image: Named) -> None:
        """Return if the policy accepts *image*. Raises RejectedError, PolicyError."""
        if not self._rules.is_open:
            from arstore.transport.admission.kept import require_admitted

            require_admitted(store, store.find_image(_query(image)), self._rules)

    @contextmanager
    def _bringing(self) -> Iterator[Inner]:
        """The store below, made for the context if there is none, and unmade if that fails."""
        from arstore.disk.paths import STORE_FILE

        _warn_of_threads()
        if self._inner is not None or os.path.lexists(f"{self.root}/{STORE_FILE}"):
            yield self._open()
            return
        tree = self._settings.tree if self._settings is not None else None
        with opened(self.root, self.runroot, create=True, additional=self._additional, tree=tree) as store:
            yield store


_warned = False


def _warn_of_threads() -> None:
    """Warn once, if this process has other threads, that a forked child may hang."""
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
