"""Entries that an import passed over, for its report: entries that are not images, and images that were not requested.

A source may list any number of them, so only the first are kept, and the others are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.document import shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.oci.descriptor import Descriptor, Flawed

MOST = 100
"""Number of entries that are kept."""


class SkippedEntry(NamedTuple):
    """An entry of an index that was passed over, and why; texts come from the source, made safe to print."""

    digest: str
    media_type: str
    name: str
    why: str

    @property
    def label(self) -> str:
        """The entry's name and digest, for messages."""
        digest = self.digest or "an entry without a digest"
        return f"{self.name} ({digest})" if self.name else digest


def skipped_entry(entry: Descriptor | Flawed, why: str, names: Sequence[str] = ()) -> SkippedEntry:
    """The record of *entry*, which brings *names*."""
    return SkippedEntry(shown(entry.digest, 140), shown(entry.media_type), names[0] if names else "", why)


class SkippedTop:
    """The first entries that were passed over, and the number of all of them."""

    def __init__(self) -> None:
        self.entries: list[SkippedEntry] = []
        self.count = 0

    def add(self, entry: Descriptor | Flawed, why: str, names: Sequence[str] = ()) -> None:
        """Record that *entry*, which brings *names*, was passed over."""
        self.count += 1
        if len(self.entries) < MOST:
            self.entries.append(skipped_entry(entry, why, names))

    def documents(self) -> list[dict[str, str]]:
        """The entries that are kept, for JSON: `digest`, `media_type`, `name` and `why`; "" if an entry has none."""
        return [entry._asdict() for entry in self.entries]
