"""Imports, as the library offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.values.images import Image
from arstore.api.values.imports import Imported, ImportedImage, ImportedLayer, MovedName, Skipped
from arstore.errors import RegistryAccessError, RegistryNotFoundError, RegistryUnreachableError, UsageError
from arstore.trees.forms import AUTO, FORMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.registry.access import RegistryOptions
    from arstore.store.ingest.incoming import TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.tar.limits import Limits
    from arstore.transport.root_tar import RootTarOptions
    from arstore.transport.selection.options import ImportOptions, Wanted
    from arstore.transport.skipped import SkippedTop

REGISTRY = "docker://"


def wanted(platform: str, all_platforms: bool, referrers: bool | None = None) -> Wanted:
    """Return the choice among the images of an index. Raises UsageError, InvalidReferenceError."""
    from arstore.oci.platform import parse
    from arstore.transport.selection.options import Wanted

    if platform and all_platforms:
        raise UsageError("platform", "and all platforms exclude each other", "give one of them")
    return Wanted(parse(platform) if platform else None, all_platforms, referrers)


def pulled_from(image: str, options: RegistryOptions) -> list[str]:
    """Return the sources that *image* may mean, with their transport, in the order in which they are tried.

    Raises UsageError, InvalidReferenceError, RegistryConfigError.
    """
    if image.startswith(REGISTRY):
        return [image]
    from arstore.oci.reference import parse_transport
    from arstore.registry.access import Access
    from arstore.registry.configuration.short_names import candidates_for

    transport = parse_transport(image)[0]
    if transport:
        raise UsageError(image, f"{transport}: is not a registry", "use `arstore import`")
    with Access(options) as access:
        return [f"{REGISTRY}{one}" for one in candidates_for(image, access.conf, access.places)]


def import_into(
    store: Store, sources: Sequence[str], options: ImportOptions, progress: Progress | None = None
) -> Imported:
    """Import the first of *sources* that exists.

    Raises SourceError, RegistryError, StoreError, HostError, UsageError, OSError. If no source exists, the error is
    that of the last one, and its text also quotes those of the earlier ones.
    """
    from arstore.transport.skipped import SkippedTop

    if options.tree not in {"", AUTO} and options.tree not in store.forms:
        known = ", ".join(sorted(FORMS.keys() & store.forms.keys()))
        raise UsageError(f"--tree {options.tree}", "this arstore does not have that tree format", f"it has: {known}")
    skipped = SkippedTop()
    moved, cleared = len(store.moved), store.cleared
    taken = _import_first(store, sources, options, progress, skipped)
    return Imported(
        images=imported_images(taken),
        skipped=skipped_entries([skipped]),
        skipped_count=skipped.count,
        moved=moved_since(store, moved),
        cleared=store.cleared - cleared,
        indexes=_indexes(store, taken) if options.wanted.every else (),
        mountable=not (obstacle := _obstacle(store, taken)),
        obstacle=obstacle,
    )


def _obstacle(store: Store, taken: Iterable[TakenImage]) -> str:
    """Return why layer trees of these images were not built; "" if they were."""
    if store.makes_trees:
        return next((image.denied for image in taken if image.denied), "")
    from arstore.linux.isolation import rootless

    return rootless.refused or "this user lacks the privileges"


def _import_first(
    store: Store,
    sources: Sequence[str],
    options: ImportOptions,
    progress: Progress | None,
    skipped: SkippedTop,
) -> list[TakenImage]:
    from arstore.transport.copy import import_reference

    *others, last = sources
    failed: list[str] = []
    for source in others:
        try:
            return import_reference(store, source, options, progress, skipped)
        except (RegistryNotFoundError, RegistryAccessError, RegistryUnreachableError) as error:
            failed.append(str(error))
    try:
        return import_reference(store, last, options, progress, skipped)
    except (RegistryNotFoundError, RegistryAccessError, RegistryUnreachableError) as error:
        if not failed:
            raise
        why = f"{error.why}; the registries tried before: {'; '.join(failed)}"
        raise type(error)(error.what, why, error.hint) from error


def _indexes(store: Store, taken: Sequence[TakenImage]) -> tuple[Image, ...]:
    """Return the indexes of the store that list any of these images."""
    from arstore.api.reading import image_of

    digests = {image.digest for image in taken}
    return tuple(image_of(image) for image in store.images() if not digests.isdisjoint(image.record.manifests))


def moved_since(store: Store, before: int) -> tuple[MovedName, ...]:
    """Return the names that have moved, without the first *before* ones that this process has moved."""
    return tuple(MovedName(*one) for one in store.moved[before:])


def root_options(
    name: str,
    platform: str,
    created: int | None,
    message: str,
    changes: Sequence[str],
    tree: str,
    limits: Limits,
) -> RootTarOptions:
    """Return the options of an image that is made from a tar. Raises UsageError, InvalidReferenceError."""
    from arstore.oci.instruction import Instruction
    from arstore.oci.platform import host, parse
    from arstore.oci.timestamp import creation_time
    from arstore.transport.root_tar import RootTarOptions

    return RootTarOptions(
        name,
        parse(platform) if platform else host(),
        creation_time() if created is None else created,
        message,
        tuple(Instruction.parse(text) for text in changes),
        tree,
        limits,
    )


def import_root(store: Store, source: str, options: RootTarOptions, progress: Progress | None) -> Imported:
    """Import a tar of a root file system. Raises SourceError, StoreError, HostError, UsageError, OSError."""
    from arstore.transport.root_tar import import_root_tar

    moved, cleared = len(store.moved), store.cleared
    taken = import_root_tar(store, source, options, progress)
    return Imported(
        images=imported_images([taken]),
        moved=moved_since(store, moved),
        cleared=store.cleared - cleared,
        mountable=not (obstacle := _obstacle(store, [taken])),
        obstacle=obstacle,
    )


def imported_images(taken: Iterable[TakenImage]) -> tuple[ImportedImage, ...]:
    """Return imported images as values."""
    return tuple(
        ImportedImage(
            digest=str(image.digest),
            names=image.names,
            platform=image.platform,
            config=str(image.config),
            layers=tuple(
                ImportedLayer(
                    str(layer.digest),
                    str(layer.diff_id),
                    str(layer.chain_id),
                    layer.size,
                    layer.compressed_size,
                    layer.reused,
                )
                for layer in image.layers
            ),
            dropped_xattrs=sum(layer.dropped for layer in image.layers),
            attachments=tuple(map(str, image.attachments)),
        )
        for image in taken
    )


def skipped_entries(reports: Iterable[SkippedTop]) -> tuple[Skipped, ...]:
    """Return the skipped entries in *reports*."""
    return tuple(Skipped(**document) for report in reports for document in report.documents())
