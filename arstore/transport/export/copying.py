"""Copying from a store, or from any other source, to a destination that is a file, a directory or a registry."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.disk.access import Access
from arstore.disk.staging import Ingest
from arstore.errors import (
    BRING_BACK,
    DigestMismatchError,
    MissingBlobError,
    SizeMismatchError,
    StoreDamagedError,
    TruncatedError,
)
from arstore.transport.detect import open_source
from arstore.transport.embedded import EmbeddedBlobs
from arstore.transport.export.content import Contents
from arstore.transport.export.export import Export, Exported, ExportOptions
from arstore.transport.export.from_store import store_source
from arstore.transport.export.spool import TemporarySpool
from arstore.transport.selection import Selector, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.sink import ImageSink
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import Spool

    Opened = Callable[[], ImageSink]
    """What begins to write to the destination; called when the source was found to be good."""


def export_stored(
    store: Store,
    texts: Sequence[str],
    sink: Opened,
    wanted: Wanted,
    options: ExportOptions,
    name: str = "",
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
) -> Exported:
    """Copy the images that *texts* mean in *store*; *name* is that of the one image that is copied, if given.

    Raises the errors of `Store.find`, of `Selector`, of `Export.run` and of the sink; StoreDamagedError for what the
    store should have and has not, or not as it was.
    """
    with store_source(store, texts) as source, _spool_in(store) as spool:
        with _damage():
            selection = Selector(source, wanted, options.limits, skipped).select()
        if name:
            selection.rename(name, source.what)
        with EmbeddedBlobs(source, selection.embedded, spool) as blobs, sink() as opened:
            contents = Contents(blobs, options.limits, source.open_tar, is_store=True)
            return Export(source, contents, opened, spool, options, progress, source.tar_size).run(selection)


def export_reference(
    reference: str,
    sink: Opened,
    wanted: Wanted,
    options: ExportOptions,
    name: str = "",
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
) -> Exported:
    """Copy every image that *reference* (a path, `-`, or `TRANSPORT:REFERENCE`) holds; no store takes part.

    Raises the errors of the source, of `Selector`, of `Export.run` and of the sink.
    """
    spool = TemporarySpool()
    with open_source(reference, spool, limits=options.limits) as source:
        selection = Selector(source, wanted, options.limits, skipped).select()
        if name:
            selection.rename(name, source.what)
        with EmbeddedBlobs(source, selection.embedded, spool) as blobs, sink() as opened:
            contents = Contents(blobs, options.limits)
            return Export(source, contents, opened, spool, options, progress).run(selection)


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (MissingBlobError, DigestMismatchError, SizeMismatchError, TruncatedError) as error:
        raise StoreDamagedError(error.what, error.why, BRING_BACK) from error


@contextmanager
def _spool_in(store: Store) -> Iterator[Spool]:
    """A spool in *store*; where nobody can write to that, among the temporary files."""
    if store.graph.access is Access.FROZEN:
        yield TemporarySpool()
        return
    with Ingest(store.directories) as ingest:
        yield ingest
