"""`Store`: every operation on a store. Each method opens the files that it needs, does one thing, and returns a value.

Threads: `import_images`, `import_image`, `import_root`, `pull`, `copy`, `save`, `mounted`, `unpack`, `run`, `load`,
`disk_usage` and `check` fork. A process must not fork while its other threads hold locks, so call these methods from a
program's only thread, or from a separate process; otherwise a RuntimeWarning is issued once. All other methods can be
called in programs with threads. Use one `Store` object for each directory: two objects of one directory share nothing,
and must not be used at once.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of, text_of, warn_of_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.api.opened import Named, Path
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
        Loaded,
        Removal,
        Tagged,
        Unpacked,
        Untagged,
    )
    from arstore.pipeline.load import LoadOptions
    from arstore.registry.access import RegistryOptions
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.export.encryption import Encryption
    from arstore.transport.selection.options import ImportOptions, Wanted
    from arstore.transport.signing.signer import Signer


class Store(OpenStore):
    """A store in a root and a runroot; a context manager. Opening creates nothing: the first import creates the store.

    Every method raises NoStoreError if the store does not exist, StoreDamagedError or StoreVersionError if it cannot be
    read, and HostError or OSError if the operating system refuses. Methods that are subject to the signature policy
    raise RejectedError and PolicyError.
    """

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

        return image_of(self._open().find(query_of(name)))

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
        return details_of(store, store.find_image(query_of(name)))

    def tag(self, image: Named, name: str) -> Tagged:
        """Give *image* another name. A name of another image moves to this one.

        Raises:
            InvalidReferenceError: *image* or *name* is malformed.
            NotFoundError: no image matches *image*.
            AmbiguousError: several images match *image*.
        """
        from arstore.api.values import Tagged

        store = self._open()
        before = len(store.moved)
        stored = store.tag(query_of(image), name)
        was = [moved.was for moved in store.moved[before:]]
        return Tagged(stored, store.find(stored).digest, was[0] if was else "")

    def untag(self, name: str) -> Untagged:
        """Remove a name. Its image stays until `apply`.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: the name does not exist.
        """
        from arstore.api.values import Untagged

        done = self._open().untag(name)
        return Untagged(done.name, done.digest, tuple(done.left))

    def remove(self, *images: Named, force: bool = False, dry_run: bool = False) -> Removal:
        """Remove all given images and their unshared content, or nothing at all.

        If an image has several names, only the given name is removed. The image is removed with its last name, or with
        all names if it is given by digest. With *force*, its containers are stopped and removed first. With *dry_run*,
        return the plan without changing the store.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
            InUseError: a container, a mount or another process uses one of them.
        """
        from arstore.api.upkeep import remove

        return remove(self._open(), [query_of(one) for one in images], force=force, dry_run=dry_run)

    # --- imports and copies -----------------------------------------------------------------------------------------

    def import_images(
        self,
        source: Path,
        *,
        name: str = "",
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        tree: str | None = None,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        keys: DecryptionKeys | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Import every image of *source*: a path, or `TRANSPORT:REFERENCE`, as for the command `arstore import`.

        *platform* is `OS/ARCH[/VARIANT]`, by default the host's; *all_platforms* imports complete indexes. *name*
        replaces the name of a single image. *referrers* decides whether signatures, attestations and SBOMs are
        imported too; by default they are, except from a registry. *tree* and *limits* are by default the configured
        ones. *keys* decrypt layers. Either all images are imported or none. A missing store is created. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged; the store is unchanged.
            RegistryError: a registry cannot be reached or refuses a request; the store is unchanged.
            UsageError: *name* is given, but the source has several images; or *platform* is given with *all_platforms*.
        """
        from arstore.api.importing import import_into, wanted

        chosen = wanted(platform, all_platforms, referrers)
        options = self._import_options(name, chosen, tree, limits, registries, keys)
        with self._bringing() as store:
            return import_into(store, [os.fspath(source)], options, progress)

    def import_image(
        self, source: Path, *, name: str = "", platform: str = "", progress: Progress | None = None
    ) -> Image:
        """Import the only image of *source*, and return it. Arguments as for `import_images`. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged; the store is unchanged.
            RegistryError: a registry cannot be reached or refuses a request; the store is unchanged.
            UsageError: the source has several images.
        """
        from arstore.api.importing import import_into, wanted
        from arstore.api.reading import image_of

        options = self._import_options(name, wanted(platform, all_platforms=False), single=True)
        with self._bringing() as store:
            (taken,) = import_into(store, [os.fspath(source)], options, progress)
            return image_of(store.find(taken.digest))

    def import_root(
        self,
        source: Path,
        name: str,
        *,
        platform: str = "",
        created: int | None = None,
        message: str = "",
        changes: Sequence[str] = (),
        tree: str | None = None,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Import a tar of a root file system as an image with one layer, like `arstore import --rootfs`. Forks.

        *platform* is by default the host's. *created* is the creation time in seconds since 1970, by default
        SOURCE_DATE_EPOCH or now, *message* the comment in the history. *changes* are Dockerfile instructions for the
        config, such as `CMD ["/bin/sh"]`.

        Raises:
            SourceError: the source is missing, or not a tar; the store is unchanged.
            UsageError, InvalidReferenceError: an argument is malformed.
        """
        from arstore.api.importing import import_root, root_options

        options = root_options(name, platform, created, message, changes, tree or "", limits or self._limits())
        self._rules.refuse_unsigned("tarball", os.fspath(source))
        with self._bringing() as store:
            return import_root(store, os.fspath(source), options, progress)

    def pull(
        self,
        image: str,
        *,
        name: str = "",
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        tree: str | None = None,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        keys: DecryptionKeys | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Import an image from a registry. Arguments as for `import_images`. Forks.

        *image* is `[docker://]REGISTRY/NAME[:TAG][@DIGEST]`, or without `docker://` a short name, which registries.conf
        resolves. Of several candidates, the first that exists is imported.

        Raises:
            RegistryError: no registry has the image, can be reached, or permits the request; the store is unchanged.
            SourceError: the image is malformed or damaged; the store is unchanged.
            InvalidReferenceError: *image* is malformed.
            UsageError: *image* has another transport; or *platform* is given with *all_platforms*.
            RegistryConfigError: a configuration file of registries cannot be used.
        """
        from arstore.api.importing import import_into, pulled_from, wanted
        from arstore.registry.access import RegistryOptions

        access = registries or RegistryOptions()
        chosen = wanted(platform, all_platforms, referrers)
        options = self._import_options(name, chosen, tree, limits, access, keys)
        sources = pulled_from(image, access)
        with self._bringing() as store:
            return import_into(store, sources, options, progress)

    def _import_options(
        self,
        name: str,
        chosen: Wanted,
        tree: str | None = None,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        keys: DecryptionKeys | None = None,
        *,
        single: bool = False,
    ) -> ImportOptions:
        from arstore.transport.selection.options import ImportOptions

        known = limits or self._limits()
        return ImportOptions(name, chosen, tree or "", single, known, registries, keys, self._rules)

    def copy(
        self,
        source: Path | Image,
        destination: Path,
        *,
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        form: str = "",
        compression: str = "",
        level: int | None = None,
        preserve_digests: bool = False,
        encryption: Encryption | None = None,
        keys: DecryptionKeys | None = None,
        signer: Signer | None = None,
        remove_signatures: bool = False,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        source_registries: RegistryOptions | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy images between two of `docker:// oci: oci-archive: docker-archive: dir: store:`, like `arstore copy`.

        An `Image`, or `store:NAME`, is read from this store; a *destination* `store:[NAME]` is this store. *form* is
        `oci` or `v2s2`, *compression* is `gzip`, `zstd` or `none`, of a *level* of 1 to 9 or, for zstd, 22; by default
        nothing is converted. *encryption* encrypts layers, *keys* decrypt them, *signer* signs what is written.
        *registries* says how to reach registries; *source_registries* is for the source, if that differs. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged.
            RegistryError: a registry cannot be reached or refuses a request.
            ConversionError: a necessary or requested conversion is impossible or not allowed.
            UsageError: the arguments contradict each other.
            InvalidReferenceError: *source* or *destination* is not a valid reference.
        """
        from arstore.api.copying import STORE, Both, copy_in, copy_out, export_options, stored_name
        from arstore.api.importing import wanted
        from arstore.errors import UsageError

        chosen = wanted(platform, all_platforms, referrers)
        limits = limits or self._limits()
        options = export_options(
            form, compression, level, preserve_digests, all_platforms, limits, encryption, signer, remove_signatures
        )
        stored, target = stored_name(source), os.fspath(destination)
        both = Both(registries, source_registries or registries)
        if target.startswith(STORE):
            if stored:
                raise UsageError(stored, "is in the store already", "use tag to give it another name")
            with self._bringing() as store:
                name = target.removeprefix(STORE)
                return copy_in(store, _path(source), name, chosen, options, both, keys, self._rules, progress)
        warn_of_threads()
        inner = self._open() if stored else None
        texts = [stored] if stored else [_path(source)]
        return copy_out(inner, texts, target, chosen, options, both, keys, self._rules, progress)

    def save(
        self,
        images: Sequence[Named],
        output: Path,
        *,
        kind: str = "oci-archive",
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        compression: str = "",
        level: int | None = None,
        preserve_digests: bool = False,
        encryption: Encryption | None = None,
        signer: Signer | None = None,
        remove_signatures: bool = False,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Write images of the store to one file, like `arstore save`. Forks.

        *kind* is `oci-archive`, `docker-archive` or `docker-oci-archive`; or `oci` or `dir` for a directory. The
        *output* `-` is standard output. The other arguments are those of `copy`.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            ConversionError: a necessary or requested conversion is impossible or not allowed.
            UsageError: the arguments contradict each other.
        """
        from arstore.api.copying import export_options, save
        from arstore.api.importing import wanted

        warn_of_threads()
        chosen = wanted(platform, all_platforms, referrers)
        limits = limits or self._limits()
        options = export_options(
            "", compression, level, preserve_digests, all_platforms, limits, encryption, signer, remove_signatures
        )
        texts = [query_of(image) for image in images]
        return save(self._open(), texts, os.fspath(output), kind, chosen, options, self._rules, progress)

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
        from arstore.api.values import Unpacked
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
        return run(store, query_of(image), args, options, name, keep, timeout, self._runtime(runtime), progress)

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


def _path(source: Path | Image) -> str:
    return source.digest if not isinstance(source, str | os.PathLike) else os.fspath(source)
