"""Taking images in: what has to be read is read once, in parallel, and everything is published together.

The same work makes a new image, completes one that lacks a blob or a tree, and rebuilds trees that are not to be
trusted: a layer costs something only where the store has no intact blob or no trusted tree for it.
"""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import Digest, verify
from arstore.errors import DigestMismatchError, SizeMismatchError
from arstore.store import confinement
from arstore.store.allowance import Allowance, CrowdedError, most_held
from arstore.store.answers import answer
from arstore.store.assembly import Assembly
from arstore.store.budget import Budget
from arstore.store.incoming import IncomingImage, IncomingIndex, TakenImage, TakenLayer
from arstore.store.ingest import remove_children
from arstore.store.layer import SMALL, LayerOutcome, LayerPass, take_layer, write_all
from arstore.store.publication import Publication
from arstore.store.records import BlobRecord, ImageRecord, LayerRecord, TreeRecord
from arstore.store.room import Room
from arstore.store.tree import UnrepresentableError
from arstore.store.workers import run_jobs
from arstore.tar import codec
from arstore.tar.limits import ACCEPTED, DEFAULT_LIMITS, Limits
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.digest import Reader
    from arstore.store.confinement import Confinement
    from arstore.store.incoming import IncomingLayer, OpenBlob
    from arstore.store.ingest import Ingest
    from arstore.store.inventory import Inventory
    from arstore.store.progress import Progress
    from arstore.store.tree import TreeFormat


_FEWEST, _MOST = 4, 64
"""Small layers that a process is started for, and the most that it gets: one that fails takes all of them with it."""


_PROCESSES = 8
"""Processes at a time, however many processors there are: each has buffers, and four threads."""
_BESIDES = 8 << 20
"""Bytes that a process has beside what layers hold: buffers above all. From the third on the budget pays for them."""


@answer
class _Again(Enum):
    """Why a layer has to be read once more, from its blob, which is whole and verified by then."""

    ALONE = auto()
    """Others had the memory."""
    OTHER_FORM = auto()
    """The first form has no way to say what is in it."""



class _DeniedError(Exception):
    """The host does not permit an adapted tree to be built; the text says why."""


@dataclass(slots=True)
class _Job:
    """A layer that has to be read, and what for."""

    layer: IncomingLayer
    work: LayerPass
    reads_store: bool
    reads_file: bool = False
    """Whether the blob is read where it lies: in the store, or where an earlier pass has put it."""


@dataclass(slots=True)
class _Taken:
    """What the jobs have brought: tar sizes and blobs by digest, trees by key."""

    blobs: dict[str, BlobRecord] = field(default_factory=dict)
    reused: set[str] = field(default_factory=set)
    denied: str = ""


class Intake:
    """One piece of work on a store, inside one ingest."""

    def __init__(
        self,
        inventory: Inventory,
        ingest: Ingest,
        open_blob: OpenBlob,
        forms: tuple[TreeFormat, ...],
        progress: Progress,
        spool: Ingest | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._inventory = inventory
        self._ingest = ingest
        self._open_blob = open_blob
        self._spool = spool
        self._limits = limits or DEFAULT_LIMITS
        self._forms = forms
        self._progress = progress
        self._room = Room(ingest.path, self._limits, inventory.directories.root)
        # Of what the store has accepted, trees can always be made again.
        self._steps = Allowance(limits or ACCEPTED)
        self._taken = _Taken()
        self._publication = Publication(sparing=inventory.again)

    @property
    def denied(self) -> str:
        """Why no trees were built, in the kernel's words; "" when they were."""
        return self._taken.denied

    def missing(self, images: Sequence[IncomingImage]) -> set[Digest]:
        """The blobs of the layers that `take` would read now, because they or their trees are not in the store."""
        treeless = self._treeless(images)
        layers = {layer.digest: layer for image in images for layer in image.layers}.values()
        return {layer.digest for layer in layers if layer.diff_id in treeless or self._is_unknown(layer.digest)}

    def take(self, images: Sequence[IncomingImage], indexes: Sequence[IncomingIndex] = ()) -> Publication:
        """Read what is missing for *images* and return what is to be published.

        Raises the errors of `take_layer` and OSError; nothing outside the ingest has been touched then.
        """
        jobs = self._plan(images)
        if any(not job.reads_store for job in jobs):
            self._room.announced = sum(job.layer.size for job in jobs if job.work.keep)
            self._room.check()
        self._run(jobs)
        reached("take.layers-read")
        for image in images:
            self._document(image.digest, image.manifest)
            self._document(image.config_digest, image.config)
        for index in indexes:
            self._document(index.digest, index.document)
        for image in images:
            self._record(image)
        for index in indexes:
            self._record_index(index)
        self._publication.drop_unused_trees()
        reached("take.prepared")
        return self._publication

    def taken(self, image: IncomingImage) -> TakenImage:
        """*image* as it is in the store after the publication."""
        layers = tuple(
            TakenLayer(
                layer.digest,
                layer.diff_id,
                layer.chain_id,
                self._taken.blobs[layer.digest].tar_size,
                layer.size,
                layer.digest in self._taken.reused,
            )
            for layer in image.layers
        )
        return TakenImage(image.digest, image.config_digest, image.names, image.platform, layers)

    # --- planning ---------------------------------------------------------------------------------------------------

    def _plan(self, images: Sequence[IncomingImage]) -> list[_Job]:
        jobs: list[_Job] = []
        seen: dict[str, IncomingLayer] = {}
        treeless = self._treeless(images)
        for layer in (layer for image in images for layer in image.layers):
            known = seen.setdefault(layer.digest, layer)
            if known is not layer:
                _require_same(known, layer)
                continue
            job = self._job(layer, layer.diff_id in treeless)
            treeless.discard(layer.diff_id)
            if job is None:
                self._progress.start(layer.diff_id, layer.digest.short, layer.size)
                self._progress.finish(layer.diff_id, reused=True)
            else:
                jobs.append(job)
        return sorted(jobs, key=lambda job: -job.layer.size)

    def _treeless(self, images: Sequence[IncomingImage]) -> set[str]:
        """The diff IDs that a chain has no trusted tree for: a tree made for another chain is of no use to it."""
        if not self._forms:
            return set()
        layers = {layer.chain_id: layer for image in images for layer in image.layers}
        return {layer.diff_id for layer in layers.values() if self._inventory.trusted_tree(layer) is None}

    def _is_unknown(self, digest: str) -> bool:
        stored = self._inventory.intact_blob(digest)
        return stored is None or not stored.diff_id

    def _job(self, layer: IncomingLayer, needs_tree: bool) -> _Job | None:
        """The job that *layer* needs; None when the store has all of it."""
        stored = self._inventory.intact_blob(layer.digest)
        if stored is not None and stored.size != layer.size:
            raise SizeMismatchError(f"layer {layer.digest}", f"has {stored.size} bytes, {layer.size} were announced")
        if stored is not None and stored.diff_id and stored.diff_id != layer.diff_id:
            raise DigestMismatchError(f"layer {layer.digest}", f"inflates to {stored.diff_id}, not to {layer.diff_id}")
        verified = stored is not None and bool(stored.diff_id)
        if stored is not None and verified and not needs_tree:
            self._taken.blobs[layer.digest] = stored
            self._taken.reused.add(layer.digest)
            self._publication.reused_blobs.add(layer.digest)
            return None
        tree = self._ingest.directory(f"tree-{layer.diff_id.hex}") if needs_tree else ""
        blob, keep = (self._inventory.directories.blob(layer.digest), False) if stored else self._staging(layer)
        limits = ACCEPTED if verified else self._limits
        forms = self._forms if tree else ()
        work = LayerPass(layer.digest, layer.size, layer.diff_id, blob, keep, forms, tree, limits=limits)
        return _Job(layer, work, reads_store=stored is not None, reads_file=stored is not None)

    def _staging(self, layer: IncomingLayer) -> tuple[str, bool]:
        """Where the blob will lie in an ingest, and whether it has to be written: the transport may have spooled it."""
        stream = self._open_blob(layer.digest)
        try:
            window = stream.window()
            if self._spool is not None and window is not None and window[1] == 0:
                spooled = self._spool.spooled(window[0])
                if spooled is not None and os.fstat(window[0]).st_size == window[2] == layer.size:
                    return spooled, False
        finally:
            stream.close()
        return self._ingest.file(f"blob-{layer.digest.hex}"), True

    # --- reading ----------------------------------------------------------------------------------------------------

    def _run(self, jobs: list[_Job]) -> None:
        for job in jobs:
            self._progress.start(job.layer.diff_id, job.layer.digest.short, job.layer.size)
        self._inventory.graph.release()
        done = self._read(_grouped(jobs))
        # Only now: this looks into the graph, which must not be open while processes are forked.
        for job, outcome in done:
            self._finish(job, outcome)

    def _read(self, groups: list[list[_Job]]) -> list[tuple[_Job, LayerOutcome]]:
        """Read these layers, at a time; then those that others left no memory for, one by one; then the next form's.

        The next form comes in other workers, because it takes rights that the first one does without.
        """
        found = self._read_at_a_time(groups)
        alone = [[_once_more(job, job.work.forms)] for job, why in found if why is _Again.ALONE]
        found += self._read_at_a_time(alone, alone=True)
        others = [[_once_more(job, job.work.forms[1:])] for job, why in found if why is _Again.OTHER_FORM]
        done = [(job, value) for job, value in found if isinstance(value, LayerOutcome)]
        self._check_inflated(done)
        return done + (self._read(others) if others else [])

    def _read_at_a_time(
        self, groups: list[list[_Job]], *, alone: bool = False
    ) -> list[tuple[_Job, LayerOutcome | _Again]]:
        """Read these layers, as many at a time as there are processors, or *alone*; each group in a process."""
        found: list[tuple[_Job, LayerOutcome | _Again]] = []
        budgets = _budgets(groups, alone=alone)
        works = [partial(self._read_group, group) for group in groups]
        for outcome in run_jobs(works, 1 if alone else _processes()):
            group = groups[outcome.index]
            if outcome.done and outcome.value is not None:
                budgets[outcome.index].settle(outcome.index)
                found.extend(zip(group, outcome.value, strict=True))
                self._check_inflated([(job, value) for job, value in found if isinstance(value, LayerOutcome)])
                self._tell(group)
            else:
                self._progress.advance(group[0].layer.diff_id, outcome.progress)
                self._check_room(group[0], outcome.progress)
        return found

    def _tell(self, group: list[_Job]) -> None:
        """Say that these layers were read; of several nothing has been said before."""
        for job in group:
            if len(group) > 1:
                self._progress.advance(job.layer.diff_id, job.layer.size)
                self._check_room(job, job.layer.size)
            self._progress.finish(job.layer.diff_id)

    def _check_room(self, job: _Job, progress: int) -> None:
        """Refuse what does not fit any more, all blobs that are still to come together. Raises NoSpaceError."""
        if job.work.keep:
            self._room.announced -= progress
            self._room.check()

    def _check_inflated(self, done: list[tuple[_Job, LayerOutcome]]) -> None:
        """Apply to all new layers together what holds for each: many small bombs are a large one. Raises LimitError."""
        new = [(job.layer.size, value.tar_size) for job, value in done if not job.reads_store]
        self._limits.check_inflated(sum(size for _, size in new), sum(size for size, _ in new), "the image")

    def _read_group(self, group: list[_Job], report: Callable[[int], None]) -> list[LayerOutcome | _Again]:
        """In a worker: read these layers.

        Of several, the blobs are made durable together, when all are written.
        """
        with ExitStack() as stack:
            sources = [self._source(job, stack) for job in group]
            spooled = [_opened(job.work.blob, stack) for job in group if not job.work.keep and not job.reads_store]
            confined = self._confine([job.work for job in group])
            if len(group) > 1:
                report = _unreported
            outcomes = [
                _outcome(job.work.moved(confined.inside), source, report)
                for job, source in zip(group, sources, strict=True)
            ]
            if len(group) > 1:
                reached("take.group-written")
            for fd in spooled:
                os.fdatasync(fd)
            for job in group:
                if not job.work.sync:
                    _sync_file(confined.inside(job.work.blob))
            if len(group) > 1:
                reached("take.group-synced")
        return outcomes

    def _source(self, job: _Job, stack: ExitStack) -> Reader:
        """In a worker: the layer's blob, open where it is read, and what undoes its compression imported."""
        if job.reads_file:
            file = io.FileIO(_opened(job.work.blob, stack), closefd=False)
            codec.load(os.pread(file.fileno(), codec.HEAD, 0))
            return file
        stream = self._open_blob(job.layer.digest)
        stack.callback(stream.close)
        window = stream.window()
        if window is not None:
            codec.load(os.pread(window[0], min(window[2], codec.HEAD), window[1]))
        return stream

    def _confine(self, works: Sequence[LayerPass]) -> Confinement:
        """In a worker: from here on it has the rights that these passes take, and no others."""
        forms = {form.name: form for work in works for form in work.forms[:1]}
        for form in forms.values():
            form.load()
        for work in works:
            work.diff_id.new_hash()
        extracts = any(not form.keeps_tar for form in forms.values())
        confined = (confinement.making if extracts else confinement.writing)(self._ingest.path)
        confined.shed()
        confined.enter()
        return confined

    def _finish(self, job: _Job, outcome: LayerOutcome) -> None:
        layer = job.layer
        record = BlobRecord(layer.size, layer.diff_id, outcome.tar_size)
        self._taken.blobs[layer.digest] = record
        if job.reads_store:
            self._publication.reused_blobs.add(layer.digest)
        else:
            self._add_blob(layer.digest, job.work.blob, record)
        self._add_tree(layer.diff_id, job.work.tree, outcome)
        self._taken.denied = self._taken.denied or outcome.denied

    def _add_tree(self, key: str, path: str, outcome: LayerOutcome) -> None:
        if outcome.stat is None:
            return
        known = self._inventory.tree_record(key)
        if known is not None and known.form == outcome.form and key in self._inventory.again:
            # It was to take another form, which cannot represent it: what is there is as good.
            return
        implied = bool(outcome.needs.implied or outcome.needs.absent_links)
        stat = outcome.stat
        record = TreeRecord(outcome.form, self._inventory.boot, False, stat.entries, stat.size, implied, sums=stat.sums)
        self._publication.add_tree(key, path, record, known)

    def _add_blob(self, digest: str, path: str, record: BlobRecord) -> None:
        self._publication.blobs[digest] = (path, record)
        if self._inventory.is_recorded(digest):
            self._publication.replaced.add(digest)

    def _document(self, digest: Digest, data: bytes) -> None:
        """Keep a manifest, config or index, which the caller holds in memory."""
        if self._inventory.intact_blob(digest) is not None:
            self._publication.reused_blobs.add(digest)
            return
        if digest in self._publication.blobs:
            return
        verify(data, digest)
        path = self._ingest.file(f"blob-{digest.hex}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, data)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        reached("take.document-synced")
        self._add_blob(digest, path, BlobRecord(len(data)))

    # --- recording --------------------------------------------------------------------------------------------------

    def _record(self, image: IncomingImage) -> None:
        assembly = Assembly(self._inventory, self._ingest, self._publication, self._adapt, self._steps)
        trees, cap = ([""] * len(image.layers), None)
        if self._forms and not self._taken.denied:
            try:
                trees, cap = assembly.stack(image.layers)
            except _DeniedError as error:
                # As when the first tree was denied: the image comes in without.
                self._taken.denied = str(error)
        parent = ""
        for layer, tree in zip(image.layers, trees, strict=True):
            tar_size = self._taken.blobs[layer.digest].tar_size
            record = LayerRecord(layer.diff_id, parent, (layer.digest,), tar_size, tree)
            self._publication.layers[layer.chain_id] = _joined(self._publication.layers.get(layer.chain_id), record)
            parent = layer.chain_id
        sizes = {layer.digest: layer.size for layer in image.layers}
        size = len(image.manifest) + len(image.config) + sum(sizes.values())
        self._publication.images[image.digest] = ImageRecord(
            image.media_type,
            size,
            image.platform,
            image.created,
            self._inventory.now,
            image.config_digest,
            tuple(layer.digest for layer in image.layers),
            image.top,
            cap,
        )
        for name in image.names:
            self._publication.names[name] = image.digest

    def _record_index(self, index: IncomingIndex) -> None:
        self._publication.images[index.digest] = ImageRecord(
            index.media_type, len(index.document), "", "", self._inventory.now, manifests=tuple(index.manifests)
        )
        for name in index.names:
            self._publication.names[name] = index.digest

    def _adapt(self, work: LayerPass, key: str) -> None:
        """Build an adapted tree from the layer's blob. Raises as `take_layer`, and _DeniedError."""

        def read(report: Callable[[int], None]) -> LayerOutcome:
            with open(work.blob, "rb", buffering=0) as file:
                codec.load(os.pread(file.fileno(), codec.HEAD, 0))
                # The trees below may have any form.
                for form in self._inventory.forms.values():
                    form.load()
                work.diff_id.new_hash()
                # It also looks into the trees below, which lie in the store and in the ingest.
                confined = confinement.making(self._ingest.path, self._inventory.directories.trees, work.blob)
                confined.enter()
                return take_layer(work.moved(confined.inside), file, report)

        self._inventory.graph.release()
        for outcome in run_jobs([read]):
            if outcome.value is not None:
                if outcome.value.stat is None:
                    raise _DeniedError(outcome.value.denied)
                self._add_tree(key, work.tree, outcome.value)
        reached("take.tree-adapted")


def _grouped(jobs: list[_Job]) -> list[list[_Job]]:
    """*jobs*, the largest first, as processes are to do them: small ones together, evenly over the processors."""
    large = [[job] for job in jobs if job.layer.size >= SMALL]
    small = jobs[len(large) :]
    size = max(_FEWEST, min(_MOST, -(-len(small) // _processes())))
    groups = [small[start : start + size] for start in range(0, len(small), size)]
    for group in groups:
        if len(group) > 1:
            for job in group:
                job.work = job.work._replace(sync=not job.work.keep)
    return large + groups


def _processes() -> int:
    """How many layers, or groups of small ones, are read at a time."""
    return min(len(os.sched_getaffinity(0)), _PROCESSES)


def _budgets(groups: list[list[_Job]], *, alone: bool) -> list[Budget]:
    """Give each group its account; a budget for each, the same one for all unless they are read one by one."""
    most = [max((_most_held(job) for job in group), default=0) for group in groups]
    limit = max(most, default=0)
    extra = max(min(_processes(), len(groups)) - 2, 0)
    shared = Budget(max(limit - extra * _BESIDES, limit // 2), len(groups))
    budgets = [Budget(one, len(groups)) if alone else shared for one in most]
    for number, (group, budget) in enumerate(zip(groups, budgets, strict=True)):
        for job in group:
            job.work = job.work._replace(account=budget.account(number))
    return budgets


def _most_held(job: _Job) -> int:
    form = job.work.form
    return 0 if form is None else most_held(job.work.limits, index=form.keeps_tar)


def _once_more(job: _Job, forms: tuple[TreeFormat, ...]) -> _Job:
    """The same layer, from the blob that lies in the ingest now, in the first of *forms*."""
    remove_children(job.work.tree)
    return replace(job, work=job.work._replace(keep=False, sync=True, forms=forms), reads_file=True)


def _require_same(one: IncomingLayer, other: IncomingLayer) -> None:
    """Two places that announce one blob must announce the same of it."""
    if one.diff_id != other.diff_id:
        why = f"is announced with two diff IDs, {one.diff_id} and {other.diff_id}"
        raise DigestMismatchError(f"layer {one.digest}", why)
    if one.size != other.size:
        raise SizeMismatchError(f"layer {one.digest}", f"is announced with two sizes, {one.size} and {other.size}")


def _joined(old: LayerRecord | None, new: LayerRecord) -> LayerRecord:
    """Two images of one archive may bring one layer in two compressions."""
    if old is None:
        return new
    blobs = (*(blob for blob in old.blobs if blob not in new.blobs), *new.blobs)
    return LayerRecord(new.diff_id, new.parent, blobs, new.size, new.tree)


def _outcome(work: LayerPass, source: Reader, report: Callable[[int], None]) -> LayerOutcome | _Again:
    """`take_layer` with the first of the forms; or why it has to be read again."""
    try:
        return take_layer(work._replace(forms=work.forms[:1]), source, report)
    except CrowdedError:
        return _Again.ALONE
    except UnrepresentableError:
        if len(work.forms) < 2:
            raise
        return _Again.OTHER_FORM


def _unreported(_count: int) -> None:
    """For layers that are small, and many."""


def _opened(path: str, stack: ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)
