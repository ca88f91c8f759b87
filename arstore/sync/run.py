"""One run of `sync`: the plan, and what becomes of it.

For each image: what does its name stand for at the source, and at the destination? The same: nothing is done, and
nothing is pulled. Else it is copied, by the very algorithm of `copy`: blobs that are there are not moved, so a run that
was killed is simply given again. One image that fails does not end the run; a full disk does, and so does a registry
that cannot be reached several times in a row.

Tags are deleted last, and only in repositories at the destination of which the source's whole list of tags is known.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from arstore.errors import (
    ArstoreError,
    ConflictError,
    InterruptedByUserError,
    ManifestError,
    NoSpaceError,
    RegistryUnreachableError,
    StoreDamagedError,
    from_os_error,
)
from arstore.sync.items import Found
from arstore.sync.place import Move
from arstore.sync.wishes import is_attached
from arstore.transport.skipped import SkippedTop
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from arstore.digest import Digest
    from arstore.store.progress import Progress
    from arstore.sync.place import How, Place

_GIVE_UP = 3
"""Times in a row that a registry cannot be reached, after which no other image of that source is tried."""
_FATAL = (NoSpaceError, StoreDamagedError, InterruptedByUserError)
"""What would befall every other image, too."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
COPIED, CURRENT, COPY, DELETED, DELETE, SKIPPED, FAILED = (
    "copied", "current", "copy", "deleted", "delete", "skipped", "failed",
)  # fmt: skip
"""What became of an image or a tag; `copy` and `delete` are plans."""


class Outcome(NamedTuple):
    """What became of one image, or of one tag at the destination. `why` is for what was skipped."""

    what: str
    source: str
    destination: str
    digest: str = ""
    error: ArstoreError | None = None
    why: str = ""


class Source(Protocol):
    """Where images come from."""

    def find(self, every_tag: bool = False) -> Found:
        """The images that there are; *every_tag* also asks for lists of tags that only a deletion needs."""

    def close(self) -> None:
        """Release all."""


class Sync:
    """One run from *found* to *place*; *tell* hears each outcome at once, and `failures` counts those that failed."""

    def __init__(self, found: Found, place: Place, how: How, tell: Callable[[Outcome], object]) -> None:
        self._found = found
        self._place = place
        self._how = how
        self._tell = tell
        self._unreached: dict[str, int] = {}
        self.failures = 0

    def plan(self) -> list[Move]:
        """What goes where. Raises ConflictError when two images would go to one place."""
        for fault in self._found.faults:
            self._fail(fault.what, "", fault.error)
        steps: dict[str, Move] = {}
        for item in self._found.items:
            try:
                target = self._place.target(item.name)
            except ArstoreError as error:
                self._fail(item.what, "", error)
                continue
            known = steps.setdefault(target, Move(item, target))
            if known.item.what != item.what:
                why = f"would be both {known.item.what} and {item.what}"
                raise ConflictError(target, why, "--scoped keeps the whole names")
        return list(steps.values())

    def run(
        self, steps: list[Move], progress: Callable[[], AbstractContextManager[Progress]], *, stops: bool = False
    ) -> None:
        """Copy all, or (*stops*) up to the first failure. Raises NoSpaceError, StoreDamagedError, OSError."""
        for step in steps:
            if stops and self.failures:
                return
            self._attempt(step, progress)

    def preview(self, steps: list[Move]) -> None:
        """Tell what `run` would do, as far as a look at both sides says."""
        for step in steps:
            try:
                there, is_current = self._look(step)
            except (ArstoreError, OSError) as error:
                self._fail(step.item.what, step.target, _ours(error, step.target))
            else:
                digest = there if is_current and there is not None else ""
                self._tell(Outcome(CURRENT if digest else COPY, step.item.what, step.target, digest))

    def prune(self, *, dry_run: bool) -> None:
        """Delete the tags at the destination that the source does not have any more, or (*dry_run*) name them."""
        for repository, kept in self._repositories().items():
            if not kept:
                why = "the source does not say which tags it has" if kept is None else "the source has no tags at all"
                self._tell(Outcome(SKIPPED, "", repository, why=f"nothing is deleted there: {why}"))
                continue
            try:
                there = self._place.tags(repository)
            except (ArstoreError, OSError) as error:
                self._fail("", repository, _ours(error, repository))
                continue
            gone = [tag for tag in there if tag not in kept and not is_attached(tag)]
            stay = set(there).difference(gone)
            for tag in gone:
                self._delete(repository, tag, stay, dry_run)

    def _delete(self, repository: str, tag: str, stay: Collection[str], dry_run: bool) -> None:
        place = f"{repository}:{tag}"
        try:
            if not dry_run:
                self._place.remove(repository, tag, stay)
        except (ArstoreError, OSError) as error:
            self._fail("", place, _ours(error, place))
        else:
            self._tell(Outcome(DELETE if dry_run else DELETED, "", place))

    def _repositories(self) -> dict[str, frozenset[str] | None]:
        """The repositories at the destination, each with the tags of all that goes there; None where it is unknown."""
        found: dict[str, frozenset[str] | None] = {}
        for one in self._found.tags:
            try:
                place = self._place.repository(one.short, one.full)
            except ArstoreError:
                continue
            known = found.get(place, frozenset())
            found[place] = None if known is None or one.tags is None else known | one.tags
        return found

    def _attempt(self, step: Move, progress: Callable[[], AbstractContextManager[Progress]]) -> None:
        item, target = step.item, step.target
        if self._unreached.get(item.route, 0) >= _GIVE_UP:
            why = f"was not tried, because {_GIVE_UP} others in a row could not be reached"
            self._fail(item.what, target, RegistryUnreachableError(item.what, why))
            return
        skipped = SkippedTop()
        lost = 0
        try:
            outcome = self._outcome(step, progress, skipped)
        except _FATAL:
            raise
        except (ArstoreError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _NO_SPACE:
                raise
            if isinstance(error, ManifestError) and skipped.count and not item.is_asked_for:
                self._tell(Outcome(SKIPPED, item.what, target, why=skipped.entries[0].why))
            else:
                lost = self._unreached.get(item.route, 0) + 1 if isinstance(error, RegistryUnreachableError) else 0
                self._fail(item.what, target, _ours(error, target))
        else:
            self._tell(outcome)
        self._unreached[item.route] = lost

    def _outcome(
        self, step: Move, progress: Callable[[], AbstractContextManager[Progress]], skipped: SkippedTop
    ) -> Outcome:
        """Copy one image, unless it is there."""
        item, target = step.item, step.target
        there, is_current = self._look(step)
        if is_current and not self._how.wanted.referrers:
            return Outcome(CURRENT, item.what, target, there or "")
        with progress() as shown:
            done = self._place.copy(step._replace(there=there), self._how, shown, skipped)
        return Outcome(CURRENT if done.was_there else COPIED, item.what, target, done.digest)

    def _look(self, step: Move) -> tuple[Digest | None, bool]:
        """What stands at the destination, and whether it is what stands at the source, as far as a look says that."""
        if self._how.options.converts:
            return None, False
        there = self._place.look(step.target)
        return there, there is not None and step.item.look() == there

    def _fail(self, source: str, destination: str, error: ArstoreError) -> None:
        self.failures += 1
        self._tell(Outcome(FAILED, source, destination, error=error))


def _ours(error: ArstoreError | OSError, what: str) -> ArstoreError:
    return error if isinstance(error, ArstoreError) else from_os_error(error, what)
