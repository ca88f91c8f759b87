"""The log of all changes of names and images by all workers: can an interleaving explain how a command ended?

A *family* is an image in all its forms, with its names. Times are those of the monotonic clock; an
event that has not ended yet, or that was killed, may have happened at any moment since its start.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREVER = float("inf")


@dataclass
class Event:
    """An action of a worker, from *start* to *end*; *name* "" means all names of the family."""

    start: float
    end: float = FOREVER
    name: str = ""


class Ledger:
    """The events of one mixture, by family; any number of threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._puts: dict[str, list[Event]] = defaultdict(list)
        self._removals: dict[str, list[Event]] = defaultdict(list)
        self._holds: dict[str, list[Event]] = defaultdict(list)

    def put(self, family: str, name: str, start: float) -> None:
        """Record that a command that began at *start* has given *name* to an image."""
        with self._lock:
            self._puts[family].append(Event(start, time.monotonic(), name))

    @contextmanager
    def removal(self, family: str, name: str = "") -> Iterator[Event]:
        """Record that *name*, or all names, may be removed; `Event.start` FOREVER in the end means that it was not."""
        event = Event(time.monotonic(), name=name)
        with self._lock:
            self._removals[family].append(event)
        try:
            yield event
        finally:
            event.end = time.monotonic()
            if event.start == FOREVER:
                with self._lock:
                    self._removals[family].remove(event)

    def hold(self, family: str) -> Event:
        """Record that a worker may use an image of *family*, until the event's end is set."""
        event = Event(time.monotonic())
        with self._lock:
            self._holds[family].append(event)
        return event

    def may_be_absent(self, family: str, name: str, since: float) -> bool:
        """Whether *name* may have been unused at a moment between *since* and now."""
        with self._lock:
            removals = [event for event in self._removals[family] if event.name in {"", name}]
            for put in self._puts[family]:
                if put.name == name and put.end <= since and not any(event.end >= put.start for event in removals):
                    return False
        return True

    def may_be_held(self, family: str, since: float) -> bool:
        """Whether an image of *family* ("" for any) may have been held between *since* and now."""
        with self._lock:
            families = [family] if family else list(self._holds)
            return any(event.end >= since for one in families for event in self._holds[one])
