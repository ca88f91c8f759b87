"""The work of `Store.take`: room is made, what is missing is read, and all of it is published.

It is repeated if another process has removed something that it reuses, if a stored blob has turned out to be lost, or
if the disk was full and cached trees could be given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.disk import granted_ids
from arstore.disk.claims import Claims
from arstore.disk.staging import Ingest
from arstore.errors import WRONG_CONTENT, ArstoreError, HostError, MissingBlobError, is_no_space
from arstore.store.ingest.intake import Intake
from arstore.store.ingest.publish import VanishedError, publish
from arstore.store.progress import NoProgress
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.store.ingest.incoming import BlobSource, IncomingAttachment, IncomingImage, IncomingIndex, TakenImage
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.ingest.need import Need
    from arstore.store.leftovers import Clearance
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.trees.attributes import Dropped
    from arstore.trees.format import TreeFormat

_MOST_CLAIMED = 1024
"""Maximum number of layers claimed at once, largest first: the kernel scans a file's locks for each new one."""

_ATTEMPTS = 5
"""How often work is repeated."""

_ONCE_MORE = 64 << 20
"""Bytes of trees that are given up, at least, when the disk was full in the middle of the work."""


class Place(Protocol):
    """The part of `Store` that this work uses."""

    directories: Directories
    graph: Graph
    fit: Callable[[Need, Sequence[str]], None] | None
    file_digests: str

    @property
    def clearance(self) -> Clearance:
        """Deletion of leftovers, and room for what comes."""

    def inventory(self, again: frozenset[str], own_trees: bool) -> Inventory:
        """The content that is there and trusted, except for the trees *again*."""

    def release(self) -> None:
        """Close the graph, as needed before a fork."""

    def require_lender(self, digest: str) -> None:
        """Raise AdditionalStoreError for a missing blob, if it is recorded as lent."""

    def note_taken(self, moved: Mapping[str, str], names: Mapping[str, str], dropped: Dropped) -> None:
        """Note what was published."""


class Taking:
    """One piece of work for *store*; the parameters are those of `Store.take`."""

    def __init__(
        self,
        store: Place,
        blobs: BlobSource,
        forms: tuple[TreeFormat, ...],
        progress: Progress | None,
        spool: Ingest | None,
        again: frozenset[str],
        limits: Limits | None,
        own_trees: bool,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._forms = forms
        self._progress = progress or NoProgress()
        self._spool = spool
        self._again = again
        self._limits = limits
        self._own_trees = own_trees
        self._kept: dict[str, str] = {}
        self._once_more = _ONCE_MORE

    def take(
        self,
        images: Sequence[IncomingImage],
        indexes: Sequence[IncomingIndex],
        attachments: Sequence[IncomingAttachment],
        hints: Mapping[tuple[str, str, str], str],
    ) -> list[TakenImage]:
        """See `Store.take`."""
        store = self._store
        store.graph.verify()
        if self._forms:
            granted_ids.record(store.directories.root)
        attempts = 0
        store.clearance.make()
        with Claims(store.directories.claims) as claims:
            while attempts < _ATTEMPTS:
                inventory = store.inventory(self._again, self._own_trees)
                with Ingest(store.directories) as ingest:
                    intake = Intake(
                        inventory,
                        ingest,
                        self._blobs,
                        self._forms,
                        self._progress,
                        self._spool,
                        self._limits,
                        self._kept,
                        store.file_digests,
                    )
                    missing = intake.missing(images)
                    if not claims.take(sorted(missing, key=missing.__getitem__)[-_MOST_CLAIMED:]):
                        # Another process has just done some of the work, or has given it up.
                        continue
                    need = intake.need(images, attachments)
                    store.clearance.make(need, missing)
                    lacking = store.clearance.lacking(need) or 0
                    attempts += 1
                    reached("take.claimed")
                    try:
                        self._fit(need)
                        work = intake.take(images, indexes, attachments)
                        work.hints = hints
                        self._fit(need, intake.staged())
                        moved = publish(store.directories, store.graph, ingest, work)
                        store.note_taken(moved, work.names, intake.dropped)
                        intake.drop_beginnings()
                        return [intake.taken(image) for image in images]
                    except VanishedError:
                        pass
                    except (ArstoreError, OSError) as error:
                        if isinstance(error, MissingBlobError):
                            store.require_lender(error.what)
                        misled = isinstance(error, WRONG_CONTENT) and intake.drop_beginnings()
                        if not (misled or inventory.has_lost() or self._has_made_room(error, need, lacking)):
                            raise
                    finally:
                        intake.close()
                    self._kept |= intake.keep_blobs()
                    claims.release()
        raise HostError(store.directories.root, "another process keeps removing content that this one reuses")

    def _fit(self, need: Need, staged: Sequence[str] = ()) -> None:
        """Keep the store within its budget; with *staged* files, need is what these take on disk. Raises BudgetError.

        Not if trees are only exchanged, or nothing comes.
        """
        if self._store.fit is not None and not self._again and (need.bytes or staged):
            self._store.fit(need, staged)
            # A process must not fork while it has the graph open.
            self._store.release()

    def _has_made_room(self, error: ArstoreError | OSError, need: Need, lacking: int) -> bool:
        """Whether the work failed because the disk is full, and trees were given up since.

        The size of a tree is not known before. So as much is given up as the blobs take, and each time twice as much;
        but nothing if that would not even free the bytes *lacking* for the blobs.
        """
        if not is_no_space(error):
            return False
        self._once_more = max(self._once_more * 2, need.bytes)
        return self._store.clearance.give_up(self._once_more, max(lacking, 0), need.sparing) > 0
