"""Check of the index of contents. It is a cache, so damage there is harmless: `find` reads the trees themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.maintenance.check.findings import Damage, Finding
from arstore.store.contents.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.store import Store


def contents(store: Store, deep: bool) -> Iterator[Finding]:
    """Yield the damaged files of the index; *deep* reads all of them. Raises OSError."""
    for fault in Shelf(store.directories.contents).faults(deep):
        yield Finding(Damage.CONTENTS_INDEX, f"graph/contents/{fault.name}", f"{fault.why}; searches read the layers")


def remove_faults(store: Store, findings: list[Finding]) -> None:
    """Remove the files of these findings; `find --update` makes the index again. Raises OSError."""
    names = [finding.what.rpartition("/")[2] for finding in findings if finding.damage is Damage.CONTENTS_INDEX]
    if names:
        Shelf(store.directories.contents).clear(names)
