"""The Protocol of what images are synchronised to, and what all such places have in common."""

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
    from arstore.transport.export.export import ExportOptions
    from arstore.transport.selection.selector import Wanted
    from arstore.transport.selection.taking import Selection
    from arstore.transport.sink import ImageSink
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import ImageSource
    from arstore.trust.rules import Rules


class How(NamedTuple):
    """How images are copied: which of an index, what is converted, and by which signature policy."""

    wanted: Wanted
    options: ExportOptions
    rules: Rules


class Move(NamedTuple):
    """An image, where it goes, and what stands there now, None for nothing."""

    item: Item
    target: str
    there: Digest | None = None


class Copied(NamedTuple):
    """What stands at the destination now, and whether it stood there before."""

    digest: Digest
    was_there: bool


class Place(Protocol):
    """A destination. A *target* is what an image is called there, as text that people can use."""

    def target(self, name: ImageName) -> str:
        """Where the image goes. Raises InvalidReferenceError, UsageError for a name that cannot be there."""

    def look(self, target: str) -> Digest | None:
        """What stands there now; None for nothing. Raises the errors of the medium, OSError."""

    def copy(self, move: Move, how: How, progress: Progress, skipped: SkippedTop) -> Copied:
        """Copy an image there. Raises the errors of both sides."""

    def repository(self, short: str, full: str) -> str:
        """Where the images of a repository go, without a tag. Raises as `target`."""

    def tags(self, repository: str) -> list[str]:
        """The tags that are there. Raises the errors of the medium, OSError."""

    def remove(self, repository: str, tag: str, kept: Collection[str]) -> None:
        """Take the tag away; those that are *kept* must not go with it. Raises the errors of the medium, OSError."""

    def close(self) -> None:
        """Release all."""


def placed(prefix: str, scoped: bool, short: str, full: str) -> str:
    """The repository at a destination: below *prefix* by its last component, or (*scoped*) by its whole name.

    Raises InvalidReferenceError for a whole name that has a port.
    """
    name = full if scoped or not prefix else short
    if prefix and ":" in name:
        why = "has the port of a registry in it, which can stand only at the beginning of a name"
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
    """Copy an image to the sink that *opened* opens, unless the very image that would come is there.

    *name* is what it is called there, "" for a medium without names. Raises the errors of source, `Selector`, `Export`
    and sink.
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
    """The digest of the one thing that was selected; None for several."""
    listed = {digest for index in selection.indexes.values() for digest in index.manifests}
    tops = [digest for digest in (*selection.indexes, *selection.images) if digest not in listed]
    return Digest(tops[0]) if len(tops) == 1 else None
