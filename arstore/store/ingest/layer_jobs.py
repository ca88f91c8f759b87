"""Reading of layers: as many passes at once as there are processors, each in a confined process.

If a first pass fails because other layers had the memory, or because the form cannot represent the layer, the layer is
read again from its blob, which is in the ingest by then, complete and verified.
"""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_children
from arstore.store.ingest.incoming import prepare_fetching, rest_opener
from arstore.store.ingest.layer_pass import SMALL, LayerOutcome, LayerPass, take_layer
from arstore.store.ingest.one_file import prepared
from arstore.tar import codec
from arstore.tar.peeking import Resumed, head_of
from arstore.tar.steps import LOOK
from arstore.trace import reached
from arstore.trees.format import UnrepresentableError
from arstore.trees.memory_quota import CrowdedError, most_held
from arstore.trees.preload import preload, preload_codecs
from arstore.workers import confinement
from arstore.workers.fetching import Fetched, Wanted, fetch
from arstore.workers.pool import Fed, run_jobs
from arstore.workers.shared_budget import Budget
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.digest import Reader
    from arstore.disk.free_space import Room
    from arstore.disk.partial import Beginning
    from arstore.disk.paths import Directories
    from arstore.disk.staging import Ingest
    from arstore.store.ingest.incoming import BlobSource, IncomingLayer
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.trees.format import TreeFormat
    from arstore.workers.confinement import Confinement
    from arstore.workers.pool import Report

_FEWEST, _MOST = 4, 64
"""Minimum and maximum number of small layers in one process: if one of them fails, all fail."""

_PROCESSES = 8
"""Maximum number of processes, however many processors there are: each has buffers, and four threads."""
_BESIDES = 8 << 20
"""Memory in bytes, mostly buffers, of a process besides its layers; from the third process on, the budget pays it."""


@answer
class Again(Enum):
    """Why a layer has to be read again, from its blob, which is complete and verified by then."""

    ALONE = 1
    """Other layers had the memory."""
    OTHER_FORM = 2
    """The first form cannot represent it."""


@dataclass(slots=True, frozen=True)
class Job:
    """A layer to be read, with the results wanted."""

    layer: IncomingLayer
    work: LayerPass
    reads_store: bool
    reads_file: bool = False
    """Whether the blob is read from its file: in the store, or where an earlier pass has put it."""
    is_fetched: bool = False
    """Whether the blob comes through a pipe from a fetching process."""
    beginning: Beginning | None = None
    """The existing part of a blob; only the rest, if any, comes through the pipe."""


class Passes:
    """Reading of all layers that one import needs, inside its ingest."""

    def __init__(
        self,
        directories: Directories,
        ingest: Ingest,
        blobs: BlobSource,
        limits: Limits,
        progress: Progress,
        room: Room,
    ) -> None:
        self._directories = directories
        self._ingest = ingest
        self._blobs = blobs
        self._limits = limits
        self._progress = progress
        self._room = room
        self._durable = True

    def read(self, jobs: list[Job], durable: bool = True) -> list[tuple[Job, LayerOutcome]]:
        """Read the layers of *jobs*, the largest first. The graph must not be open.

        Unless *durable*, the caller syncs the file system before anything is published. Raises the errors of
        `take_layer`, LimitError for all layers together, NoSpaceError, HostError and OSError.
        """
        self._durable = durable
        return self._read_layers(_grouped(jobs))

    def _read_layers(self, groups: list[list[Job]]) -> list[tuple[Job, LayerOutcome]]:
        """Read these layers in parallel; then, one by one, those for which memory was short; then other forms.

        Another form is read by other workers, because it needs rights that the first one does not.
        """
        found = self._read_at_a_time(groups)
        alone = [[_once_more(job, job.work.forms)] for job, why in found if why is Again.ALONE]
        found += self._read_at_a_time(alone, alone=True)
        others = [[_in_other_form(job)] for job, why in found if why is Again.OTHER_FORM]
        done = [(job, value) for job, value in found if isinstance(value, LayerOutcome)]
        self._check_inflated(done)
        return done + (self._read_layers(others) if others else [])

    def _read_at_a_time(
        self, groups: list[list[Job]], *, alone: bool = False
    ) -> list[tuple[Job, LayerOutcome | Again]]:
        """Read these layers, each group in a process, as many at once as there are processors, or one if *alone*."""
        found: list[tuple[Job, LayerOutcome | Again]] = []
        sizes = (0, 0)
        groups, budgets = _budgeted(groups, alone=alone)
        groups = [[replace(job, work=prepared(job.work, self._directories)) for job in group] for group in groups]
        if any(job.is_fetched for group in groups for job in group):
            # Once for all workers: they cannot look at the blobs' compression before they are confined.
            preload_codecs()
            prepare_fetching(self._blobs)
        works = [self._work(group) for group in groups]
        for outcome in run_jobs(works, 1 if alone else _processes()):
            group = groups[outcome.index]
            if outcome.done and outcome.value is not None:
                budgets[outcome.index].give_back(outcome.index)
                done = list(zip(group, outcome.value, strict=True))
                found += done
                sizes = self._check_inflated(
                    [(job, value) for job, value in done if isinstance(value, LayerOutcome)], *sizes
                )
                self._tell(group)
            elif outcome.progress:
                self._progress.advance(group[0].layer.diff_id, outcome.progress)
                self._check_room(group[0], outcome.progress)
            else:
                self._tell_work(group)
        return found

    def _tell(self, group: list[Job]) -> None:
        """Report that these layers were read; the layers of a larger group were not reported before."""
        for job in group:
            if len(group) > 1:
                self._progress.advance(job.layer.diff_id, job.layer.size)
                self._check_room(job, job.layer.size)
            self._progress.finish(job.layer.diff_id)

    def _tell_work(self, group: list[Job]) -> None:
        """Report the steps of these layers, if there are many."""
        for job in group:
            steps = 0 if job.work.tally is None else job.work.tally.noted(job.work.number)
            if steps >= LOOK:
                self._progress.worked(job.layer.diff_id, steps)

    def _check_room(self, job: Job, progress: int) -> None:
        """Refuse content that no longer fits, counting all blobs that are still to come. Raises NoSpaceError."""
        if job.work.keep:
            self._room.came(progress)
            self._room.check()

    def _check_inflated(
        self, done: list[tuple[Job, LayerOutcome]], stored: int = 0, inflated: int = 0
    ) -> tuple[int, int]:
        """Apply the limit for one layer to all new layers together: many small bombs make a large one.

        *stored* and *inflated* are the bytes of earlier layers; return those including *done*. Raises LimitError.
        """
        for job, value in done:
            if not job.reads_store:
                stored += job.layer.size
                inflated += value.tar_size
        self._limits.check_inflated(inflated, stored, "the image")
        return stored, inflated

    def _work(
        self, group: list[Job]
    ) -> Callable[[Report], list[LayerOutcome | Again]] | Fed[list[LayerOutcome | Again]]:
        """Return the work on these layers: a worker, fed by a fetching process if blobs have to be fetched."""
        wanted = [self._wanted(job) for job in group if job.is_fetched]
        if not wanted:
            return partial(self._read_group, group, -1)
        return Fed(partial(_fetch, wanted), partial(self._read_group, group))

    def _wanted(self, job: Job) -> Wanted:
        """Return the part of a blob that has to be fetched."""
        digest, size, rest = job.layer.digest, job.layer.size, rest_opener(self._blobs)
        if job.beginning is None or rest is None:
            return Wanted(f"blob {digest}", size, partial(self._blobs.open_blob, digest))
        return Wanted(f"blob {digest}", size - job.beginning.size, partial(rest, digest, job.beginning.size))

    def _read_group(self, group: list[Job], pipe: int, report: Report) -> list[LayerOutcome | Again]:
        """In a worker: read these layers; blobs that are fetched come from *pipe*.

        The blobs of a group are synced together, when all are written.
        """
        with ExitStack() as stack:
            fetched = Fetched(pipe)
            sources = [_begun(job, fetched.next()) if job.is_fetched else self._source(job, stack) for job in group]
            spooled = [_opened_blob(job.work.blob, stack) for job in group if not job.work.keep and not job.reads_store]
            confined = self._confine([job.work for job in group])
            if len(group) > 1:
                report = partial(_without_bytes, report)
            outcomes = [
                attempt(job.work.moved(confined.inside), source, report)
                for job, source in zip(group, sources, strict=True)
            ]
            if len(group) > 1:
                reached("take.group-written")
            if self._durable:
                for fd in spooled:
                    os.fdatasync(fd)
                for job in group:
                    if not job.work.sync:
                        _sync_file(confined.inside(job.work.blob))
                if len(group) > 1:
                    reached("take.group-synced")
        return outcomes

    def _source(self, job: Job, stack: ExitStack) -> Reader:
        """In a worker: open the layer's blob, and import its decompressor."""
        if job.beginning is not None:
            stream: Reader = Continued(*job.beginning, io.BytesIO())
        elif job.reads_file:
            stream = io.FileIO(_opened_blob(job.work.blob, stack), closefd=False)
        else:
            blob = stream = self._blobs.open_blob(job.layer.digest)
            stack.callback(blob.close)
        # Read, not peeked at: a stream may have no position.
        head = head_of(stream, codec.HEAD)
        preload(heads=[head])
        return Resumed(head, stream)

    def _confine(self, works: Sequence[LayerPass]) -> Confinement:
        """In a worker: give up all rights except those that these passes need."""
        forms = {form.name: form for work in works for form in work.forms[:1]}
        digests = [digest for work in works for digest in (work.digest, work.diff_id)]
        preload(digests=digests, forms=forms.values())
        extracts = any(form.properties.extracts for form in forms.values())
        confined = (confinement.making if extracts else confinement.writing)(self._ingest.path)
        confined.shed()
        confined.enter()
        return confined


def _grouped(jobs: list[Job]) -> list[list[Job]]:
    """Group *jobs*, the largest first, by process: small layers together, evenly over the processors."""
    large = [[job] for job in jobs if job.layer.size >= SMALL]
    small = jobs[len(large) :]
    size = max(_FEWEST, min(_MOST, -(-len(small) // _processes())))
    groups = [small[start : start + size] for start in range(0, len(small), size)]
    return large + [[_synced_together(job) for job in group] if len(group) > 1 else group for group in groups]


def _synced_together(job: Job) -> Job:
    return replace(job, work=job.work._replace(sync=not job.work.keep))


def _processes() -> int:
    """Return how many layers, or groups of small ones, are read at once."""
    return min(len(os.sched_getaffinity(0)), _PROCESSES)


def _budgeted(groups: list[list[Job]], *, alone: bool) -> tuple[list[list[Job]], list[Budget]]:
    """Add an account to each job, and return a budget for each group: a shared one, unless they are read *alone*."""
    most = [max((_most_held(job) for job in group), default=0) for group in groups]
    limit = max(most, default=0)
    extra = max(min(_processes(), len(groups)) - 2, 0)
    shared = Budget(max(limit - extra * _BESIDES, limit // 2), len(groups))
    budgets = [Budget(one, len(groups)) if alone else shared for one in most]
    accounts = [budget.account(number) for number, budget in enumerate(budgets)]
    with_accounts = [
        [replace(job, work=job.work._replace(account=account)) for job in group]
        for group, account in zip(groups, accounts, strict=True)
    ]
    return with_accounts, budgets


def _most_held(job: Job) -> int:
    form = job.work.form
    return 0 if form is None else most_held(job.work.limits, index=not form.properties.extracts)


def _once_more(job: Job, forms: tuple[TreeFormat, ...]) -> Job:
    """Return a job for the same layer, read from its blob in the ingest, in the first of *forms*."""
    return replace(job, work=another_pass(job.work, forms), reads_file=True, is_fetched=False, beginning=None)


def _in_other_form(job: Job) -> Job:
    """Return a job for the same layer in its next form. The steps of the first one count as well."""
    again = _once_more(job, job.work.forms[1:])
    tally = job.work.tally
    counted = 0 if tally is None else tally.noted(job.work.number)
    return replace(again, work=again.work._replace(counted=counted))


def another_pass(work: LayerPass, forms: tuple[TreeFormat, ...]) -> LayerPass:
    """Empty the tree's directory; return the work for these *forms*, from the blob's file."""
    remove_children(work.tree)
    return work._replace(keep=False, sync=True, forms=forms, is_linked=False)


def attempt(work: LayerPass, source: Reader, report: Callable[[int], None]) -> LayerOutcome | Again:
    """Do one pass, in the first of the forms; or return why `another_pass` is necessary."""
    try:
        return take_layer(work, source, report)
    except CrowdedError:
        return Again.ALONE
    except UnrepresentableError:
        if len(work.forms) < 2:
            raise
        return Again.OTHER_FORM


def _fetch(wanted: list[Wanted], pipe: int) -> None:
    """In a fetching process: give up all other rights, and send these blobs."""
    confined = confinement.fetching()
    confined.shed()
    confined.enter()
    fetch(wanted, pipe)


def _without_bytes(report: Report, count: int) -> None:
    """Report only steps, for groups of small layers."""
    if not count:
        report(0)


def _begun(job: Job, stream: Reader) -> Reader:
    """In a worker: return the blob whose rest comes as *stream*, with its existing part in front."""
    return stream if job.beginning is None else Continued(*job.beginning, stream)


class Continued:
    """The first *size* bytes of the open file *fd*, then *rest*."""

    def __init__(self, fd: int, size: int, rest: Reader) -> None:
        self._fd = fd
        self._size = size
        self._at = 0
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, b"" at the end."""
        left = self._size - self._at
        if left <= 0:
            return self._rest.read(size)
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._at)
        # A file that has become shorter gives a wrong blob, which its digest will show.
        self._at = self._at + len(data) if data else self._size
        return data or self.read(size)


def _opened_blob(path: str, stack: ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)
