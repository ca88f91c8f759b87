"""Imports and copies, as the library offers them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.reading import image_of
from arstore.api.values import (
    Copied,
    CopiedImage,
    Image,
    Imported,
    ImportedImage,
    ImportedLayer,
    MovedName,
    Skipped,
)
from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.registry.access import RegistryOptions
    from arstore.store.ingest.incoming import TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.copy import ImportOptions
    from arstore.transport.export.export import ExportOptions
    from arstore.transport.selection.selector import Wanted
    from arstore.transport.sink import OutgoingImage
    from arstore.transport.skipped import SkippedTop
    from arstore.trust.rules import Rules

STORE = "store:"


class How(NamedTuple):
    """Options of a copy: the choice of images and the conversions (as in `Store.copy`), and the policy."""

    platform: str = ""
    all_platforms: bool = False
    form: str = ""
    compression: str = ""
    level: int | None = None
    preserve_digests: bool = False
    rules: Rules | None = None


def wanted(platform: str, all_platforms: bool) -> Wanted:
    """Return the choice among the images of an index. Raises UsageError, InvalidReferenceError."""
    from arstore.oci.platform import parse
    from arstore.transport.selection.selector import Wanted

    if platform and all_platforms:
        raise UsageError("platform", "and all_platforms exclude each other")
    return Wanted(parse(platform) if platform else None, all_platforms)


def import_into(store: Store, source: str, options: ImportOptions, progress: Progress | None) -> Imported:
    """Import *source*. Raises SourceError, RegistryError, StoreError, HostError, UsageError, OSError."""
    from arstore.transport.copy import import_reference
    from arstore.transport.skipped import SkippedTop

    skipped = SkippedTop()
    moved, cleared = len(store.moved), store.cleared
    taken = import_reference(store, source, options, progress, skipped)
    return Imported(
        images=imported_images(taken),
        skipped=skipped_entries([skipped]),
        skipped_count=skipped.count,
        moved=tuple(MovedName(*one) for one in store.moved[moved:]),
        cleared=store.cleared - cleared,
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
        )
        for image in taken
    )


def skipped_entries(reports: Iterable[SkippedTop]) -> tuple[Skipped, ...]:
    """Return the skipped entries in *reports*."""
    return tuple(Skipped(**document) for report in reports for document in report.documents())


def stored_name(source: str | os.PathLike[str] | Image) -> str:
    """Return the name or digest of an image of the store; "" for any other source."""
    if isinstance(source, Image):
        return source.digest
    text = os.fspath(source)
    return text.removeprefix(STORE) if text.startswith(STORE) else ""


def copy_out(
    store: Store | None,
    source: str,
    destination: str,
    how: How,
    registries: RegistryOptions | None,
    progress: Progress | None,
) -> Copied:
    """Copy *source* to *destination*, which is not a store.

    *source* is an image of *store*; if *store* is None, it is a reference to another medium. Raises SourceError,
    RegistryError, StoreError, HostError, UsageError, OSError.
    """
    from arstore.transport.export.copying import export_reference, export_stored
    from arstore.transport.sinks.destination import parse_destination
    from arstore.transport.skipped import SkippedTop

    place, options, skipped = parse_destination(destination), _export_options(how), SkippedTop()
    chosen = wanted(how.platform, how.all_platforms)
    if store is not None:
        done = export_stored(store, [source], place, chosen, options, progress, skipped, registries, how.rules)
    else:
        done = export_reference(
            source, place, chosen, options, progress, skipped, registries, registries, rules=how.rules
        )
    return Copied(
        images=tuple(map(_copied, done.tops)),
        skipped=skipped_entries([skipped]),
        skipped_count=skipped.count,
        sparse=done.sparse,
        dropped=done.dropped,
    )


def copy_in(
    store: Store, source: str, name: str, how: How, registries: RegistryOptions | None, progress: Progress | None
) -> Copied:
    """Copy *source* into *store*; *name* replaces its name, unless it is empty.

    Raises SourceError, RegistryError, StoreError, HostError, UsageError, OSError.
    """
    from arstore.transport.copy import ImportOptions

    if how.form or how.compression:
        raise UsageError(STORE, "the store keeps images as they come, and converts nothing", "copy to another medium")
    options = ImportOptions(
        name.strip(), wanted(how.platform, how.all_platforms), registries=registries, rules=how.rules
    )
    done = import_into(store, source, options, progress)
    images = [image_of(store.find(image.digest)) for image in done.images]
    return Copied(
        images=tuple(CopiedImage(one.digest, one.names, one.media_type, one.platform, one.manifests) for one in images),
        skipped=done.skipped,
        skipped_count=done.skipped_count,
    )


def _export_options(how: How) -> ExportOptions:
    from arstore.tar.compression import Compression
    from arstore.transport.export.export import ExportOptions

    try:
        compression = Compression(how.compression) if how.compression else None
    except ValueError:
        raise UsageError(how.compression, "is not a compression", "gzip, zstd or none") from None
    return ExportOptions(how.form, compression, how.level, how.preserve_digests, how.all_platforms)


def _copied(image: OutgoingImage) -> CopiedImage:
    return CopiedImage(
        digest=str(image.descriptor.digest),
        names=image.names,
        media_type=image.descriptor.media_type,
        platform=str(image.descriptor.platform or ""),
        manifests=tuple(map(str, image.members)),
    )
