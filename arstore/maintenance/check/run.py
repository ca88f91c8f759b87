"""`check`: all checks of a store, in as many processes as there are processors.

The graph is read once at the beginning, and not locked. A finding about a file counts only if the graph still records
it unchanged afterwards.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from arstore.errors import StoreDamagedError, StoreVersionError
from arstore.graph.records import LayerRecord
from arstore.linux.isolation.priority import claim_idle_only
from arstore.maintenance.check.blobs import blobs, present
from arstore.maintenance.check.contents import contents
from arstore.maintenance.check.findings import NO_GRAPH, Damage, Finding
from arstore.maintenance.check.graph import against_documents, against_manifests, belonging, damaged_record, pages
from arstore.maintenance.check.quick import Layers, clutter, structure, surface
from arstore.maintenance.check.quick_scan import Glances
from arstore.maintenance.check.trees import (
    Aspect,
    TreeCandidate,
    altered,
    candidates,
    glance,
    is_still_there,
    with_blobs,
)
from arstore.maintenance.scan.totals import Known
from arstore.values import NamedTuple
from arstore.workers import confinement
from arstore.workers.pool import beside, divided, run_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from arstore.graph.records import AttachmentRecord, BlobRecord, ImageRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store
    from arstore.workers.confinement import Confinement

    Report = Callable[[int], None]
    Job = Callable[[Report], list[Finding]]

T = TypeVar("T")

_ENOUGH, _MANY = 32 << 20, 1024
"""Bytes, and number of things, that are worth a process."""
_REPORT_EVERY = 4 << 20
_PAUSES = (0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between checks of findings that may only be a process's work in progress."""


class _Known(NamedTuple):
    """The records of the graph when it was read."""

    blobs: dict[str, BlobRecord]
    layers: dict[str, LayerRecord]
    images: dict[str, ImageRecord]
    attachments: dict[str, AttachmentRecord]
    trees: list[TreeCandidate]


def extent(store: Store) -> int | None:
    """Return about the bytes that a deep `check` reads; None if the graph cannot be read. Raises OSError."""
    # LMDB may crash on a damaged file, so its pages are checked first.
    if any(finding.damage in NO_GRAPH for finding in pages(store)):
        return None
    with store.graph.read(lenient=True) as snapshot:
        known = _known(store, snapshot)
    return sum(blob.size for blob in known.blobs.values()) + sum(tree.bytes for tree in known.trees)


def check(store: Store, quick: bool = False, report: Report = lambda _bytes: None, nice: bool = False) -> list[Finding]:
    """Return all findings, most serious kinds first. *report* is called with the number of bytes read.

    With *quick*, no content is read. With *nice*, the processes run at idle priority for disk and processors. Raises
    OSError and the errors of Graph if a check is not possible at all.
    """
    if quick:
        return _sorted(_quick_or_damaged(store))
    findings = pages(store)
    if any(finding.damage in NO_GRAPH for finding in findings):
        # LMDB may crash on such a file. Blobs can be checked by their names.
        named = [(digest, None) for digest in present(store.directories)]
        return _sorted([*findings, *blobs(store.directories, named, report)])
    with store.graph.read(lenient=True) as snapshot:
        known = _known(store, snapshot)
        keys = Known.of(snapshot)
        seen = list(structure(store, snapshot, known.blobs.keys(), _columns(known.layers)))
        passed_over = snapshot.passed_over
    findings += _lasting(store, seen)
    findings += _standing(store, known.trees, _deep(store, known, report, nice))
    if not passed_over:
        findings += clutter(store, keys)
    findings += contents(store, deep=True)
    return _sorted(findings)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.harmless, finding.damage.value, finding.what))


def _known(store: Store, snapshot: Snapshot) -> _Known:
    # Records refer to each other, and most digests occur several times: keep each string once.
    strings: dict[str, str] = {}

    def one(text: str) -> str:
        return strings.setdefault(text, text)

    layers = {
        one(key): LayerRecord(one(it.diff_id), one(it.parent), tuple(map(one, it.blobs)), it.size, one(it.tree))
        for key, it in snapshot.layers()
    }
    images = {one(key): it._replace(layers=tuple(map(one, it.layers))) for key, it in snapshot.images()}
    blobs = dict(snapshot.blobs())
    trees = list(with_blobs(store, candidates(store, layers, dict(snapshot.trees())), blobs))
    return _Known(blobs, layers, images, dict(snapshot.attachments()), trees)


def _columns(layers: Mapping[str, LayerRecord]) -> tuple[list[str], Layers]:
    """Return the keys of *layers*, and the fields that are checked."""
    records = layers.values()
    return list(layers), Layers(
        [one.parent for one in records],
        [one.blobs for one in records],
        [one.size for one in records],
        [one.tree for one in records],
    )


def _lasting(store: Store, seen: list[Finding]) -> list[Finding]:
    """Return those of *seen* that remain after other processes have finished their current steps.

    Graph and files cannot be read in one moment, and `index.json` is updated a moment after the graph.
    """
    for pause in _PAUSES:
        if not seen or not store.graph.has_others():
            break
        time.sleep(pause)
        with store.graph.read(lenient=True) as snapshot:
            again = set(structure(store, snapshot, set(snapshot.keys("blobs"))))
        seen = [finding for finding in seen if finding in again]
    return seen


def _quick_or_damaged(store: Store) -> list[Finding]:
    """Check names and sizes; if LMDB cannot read the graph, check its pages."""
    store.graph.release()
    try:
        # In a separate process, because a damaged page may crash it.
        with beside(partial(_quick, store)) as looked:
            return looked()
    except (StoreDamagedError, StoreVersionError):
        found = pages(store)
        if not found:
            raise
        return found


def _quick(store: Store) -> list[Finding]:
    """Check names and sizes, with all processors."""
    foreign = belonging(store)
    if foreign:
        return foreign
    store.graph.release()
    glances = Glances(store)
    with divided(glances.look, glances.COUNT) as looked:
        with store.graph.read(lenient=True) as snapshot:
            known = Known.of(snapshot)
            chain_ids, layers = snapshot.columns("layers", Layers)
            seen = list(surface(store, snapshot, known.blobs, known.trees, chain_ids, layers))
            unreadable = snapshot.passed_over
        clutter_seen = list(clutter(store, known))
        tar_sizes = dict(zip(layers.tree, layers.size, strict=True))
        parts = looked()
    unreadable = unreadable.union(*(part.unreadable for part in parts))
    if unreadable:
        # The needs of an unreadable record are unknown.
        clutter_seen = []
        with store.graph.read(lenient=True) as snapshot:
            seen = list(structure(store, snapshot, snapshot.every("blobs", _Readable).keys()))
    else:
        seen += chain.from_iterable(part.records for part in parts)
    suspects = set(chain.from_iterable(part.suspects for part in parts))
    suspects.update(*(part.tars.differing(tar_sizes) for part in parts))
    findings = list(_standing(store, [], chain.from_iterable(part.blobs for part in parts)))
    findings += _second_look(store, suspects)
    findings += _lasting(store, seen)
    findings += map(damaged_record, sorted(unreadable))
    findings += contents(store, deep=False)
    return findings + clutter_seen


class _Readable(NamedTuple):
    size: int


def _second_look(store: Store, suspects: set[str]) -> Iterator[Finding]:
    """Check these trees again, with a full record that shows whether they were replaced in the meantime."""
    if not suspects:
        return
    with store.graph.read(lenient=True) as snapshot:
        known = candidates(store, dict(snapshot.layers()), dict(snapshot.trees()))
        relied_on = [tree for tree in known if tree.key in suspects]
    found = (glance(store, tree) for tree in relied_on)
    yield from _standing(store, relied_on, (finding for finding in found if finding is not None))


def _standing(store: Store, candidates: list[TreeCandidate], found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield those of *found* whose things are unchanged since the graph was read."""
    trees = {tree.key: tree for tree in candidates}
    for finding in found:
        if finding.what in trees and finding.damage in {Damage.TREE_ALTERED, Damage.TREE_UNRECORDED}:
            stands = is_still_there(store, trees[finding.what])
        else:
            with store.graph.read(lenient=True) as snapshot:
                table, _, key = finding.what.rpartition("/")
                stands = snapshot.has(table or "blobs", key)
        if stands:
            yield finding


def _deep(store: Store, known: _Known, report: Report, nice: bool) -> Iterator[Finding]:
    """Yield findings about content, in any order."""
    store.graph.release()
    one_file = {tree.layer.diff_id: tree.key for tree in known.trees if tree.is_blob and tree.layer is not None}
    works = [partial(_work, job, nice, confined) for job, confined in _jobs(store, known)]
    for outcome in run_jobs(works):
        if outcome.done:
            for finding in outcome.value or ():
                yield finding
                if finding.damage is Damage.BLOB_DIGEST and finding.what in one_file:
                    why = f"its tar {finding.why.removeprefix('its content ')}"
                    yield Finding(Damage.TREE_ALTERED, one_file[finding.what], why)
        else:
            report(outcome.progress)


def _work(job: Job, nice: bool, confined: Confinement | None, report: Report) -> list[Finding]:
    """In a worker: do *job*, and report its progress from time to time."""
    if nice:
        claim_idle_only()
    if confined is not None:
        confined.enter()
    waiting = 0

    def gather(count: int) -> None:
        nonlocal waiting
        waiting += count
        if waiting >= _REPORT_EVERY:
            report(waiting)
            waiting = 0

    found = job(gather)
    report(waiting)
    return found


def _jobs(store: Store, known: _Known) -> list[tuple[Job, Confinement | None]]:
    """Return the jobs, the largest first, small things grouped; and the confinement of each."""
    jobs: list[tuple[int, Job, Confinement | None]] = []
    root = store.directories.root
    plain = confinement.reading(root)
    for some in _grouped(list(known.blobs.items()), lambda item: item[1].size):
        jobs.append((sum(record.size for _, record in some), partial(_read_blobs, store, some), plain))
    for kind, confined in (
        (Aspect.INDEX, plain),
        (Aspect.FILES, confinement.reading(root, attributes=True)),
        # These are extracted again for comparison, which needs other rights.
        (Aspect.UNRECORDED, None),
    ):
        for trees in _grouped([tree for tree in known.trees if tree.content is kind], lambda tree: tree.bytes):
            jobs.append((sum(tree.bytes for tree in trees), partial(_read_trees, store, trees), confined))
    for images in _grouped(sorted(known.images.items(), key=lambda item: item[1].config), lambda _image: 0):
        jobs.append((0, partial(_read_documents, store, images, known), plain))
    for attached in _grouped(list(known.attachments.items()), lambda item: item[1].size):
        jobs.append((sum(record.size for _, record in attached), partial(_read_manifests, store, attached), plain))
    jobs.sort(key=lambda job: -job[0])
    return [(job, confined) for _, job, confined in jobs]


def _grouped(items: list[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield *items*, the largest first, in groups that are worth a process by bytes or number."""
    group: list[T] = []
    total = 0
    for item in sorted(items, key=size, reverse=True):
        group.append(item)
        total += size(item)
        if total >= _ENOUGH or len(group) >= _MANY:
            yield group
            group, total = [], 0
    if group:
        yield group


def _read_blobs(store: Store, records: list[tuple[str, BlobRecord]], report: Report) -> list[Finding]:
    return list(blobs(store.directories, records, report))


def _read_trees(store: Store, trees: list[TreeCandidate], report: Report) -> list[Finding]:
    found = (altered(store, tree, report) for tree in trees)
    return [finding for finding in found if finding is not None]


def _read_documents(
    store: Store, images: list[tuple[str, ImageRecord]], known: _Known, _report: Report
) -> list[Finding]:
    return list(against_documents(store.directories, images, known.layers, known.blobs))


def _read_manifests(store: Store, attachments: list[tuple[str, AttachmentRecord]], _report: Report) -> list[Finding]:
    return list(against_manifests(store.directories, attachments))
