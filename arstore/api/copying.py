"""Copies, as the library offers them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.importing import import_into, skipped_entries
from arstore.api.reading import image_of
from arstore.api.values.copies import Copied, CopiedImage, CopiedLayer
from arstore.api.values.images import Image
from arstore.errors import ConversionError, UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.registry.access import RegistryOptions
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.tar.compression import Compression
    from arstore.tar.limits import Limits
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.export.encryption import Encryption
    from arstore.transport.export.options import Exported, ExportOptions
    from arstore.transport.selection.options import Wanted
    from arstore.transport.signing.signer import Signer
    from arstore.transport.sink import OutgoingImage
    from arstore.transport.sinks.destination import Destination
    from arstore.transport.skipped import SkippedTop
    from arstore.trust.rules import Rules

STORE = "store:"

COMPRESSIONS = {"gzip": 9, "zstd": 22, "none": 0}
"""Compressions of a layer, each with its highest level."""


class Both(NamedTuple):
    """How to reach the registry of a destination, and that of a source; None for the defaults."""

    destination: RegistryOptions | None = None
    source: RegistryOptions | None = None


def stored_name(source: str | os.PathLike[str] | Image) -> str:
    """Return the name or digest of an image of the store; "" for any other source."""
    if isinstance(source, Image):
        return source.digest
    text = os.fspath(source)
    return text.removeprefix(STORE) if text.startswith(STORE) else ""


def export_options(
    form: str,
    compression: str,
    level: int | None,
    preserve_digests: bool,
    all_platforms: bool,
    limits: Limits,
    encryption: Encryption | None = None,
    signer: Signer | None = None,
    remove_signatures: bool = False,
) -> ExportOptions:
    """Return the options of a copy. Raises UsageError."""
    from arstore.transport.export.options import ExportOptions

    found = _compression(compression) if compression else None
    most = COMPRESSIONS.get(compression, 0)
    if level is not None and not 1 <= level <= most:
        raise UsageError(f"compression level {level}", "does not fit the compression", "gzip: 1-9, zstd: 1-22")
    return ExportOptions(
        form, found, level, preserve_digests, all_platforms, limits, encryption, signer, remove_signatures
    )


def _compression(text: str) -> Compression:
    from arstore.tar.compression import Compression

    try:
        return Compression(text)
    except ValueError:
        raise UsageError(text, "is not a compression", "gzip, zstd or none") from None


def copy_out(
    store: Store | None,
    sources: Sequence[str],
    destination: str,
    chosen: Wanted,
    options: ExportOptions,
    registries: Both,
    keys: DecryptionKeys | None,
    rules: Rules,
    progress: Progress | None,
) -> Copied:
    """Copy *sources* to *destination*, which is not a store.

    They are images of *store*; if *store* is None, the only one is a reference to another medium. Raises SourceError,
    RegistryError, StoreError, HostError, UsageError, OSError.
    """
    from arstore.transport.location import REGISTRY
    from arstore.transport.sinks.destination import parse_destination
    from arstore.transport.skipped import SkippedTop

    place, skipped = parse_destination(destination), SkippedTop()
    there, here = registries
    if store is not None and place.kind == REGISTRY and len(sources) == 1 and keys is None:
        return _push(store, sources[0], place, chosen, options, there, rules, progress)

    # Imported here: a push that brings nothing does not need it.
    from arstore.transport.export.copying import export_reference, export_stored

    if store is None:
        (source,) = sources
        done = export_reference(source, place, chosen, options, progress, skipped, there, here, keys, rules)
    elif keys is not None:
        raise UsageError(sources[0], "is in the store, where nothing is encrypted", "leave out the decryption key")
    else:
        done = export_stored(store, sources, place, chosen, options, progress, skipped, there, rules)
    return _result(done, skipped)


def _push(
    store: Store,
    source: str,
    place: Destination,
    chosen: Wanted,
    options: ExportOptions,
    registries: RegistryOptions | None,
    rules: Rules,
    progress: Progress | None,
) -> Copied:
    """Copy an image of *store* to a registry, unless the registry has it under this tag."""
    from arstore.transport.export.beside import beside_names
    from arstore.transport.export.known import known_there
    from arstore.transport.skipped import SkippedTop

    skipped = SkippedTop()
    with place.open_registry(registries, beside_names(store, place)) as sink:
        done = known_there(store, source, place, sink, chosen, options, rules, progress)
        if done is None:
            from arstore.transport.export.copying import export_stored

            done = export_stored(store, [source], place, chosen, options, progress, skipped, None, rules, sink)
    return _result(done, skipped)


def save(
    store: Store,
    images: Sequence[str],
    output: str,
    kind: str,
    chosen: Wanted,
    options: ExportOptions,
    rules: Rules,
    progress: Progress | None,
) -> Copied:
    """Write *images* of *store* to the file or directory *output*.

    Raises StoreError, HostError, UsageError, OSError.
    """
    from arstore.transport.export.copying import export_stored
    from arstore.transport.sinks.destination import destination_of
    from arstore.transport.skipped import SkippedTop

    place, skipped = destination_of(output, kind), SkippedTop()
    return _result(export_stored(store, images, place, chosen, options, progress, skipped, rules=rules), skipped)


def copy_in(
    store: Store,
    source: str,
    name: str,
    chosen: Wanted,
    how: ExportOptions,
    registries: Both,
    keys: DecryptionKeys | None,
    rules: Rules,
    progress: Progress | None,
) -> Copied:
    """Copy *source* into *store*; *name* replaces its name, unless it is empty.

    Raises SourceError, RegistryError, StoreError, HostError, UsageError, ConversionError, OSError.
    """
    from arstore.transport.selection.options import ImportOptions

    if how.converts:
        why = "the store keeps images unchanged, so no conversion is possible"
        raise ConversionError(f"{STORE}{name}", why, "leave the option out, or copy to another medium")
    access = registries.source
    options = ImportOptions(name.strip(), chosen, limits=how.limits, registries=access, keys=keys, rules=rules)
    done = import_into(store, [source], options, progress)
    images = [image_of(store.find(image.digest)) for image in done.images]
    return Copied(
        images=tuple(
            CopiedImage(
                one.digest,
                one.names,
                one.media_type,
                one.platform,
                one.manifests,
                one.config,
                tuple(
                    CopiedLayer(layer.digest, layer.diff_id, layer.chain_id, layer.compressed_size)
                    for layer in taken.layers
                ),
            )
            for one, taken in zip(images, done.images, strict=True)
        ),
        skipped=done.skipped,
        skipped_count=done.skipped_count,
    )


def _result(done: Exported, skipped: SkippedTop) -> Copied:
    return Copied(
        images=tuple(map(_copied, done.tops)),
        skipped=skipped_entries([skipped]),
        skipped_count=skipped.count,
        sparse=done.sparse,
        dropped=done.dropped,
        encrypted=done.locked,
        attached=done.attached,
        left=done.left,
    )


def _copied(image: OutgoingImage) -> CopiedImage:
    from arstore.oci.chain import chain_ids

    chain = chain_ids([layer.diff_id for layer in image.layers])
    return CopiedImage(
        digest=str(image.descriptor.digest),
        names=image.names,
        media_type=image.descriptor.media_type,
        platform=str(image.descriptor.platform or ""),
        manifests=tuple(map(str, image.members)),
        config=str(image.config_digest or ""),
        layers=tuple(
            CopiedLayer(str(layer.descriptor.digest), str(layer.diff_id), str(chain_id), layer.descriptor.size)
            for layer, chain_id in zip(image.layers, chain, strict=True)
        ),
    )
