"""Copy from a store, or from any other source, to a file, a directory or a registry."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from arstore.disk.access import Access
from arstore.errors import (
    BRING_BACK,
    ConversionError,
    DigestMismatchError,
    MissingBlobError,
    SizeMismatchError,
    StoreDamagedError,
    TruncatedError,
)
from arstore.transport.admission import gate_for
from arstore.transport.embedded import EmbeddedBlobs
from arstore.transport.export.beside import beside_names, beside_source
from arstore.transport.export.export import Export
from arstore.transport.export.from_store import store_source
from arstore.transport.export.options import Exported, ExportOptions
from arstore.transport.export.spool import TemporarySpool
from arstore.transport.location import REGISTRY, path_in
from arstore.transport.selection.selector import Selector, Wanted
from arstore.trust.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.registry.access import RegistryOptions
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.selection.taking import Selection
    from arstore.transport.sink import ImageSink
    from arstore.transport.sinks.destination import Destination
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import Spool


def export_stored(
    store: Store,
    texts: Sequence[str],
    destination: Destination,
    wanted: Wanted,
    options: ExportOptions,
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
    registries: RegistryOptions | None = None,
    rules: Rules | None = None,
    sink: ImageSink | None = None,
) -> Exported:
    """Copy the images that *texts* name in *store*; *registries* says how to reach a registry, *rules* name the policy
    that the images must satisfy. *sink* is that of *destination* if it is open already.

    Raises RejectedError, PolicyError, StoreDamagedError for missing or altered content of the store, and the errors of
    `Store.find`, of `Selector`, of `Export.run` and of the sink.
    """

    from arstore.transport.export.content import Contents

    with store_source(store, texts) as source, _spool_in(store) as spool:
        with _damage():
            selection = Selector(source, for_destination(wanted, destination), options.limits, skipped).select()
        _require_admitted(store, selection, rules or Rules())
        if destination.name:
            selection.rename(destination.name, source.what)
        around = beside_names(store, destination)
        opened = destination.open(registries, around) if sink is None else nullcontext(sink)
        with EmbeddedBlobs(source, selection.embedded, spool) as blobs, opened as target:
            contents = Contents(blobs, options.limits, source.open_tar, is_store=True)
            return Export(source, contents, target, spool, options, progress, source.tar_size).run(selection)


def export_reference(
    reference: str,
    destination: Destination,
    wanted: Wanted,
    options: ExportOptions,
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
    registries: RegistryOptions | None = None,
    source_registries: RegistryOptions | None = None,
    keys: DecryptionKeys | None = None,
    rules: Rules | None = None,
) -> Exported:
    """Copy every image in *reference* (a path, `-`, or `TRANSPORT:REFERENCE`) without using a store.

    *source_registries* says how to reach a registry as a source, *registries* one as a destination. *keys* decrypt
    layers; without them, encrypted layers are copied as they are. *rules* name the policy that images must satisfy.

    Raises the errors of the source, of `Selector`, of `plain_blobs`, of `Export.run` and of the sink.
    """

    from arstore.transport.decryption.blobs import plain_blobs
    from arstore.transport.detect import open_source
    from arstore.transport.export.content import Contents

    spool = TemporarySpool()
    with open_source(reference, spool, limits=options.limits, registries=source_registries) as source:
        gate = gate_for(rules or Rules(), source, path_in(reference))
        selection = Selector(source, for_destination(wanted, destination), options.limits, skipped, gate).select()
        if destination.name:
            selection.rename(destination.name, source.what)
        around = beside_source(source, destination)
        if keys is not None and selection.encrypted and options.preserve_digests:
            why = "is encrypted, and its digest would change when it is decrypted"
            raise ConversionError(f"image {min(selection.encrypted)}", why, "leave one of the two options out")
        with (
            plain_blobs(source, selection, spool, keys, progress, options.limits, verify=True) as blobs,
            destination.open(registries, around) as sink,
        ):
            contents = Contents(blobs, options.limits)
            return Export(source, contents, sink, spool, options, progress).run(selection)


def for_destination(wanted: Wanted, destination: Destination) -> Wanted:
    """*wanted*, but for a registry, attachments are copied only on request, because they cost requests."""
    if destination.kind == REGISTRY and wanted.referrers is None:
        return wanted._replace(referrers=False)
    return wanted


def _require_admitted(store: Store, selection: Selection, rules: Rules) -> None:
    """Apply the policy to images of *store*, using the verdicts that it keeps. Raises RejectedError, PolicyError."""
    if rules.is_open:
        return
    from arstore.transport.admission.kept import require_admitted

    for digest in selection.images:
        require_admitted(store, store.find(digest), rules)


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (MissingBlobError, DigestMismatchError, SizeMismatchError, TruncatedError) as error:
        raise StoreDamagedError(error.what, error.why, BRING_BACK) from error


@contextmanager
def _spool_in(store: Store) -> Iterator[Spool]:
    """A spool in *store*; if the user cannot write there, in the directory for temporary files."""

    from arstore.disk.staging import Ingest

    if store.graph.access is not Access.OWNER:
        yield TemporarySpool()
        return
    with Ingest(store.directories) as ingest:
        yield ingest
