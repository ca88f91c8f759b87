"""Expected content of a store after a power cut, derived from the commands until then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reliability.cutting.workload import AT_FIRST


@dataclass
class Expectation:
    """Names that must be there, names that may be there, and the listing of each; the same for containers.

    *loaded* is true if a `load` had begun.
    """

    names: set[str] = field(default_factory=lambda: set(AT_FIRST))
    maybe: set[str] = field(default_factory=set)
    shown: dict[str, str] = field(default_factory=dict)
    containers: set[str] = field(default_factory=set)
    maybe_containers: set[str] = field(default_factory=set)
    loaded: bool = False

    @classmethod
    def of(cls, events: list[dict[str, Any]], digests: dict[str, str]) -> Expectation:
        """The expectation after *events*, for a store whose images have these *digests*, by name."""
        found = cls(shown=dict(digests))
        for number, event in enumerate(events):
            if "status" not in event:
                found._count(event, events[number + 1] if number + 1 < len(events) else None)
        return found

    def _count(self, event: dict[str, Any], end: dict[str, Any] | None) -> None:
        words = event["words"]
        self.shown.update({name: key for name, key in event["set"].items() if key})
        self.loaded |= words[0] == "load"
        if words[0] == "tag":
            self.shown[words[2]] = self.shown.get(words[1], "")
        made = {event["container"]} - {""}
        removed = {words[2]} if words[:2] == ["container", "rm"] else set()
        if end is None:
            self.maybe |= {*event["set"], *event["drop"]}
            self.maybe_containers |= made | removed
        elif end["status"] == 0:
            self.names = (self.names | set(event["set"])) - set(event["drop"])
            self.containers = (self.containers | made) - removed

    def wrong_names(self, listed: set[str]) -> list[str]:
        """Faults in the *listed* names."""
        lost = sorted(self.names - self.maybe - listed)
        return [
            *(f"{name} was there and is lost" for name in lost),
            *(f"{name} is there and must not be" for name in sorted(listed - self.names - self.maybe)),
        ]

    def wrong_containers(self, there: set[str]) -> list[str]:
        """Faults in the containers that are *there* after `gc`."""
        lost = sorted(self.containers - self.maybe_containers - there)
        more = sorted(there - self.containers - self.maybe_containers)
        return [
            *(f"container {name} was there and is lost" for name in lost),
            *(f"container {name} is there and must not be" for name in more),
        ]
