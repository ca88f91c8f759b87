"""Moving images: from any source into the store, all that a source brings or nothing of it.

The order is the same whatever the medium: list, choose, verify the documents, let the store take the layers, publish
once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.disk.staging import Ingest
from arstore.errors import UsageError
from arstore.oci.reference import parse_name
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.detect import open_source
from arstore.transport.embedded import EmbeddedBlobs
from arstore.transport.selection.selector import Selector, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.registry.access import RegistryOptions
    from arstore.store.ingest.incoming import TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import ImageSource, Spool


@dataclass(slots=True, frozen=True)
class ImportOptions:
    """How to import: a *name* for the one image that comes, which platforms, which tree form (or `auto`).

    *single* refuses a source that brings more than one image; *limits* are for its layers, its
    documents and the archive; *registries* says how registries are reached.
    """

    name: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    tree: str = "auto"
    single: bool = False
    limits: Limits = DEFAULT_LIMITS
    registries: RegistryOptions | None = None


DEFAULTS = ImportOptions()


def import_reference(
    store: Store,
    reference: str,
    options: ImportOptions = DEFAULTS,
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
) -> list[TakenImage]:
    """Import every image that *reference* (a path, `-`, or `TRANSPORT:REFERENCE`) holds; *skipped* learns of the rest.

    Raises the errors of the source, of `Selector` and of `Store.take`; the store is then as it was.
    """

    def opened(spool: Spool) -> ImageSource:
        return open_source(reference, spool, limits=options.limits, registries=options.registries)

    return import_opened(store, opened, options, progress, skipped)


def import_opened(
    store: Store,
    opened: Callable[[Spool], ImageSource],
    options: ImportOptions = DEFAULTS,
    progress: Progress | None = None,
    skipped: SkippedTop | None = None,
) -> list[TakenImage]:
    """As `import_reference`, for a source that *opened* makes, given where streams may be spooled."""
    store.clearance.make()
    with Ingest(store.directories) as spool, opened(spool) as source:
        selection = Selector(source, options.wanted, options.limits, skipped).select()
        if options.name:
            selection.rename(str(parse_name(options.name)), source.what)
        if options.single and len(selection.images) != 1:
            raise UsageError(source.what, f"holds {len(selection.images)} images, and one is wanted")
        forms = store.tree_forms(options.tree)
        images = list(selection.images.values())
        indexes = list(selection.indexes.values())
        with EmbeddedBlobs(source, selection.embedded, spool) as blobs:
            attached = selection.attachments
            return store.take(
                images, indexes, blobs, forms, progress, spool, limits=options.limits, attachments=attached
            )
