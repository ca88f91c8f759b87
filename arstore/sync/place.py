"""The Protocol of destinations of `sync`, and the code that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError
from arstore.transport.admission import gate_for
from arstore.transport.embedded import EmbeddedBlobs
from arstore.transport.export.content import Contents
from arstore.transport.export.export import Export
from arstore.transport.export.spool import TemporarySpool
from arstore.transport.selection.selector import Selector
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from arstore.store.progress import Progress
    from arstore.sync.items import ImageName, Item
    from arstore.transport.export.options import ExportOptions
    from arstore.transport.selection.selector import Wanted
    from arstore.transport.selection.taking import Selection
    from arstore.transport.sink import ImageSink
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import ImageSource
    from arstore.trust.rules import Rules


class How(NamedTuple):
    """How images are copied: the choice within an index, conversions, and the signature policy."""

    wanted: Wanted
    options: ExportOptions
    rules: Rules


class Move(NamedTuple):
    """An image, its destination, and the digest that is there now (None for nothing)."""

    item: Item
    target: str
    there: Digest | None = None


class Copied(NamedTuple):
    """The digest at the destination now, and whether it was there before."""

    digest: Digest
    was_there: bool


class Place(Protocol):
    """A destination. A *target* is the name of an image there, as text that users can paste."""

    def target(self, name: ImageName) -> str:
        """Return the image's destination. Raises InvalidReferenceError, UsageError for a name that it cannot have."""

    def look(self, target: str) -> Digest | None:
        """Return the digest that is there now; None for nothing. Raises the errors of the medium, OSError."""

    def copy(self, move: Move, how: How, progress: Progress, skipped: SkippedTop) -> Copied:
        """Copy an image there. Raises the errors of both sides."""

    def repository(self, short: str, full: str) -> str:
        """Return the destination of a repository, without a tag. Raises InvalidReferenceError, UsageError."""

    def tags(self, repository: str) -> list[str]:
        """Return the tags that exist there. Raises the errors of the medium, OSError."""

    def remove(self, repository: str, tag: str, kept: Collection[str]) -> None:
        """Remove the tag; the *kept* tags must survive. Raises the errors of the medium, OSError."""

    def close(self) -> None:
        """Release its resources."""


def placed(prefix: str, scoped: bool, short: str, full: str) -> str:
    """Return the repository at a destination: *prefix* and the last component, or (*scoped*) the full name.

    Raises InvalidReferenceError for a full name with a port.
    """
    name = full if scoped or not prefix else short
    if prefix and ":" in name:
        why = "contains the port of a registry, which is allowed only at the start of a name"
        raise InvalidReferenceError(f"{prefix}/{name}", why, "leave --scoped out")
    return f"{prefix}/{name}" if prefix else name


def exported(
    move: Move,
    opened: Callable[[ImageSource], ImageSink],
    name: str,
    how: How,
    progress: Progress,
    skipped: SkippedTop,
) -> Copied:
    """Copy an image to the sink that *opened* opens, unless the same image is already there.

    *name* is its name there, "" for a medium without names. Raises the errors of the source, `Selector`, `Export` and
    the sink.
    """
    spool = TemporarySpool()
    with move.item.open(spool) as source:
        gate = gate_for(how.rules, source, move.item.path)
        selection = Selector(source, how.wanted, how.options.limits, skipped, gate).select()
        if name:
            selection.rename(name, source.what)
        found = top_of(selection)
        is_there = found is not None and not how.options.converts and move.there == found
        if found is not None and is_there and not selection.attachments:
            return Copied(found, True)
        with EmbeddedBlobs(source, selection.embedded, spool) as blobs, opened(source) as sink:
            contents = Contents(blobs, how.options.limits)
            done = Export(source, contents, sink, spool, how.options, progress).run(selection)
    return Copied(done.tops[0].descriptor.digest, is_there)


def top_of(selection: Selection) -> Digest | None:
    """Return the digest of the single image or index that was selected; None if there are several."""
    listed = {digest for index in selection.indexes.values() for digest in index.manifests}
    tops = [digest for digest in (*selection.indexes, *selection.images) if digest not in listed]
    return Digest(tops[0]) if len(tops) == 1 else None
