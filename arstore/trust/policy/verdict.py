"""The verdict of a policy as data: imports obey it, and `policy explain` prints it."""

from __future__ import annotations

from typing import Any

from arstore.errors import RejectedError
from arstore.values import NamedTuple


class Attempt(NamedTuple):
    """One signature that was checked for a requirement; `reason` is "" if it is valid.

    `on` is the digest of the signed document: the image's manifest, or an index that lists it. `fits` is True if the
    requirement accepts signatures of this kind.
    """

    kind: str
    on: str
    reason: str
    fits: bool = True

    @property
    def accepted(self) -> bool:
        """Whether the signature satisfies the requirement."""
        return not self.reason


class Outcome(NamedTuple):
    """The result of one requirement: whether it is satisfied, and why. `number` counts from 1 in its list."""

    number: int
    requirement: str
    accepted: bool
    reason: str
    attempts: tuple[Attempt, ...] = ()


class Verdict(NamedTuple):
    """Whether an image is accepted, by which list of requirements, and the result of each requirement.

    `policy` is the file, "" if there is none. `section` is the place of the list in it: `default`, or
    `transports.NAME."SCOPE"`. `scope` is that scope. `reason` is one line: about the first requirement that is not
    satisfied, or about all if they are.
    """

    accepted: bool
    subject: str
    policy: str
    section: str
    scope: str
    reason: str
    outcomes: tuple[Outcome, ...] = ()

    def require(self, what: str) -> None:
        """Return if the image is accepted; *what* names it. Raises RejectedError."""
        if not self.accepted:
            raise RejectedError(what, self.reason, "`arstore policy explain` shows how the policy was applied")

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return {
            **self._asdict(),
            "outcomes": [
                {**outcome._asdict(), "attempts": [attempt._asdict() for attempt in outcome.attempts]}
                for outcome in self.outcomes
            ],
        }
