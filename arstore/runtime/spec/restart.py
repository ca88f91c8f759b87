"""`--restart`: whether a container's launcher starts it again after its command has ended, and how soon.

The policies are podman's. The pauses are docker's, because podman has none: 100 ms before the first restart, then twice
as long each time, at most a minute; a run of ten seconds or more makes the next pause the shortest again.
"""

from __future__ import annotations

from arstore.errors import UsageError
from arstore.values import NamedTuple

NO, ON_FAILURE, ALWAYS, UNLESS_STOPPED = "no", "on-failure", "always", "unless-stopped"
_SYNONYMS = {"": NO, "never": NO}
_MOST_DIGITS = 9
_HINT = "use no, on-failure, on-failure:N, always or unless-stopped"

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0
"""Seconds."""
LONG_RUN = 10.0
"""Seconds of a run after which the next pause is the shortest again."""


class Restart(NamedTuple):
    """A restart policy; *most* is the maximum number of restarts of `on-failure`, 0 for any number."""

    policy: str = NO
    most: int = 0

    @property
    def is_active(self) -> bool:
        """Whether this is a policy other than `no`."""
        return self.policy != NO

    def applies(self, status: int | None, restarts: int) -> bool:
        """Whether to start again after the exit *status*, None if that is unknown, and *restarts* so far."""
        if self.policy == ON_FAILURE:
            return status != 0 and not 0 < self.most <= restarts
        return self.is_active

    def __str__(self) -> str:
        return f"{self.policy}:{self.most}" if self.most else self.policy


def parse_restart(text: str) -> Restart:
    """Read `POLICY` or `on-failure:N`; never and the empty word mean no. Raises UsageError."""
    policy, colon, number = text.partition(":")
    policy = _SYNONYMS.get(policy, policy)
    if policy not in {NO, ON_FAILURE, ALWAYS, UNLESS_STOPPED}:
        raise _refused(text, "not a restart policy")
    if not colon:
        return Restart(policy)
    if policy != ON_FAILURE:
        raise _refused(text, "only on-failure takes a number of restarts")
    if not (number.isascii() and number.isdigit()) or len(number) > _MOST_DIGITS:
        raise _refused(text, "not a number of restarts")
    return Restart(policy, int(number))


def pause_after(seconds: float, last: float) -> float:
    """Return the pause before a restart, after a run of so many *seconds* and a *last* pause, 0 for none."""
    return FIRST_PAUSE if seconds >= LONG_RUN or not last else min(2 * last, LONGEST_PAUSE)


def _refused(text: str, why: str) -> UsageError:
    from arstore.oci.document import shown

    return UsageError(shown(text), why, _HINT)
