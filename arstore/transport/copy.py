"""Import images from any source into the store: all that the source brings, or nothing.

The steps are the same for every medium: list, choose, verify the documents, let the store read the layers, publish
once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arstore.transport.location import REGISTRY, parse_location, path_in
from arstore.transport.selection.options import ImportOptions as ImportOptions
from arstore.transport.selection.options import Wanted as Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from arstore.disk.staging import Ingest
    from arstore.store.ingest.incoming import BlobSource, IncomingAttachment, TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.admission.gate import Gate
    from arstore.transport.selection.taking import Selection
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import ImageSource, Spool
    from arstore.trust.rules import Rules


DEFAULTS = ImportOptions()


def import_reference(
    store: Store,
    reference: str,
    options: ImportOptions = DEFAULTS,
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
) -> list[TakenImage]:
    """Import every image in *reference* (a path, `-`, or `TRANSPORT:REFERENCE`); *skipped* records what is passed over.

    Raises the errors of the source, of `Selector` and of `Store.take`; the store is unchanged then.
    """

    location = parse_location(reference)
    if location.transport == REGISTRY:
        return _import_from_registry(store, location.path, options, progress, skipped)

    def opened(spool: Spool) -> ImageSource:
        from arstore.transport.detect import open_source

        return open_source(reference, spool, limits=options.limits, registries=options.registries)

    return import_opened(store, opened, replace(options, place=path_in(reference)), progress, skipped)


def _import_from_registry(
    store: Store, name: str, options: ImportOptions, progress: Progress | None, skipped: SkippedTop | None
) -> list[TakenImage]:
    from arstore.transport.media.bounds import bounds_of
    from arstore.transport.registry import open_registry
    from arstore.transport.selection.known import known_image

    source = open_registry(name, options.registries, bounds_of(options.limits))
    try:
        known = known_image(store, source, options, progress)
        if known is not None:
            return [known]
        # The manifest that was fetched is used again.
        return import_opened(store, lambda _: source, options, progress, skipped)
    finally:
        source.close()


def import_opened(
    store: Store,
    opened: Callable[[Spool], ImageSource],
    options: ImportOptions = DEFAULTS,
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
) -> list[TakenImage]:
    """Like `import_reference`, for a source that *opened* returns; it is given the place where streams are spooled."""
    # Imported here: an image that the store has already needs none of these.
    from arstore.disk.staging import Ingest
    from arstore.trust.rules import Rules

    rules = options.rules or Rules()
    store.clearance.make()
    with Ingest(store.directories) as spool:
        spool.relief = store.clearance.relieve
        return _taken(store, opened, options, progress, skipped, rules, spool)


def _taken(
    store: Store,
    opened: Callable[[Spool], ImageSource],
    options: ImportOptions,
    progress: Progress | None,
    skipped: SkippedTop | None,
    rules: Rules,
    spool: Ingest,
) -> list[TakenImage]:
    from arstore.errors import UsageError
    from arstore.oci.reference import parse_name
    from arstore.transport.admission import gate_for
    from arstore.transport.selection.selector import Selector

    with opened(spool) as source:
        gate = gate_for(rules, source, options.place, store.graph.release)
        selection = Selector(source, options.wanted, options.limits, skipped, gate).select()
        if options.name:
            selection.rename(str(parse_name(options.name)), source.what)
        if options.single and len(selection.images) != 1:
            raise UsageError(source.what, f"holds {len(selection.images)} images, but only one is allowed")
        forms = store.tree_forms(options.tree)
        with _blobs(store, source, selection, spool, options, progress) as blobs:
            return store.take(
                list(selection.images.values()),
                list(selection.indexes.values()),
                blobs,
                forms,
                progress,
                spool,
                limits=options.limits,
                attachments=_kept(selection, options),
                hints=_hints(rules, gate, selection),
            )


def _blobs(
    store: Store,
    source: ImageSource,
    selection: Selection,
    spool: Spool,
    options: ImportOptions,
    progress: Progress | None,
) -> AbstractContextManager[BlobSource]:
    """The blobs of the selected images, with encrypted layers decrypted. Raises DecryptionError."""
    if not selection.encrypted:
        from arstore.transport.embedded import EmbeddedBlobs

        return EmbeddedBlobs(source, selection.embedded, spool)
    from arstore.transport.decryption.blobs import plain_blobs, require_plain

    if options.keys is None:
        require_plain(selection, options.limits)
    # Processes are forked below; they must not inherit the open graph.
    store.graph.release()
    return plain_blobs(source, selection, spool, options.keys, progress, options.limits)


def _hints(rules: Rules, gate: Gate | None, selection: Selection) -> Mapping[tuple[str, str, str], str]:
    """The verdicts to keep in the store; empty if no policy was applied."""
    if gate is None or not gate.admitted:
        return {}
    from arstore.transport.admission.kept import hints_of

    return hints_of(rules, gate.admitted, selection.decrypted)


def _kept(selection: Selection, options: ImportOptions) -> list[IncomingAttachment]:
    """The attachments that still fit. Those of an encrypted image name a digest that the store does not have."""
    gone = selection.decrypted.keys()
    left = [one for one in selection.attachments if one.subject in gone]
    if left and options.keys is not None:
        options.keys.tell(f"left out {len(left)} attachments of encrypted images: the images have other digests now")
    return [one for one in selection.attachments if one.subject not in gone]
