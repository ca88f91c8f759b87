"""One run of `sync`: the plan, its execution, and the outcomes.

For each image, the digest of its name at the source is compared with the digest at the destination. If they are equal,
nothing is done, and nothing is pulled. Otherwise the image is copied, by the code of `copy`: blobs that are already
there are not transferred, so a killed run can simply be repeated. A failed image does not end the run, but a full disk
does. A source that cannot be reached several times in a row is not tried again.

Tags are deleted last, and only in repositories at the destination for which the source's complete tag list is known.
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
"""Number of consecutive connection failures after which no other image of that source is tried."""
_FATAL = (NoSpaceError, StoreDamagedError, InterruptedByUserError)
"""Errors that would affect every other image, too."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
COPIED, CURRENT, COPY, DELETED, DELETE, SKIPPED, FAILED = (
    "copied", "current", "copy", "deleted", "delete", "skipped", "failed",
)  # fmt: skip
"""Outcomes for an image or a tag; `copy` and `delete` are plans."""


class Outcome(NamedTuple):
    """The outcome for one image, or for one tag at the destination. `why` is the reason for skipping it."""

    what: str
    source: str
    destination: str
    digest: str = ""
    error: ArstoreError | None = None
    why: str = ""


class Source(Protocol):
    """Where images come from."""

    def find(self, every_tag: bool = False) -> Found:
        """Return the images of the source; *every_tag* also fetches tag lists that only a deletion needs."""

    def close(self) -> None:
        """Release its resources."""


class Sync:
    """One run from *found* to *place*; `tell` gets each outcome at once, and `failures` counts failed ones."""

    def __init__(self, found: Found, place: Place, how: How, tell: Callable[[Outcome], object]) -> None:
        self._found = found
        self._place = place
        self._how = how
        self._tell = tell
        self._unreached: dict[str, int] = {}
        self.failures = 0

    def plan(self) -> list[Move]:
        """Return the moves. Raises ConflictError if two images have the same destination."""
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
                raise ConflictError(target, why, "--scoped keeps the full names")
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
        """Report what `run` would do, as far as that is known without pulling."""
        for step in steps:
            try:
                there, is_current = self._look(step)
            except (ArstoreError, OSError) as error:
                self._fail(step.item.what, step.target, _ours(error, step.target))
            else:
                digest = there if is_current and there is not None else ""
                self._tell(Outcome(CURRENT if digest else COPY, step.item.what, step.target, digest))

    def prune(self, *, dry_run: bool) -> None:
        """Delete tags at the destination that the source no longer has, or (*dry_run*) list them."""
        for repository, kept in self._repositories().items():
            if not kept:
                why = "the source's tag list is not known" if kept is None else "the source has no tags at all"
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
        """Return the repositories at the destination, with the tags that belong there; None if they are unknown."""
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
            why = f"was not tried, because {_GIVE_UP} images before it could not be reached"
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
        """Copy one image, unless it is already there."""
        item, target = step.item, step.target
        there, is_current = self._look(step)
        if is_current and not self._how.wanted.referrers:
            return Outcome(CURRENT, item.what, target, there or "")
        with progress() as shown:
            done = self._place.copy(step._replace(there=there), self._how, shown, skipped)
        return Outcome(CURRENT if done.was_there else COPIED, item.what, target, done.digest)

    def _look(self, step: Move) -> tuple[Digest | None, bool]:
        """Return the digest at the destination, and whether it is known to be the source's, without pulling."""
        if self._how.options.converts:
            return None, False
        there = self._place.look(step.target)
        return there, there is not None and step.item.look() == there

    def _fail(self, source: str, destination: str, error: ArstoreError) -> None:
        self.failures += 1
        self._tell(Outcome(FAILED, source, destination, error=error))


def _ours(error: ArstoreError | OSError, what: str) -> ArstoreError:
    return error if isinstance(error, ArstoreError) else from_os_error(error, what)
