"""The answer of a policy, as data: what import obeys is what `policy explain` prints."""

from __future__ import annotations

from typing import Any

from arstore.errors import RejectedError
from arstore.values import NamedTuple


class Attempt(NamedTuple):
    """One signature that a requirement looked at; `reason` is "" where it is good.

    `on` is the digest of the document that it is for: the image's manifest, or an index that lists it. `fits` says
    that the signature is of a kind that the requirement looks into.
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
    """One requirement: whether it holds, and why (not). `number` counts from 1 in its list."""

    number: int
    requirement: str
    accepted: bool
    reason: str
    attempts: tuple[Attempt, ...] = ()


class Verdict(NamedTuple):
    """Whether an image is accepted, by which list of requirements, and how each of these went.

    `policy` is the file, "" where there is none. `section` is where the list stands in it: `default`, or
    `transports.NAME."SCOPE"`. `scope` is that scope. `reason` is one line: of the first requirement that does not hold,
    or of all that do.
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
