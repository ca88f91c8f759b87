"""The quick check of files in parts, each of which another process can do: names and sizes.

Each part reads the records of some blobs or trees, and stats their files. Only problems are returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.disk.paths import opened
from arstore.errors import reason
from arstore.maintenance.check.blobs import glances_at_blobs
from arstore.maintenance.check.quick import TreeRecords
from arstore.maintenance.check.trees import named_sums
from arstore.maintenance.scan.size_table import Sizes
from arstore.trees.erofs.merged_index import glance as run_glance
from arstore.values import NamedTuple
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.check.findings import Finding
    from arstore.store.store import Store

_STARTS = ["", *(f"sha256:{digit}" for digit in "123456789abcdef"), ""]
"""The first keys of the parts of a table; each part ends where the next one begins."""
_NOTHING = Sizes()


@answer
class Glance(NamedTuple):
    """The result of checking one part."""

    unreadable: frozenset[bytes]
    """The keys of records that cannot be read."""
    blobs: tuple[Finding, ...] = ()
    records: tuple[Finding, ...] = ()
    """Findings from the records of trees."""
    suspects: tuple[str, ...] = ()
    """Keys of trees that need a second check."""
    tars: Sizes = _NOTHING
    """Sizes in bytes of the kept tars, by the key of their tree."""


class _Blobs(NamedTuple):
    size: list[int]


class _Trees(NamedTuple):
    form: list[str]
    boot: list[str]
    synced: list[bool]
    size: list[int]
    members: list[tuple[str, ...]]
    sums: list[tuple[str, ...]]


class Glances:
    """The parts, by number: trees first, because they take longer."""

    COUNT = 2 * (len(_STARTS) - 1)

    def __init__(self, store: Store) -> None:
        self._store = store

    def look(self, number: int) -> Glance:
        """Check the part with this number. Raises OSError and the errors of Graph."""
        is_tree, place = number < self.COUNT // 2, number % (self.COUNT // 2)
        start, stop = _STARTS[place : place + 2]
        with self._store.graph.read(lenient=True) as snapshot:
            return self._trees(snapshot, start, stop) if is_tree else self._blobs(snapshot, start, stop)

    def _blobs(self, snapshot: Snapshot, start: str, stop: str) -> Glance:
        digests, blobs = snapshot.columns("blobs", _Blobs, start, stop)
        found = glances_at_blobs(self._store.directories, zip(digests, blobs.size, strict=True))
        return Glance(frozenset(snapshot.passed_over), blobs=tuple(found))

    def _trees(self, snapshot: Snapshot, start: str, stop: str) -> Glance:
        keys, trees = snapshot.columns("trees", _Trees, start, stop)
        look, forms = TreeRecords(self._store), self._store.forms
        records: list[Finding] = []
        suspects: list[str] = []
        tars: dict[str, int] = {}
        with opened(self._store.directories.trees) as parent:
            for key, form, boot, synced, size, members, sums in zip(keys, *trees, strict=True):
                name = key.partition(":")[2]
                try:
                    if members:
                        fault = run_glance(parent, name, size)
                    elif form in forms:
                        fault, bytes_ = forms[form].glance(parent, name, named_sums(sums))
                        if bytes_:
                            tars[key] = bytes_
                    else:
                        fault = f"has the form {form}"
                except OSError as error:
                    fault = reason(error)
                if fault or not synced:
                    finding = look.fault(key, form, boot, synced, members)
                    if finding is not None:
                        records.append(finding)
                        tars.pop(key, None)
                    elif fault:
                        suspects.append(key)
        return Glance(frozenset(snapshot.passed_over), (), tuple(records), tuple(suspects), Sizes(tars, tars.values()))
