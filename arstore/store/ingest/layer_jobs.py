"""Reading layers: as many passes at a time as there are processors, each in a process that has given up its rights.

What a first pass could not do (others had the memory, or the form has no way to say what is in the layer) is done
again from the blob, which lies in the ingest by then, whole and verified.
"""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_children
from arstore.store.ingest.incoming import prepare_fetching, rest_opener
from arstore.store.ingest.layer_pass import SMALL, LayerOutcome, LayerPass, take_layer
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
    from arstore.disk.staging import Ingest
    from arstore.store.ingest.incoming import BlobSource, IncomingLayer
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.trees.format import TreeFormat
    from arstore.workers.confinement import Confinement
    from arstore.workers.pool import Report

_FEWEST, _MOST = 4, 64
"""Small layers that a process is started for, and the most that it gets: one that fails takes all of them with it."""

_PROCESSES = 8
"""Processes at a time, however many processors there are: each has buffers, and four threads."""
_BESIDES = 8 << 20
"""Bytes that a process has beside what layers hold: buffers above all. From the third on the budget pays for them."""


@answer
class Again(Enum):
    """Why a layer has to be read once more, from its blob, which is whole and verified by then."""

    ALONE = auto()
    """Others had the memory."""
    OTHER_FORM = auto()
    """The first form has no way to say what is in it."""


@dataclass(slots=True, frozen=True)
class Job:
    """A layer that has to be read, and what for."""

    layer: IncomingLayer
    work: LayerPass
    reads_store: bool
    reads_file: bool = False
    """Whether the blob is read where it lies: in the store, or where an earlier pass has put it."""
    is_fetched: bool = False
    """Whether the blob comes through a pipe, from a process that fetches it."""
    beginning: Beginning | None = None
    """What there is of a blob that is fetched: only the rest of it comes through the pipe, if there is one."""


class Passes:
    """The reading of the layers that one piece of work needs, inside its ingest."""

    def __init__(self, ingest: Ingest, blobs: BlobSource, limits: Limits, progress: Progress, room: Room) -> None:
        self._ingest = ingest
        self._blobs = blobs
        self._limits = limits
        self._progress = progress
        self._room = room
        self._durable = True

    def read(self, jobs: list[Job], durable: bool = True) -> list[tuple[Job, LayerOutcome]]:
        """Read what these *jobs* say, the largest layers first. The graph must not be open.

        Unless *durable*, the caller syncs the file system before anything is published. Raises the errors of
        `take_layer`, LimitError for all together, NoSpaceError, HostError and OSError.
        """
        self._durable = durable
        return self._read_layers(_grouped(jobs))

    def _read_layers(self, groups: list[list[Job]]) -> list[tuple[Job, LayerOutcome]]:
        """Read these layers, at a time; then those that others left no memory for, one by one; then the next form's.

        The next form comes in other workers, because it takes rights that the first one does without.
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
        """Read these layers, as many at a time as there are processors, or *alone*; each group in a process."""
        found: list[tuple[Job, LayerOutcome | Again]] = []
        sizes = (0, 0)
        groups, budgets = _budgeted(groups, alone=alone)
        if any(job.is_fetched for group in groups for job in group):
            # Once for all workers: what they are to inflate cannot be looked at before they are confined.
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
        """Say that these layers were read; of several nothing has been said before."""
        for job in group:
            if len(group) > 1:
                self._progress.advance(job.layer.diff_id, job.layer.size)
                self._check_room(job, job.layer.size)
            self._progress.finish(job.layer.diff_id)

    def _tell_work(self, group: list[Job]) -> None:
        """Say how many steps these layers have taken, of those that take many."""
        for job in group:
            steps = 0 if job.work.tally is None else job.work.tally.noted(job.work.number)
            if steps >= LOOK:
                self._progress.worked(job.layer.diff_id, steps)

    def _check_room(self, job: Job, progress: int) -> None:
        """Refuse what does not fit any more, all blobs that are still to come together. Raises NoSpaceError."""
        if job.work.keep:
            self._room.came(progress)
            self._room.check()

    def _check_inflated(
        self, done: list[tuple[Job, LayerOutcome]], stored: int = 0, inflated: int = 0
    ) -> tuple[int, int]:
        """Apply to all new layers together what holds for each: many small bombs are a large one.

        *stored* and *inflated* are the bytes of those before; returned are those with *done*. Raises LimitError.
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
        """How these layers are read: by a worker, and where they are fetched by a process that feeds it."""
        wanted = [self._wanted(job) for job in group if job.is_fetched]
        if not wanted:
            return partial(self._read_group, group, -1)
        return Fed(partial(_fetch, wanted), partial(self._read_group, group))

    def _wanted(self, job: Job) -> Wanted:
        """What is to be fetched of a blob."""
        digest, size, rest = job.layer.digest, job.layer.size, rest_opener(self._blobs)
        if job.beginning is None or rest is None:
            return Wanted(f"blob {digest}", size, partial(self._blobs.open_blob, digest))
        return Wanted(f"blob {digest}", size - job.beginning.size, partial(rest, digest, job.beginning.size))

    def _read_group(self, group: list[Job], pipe: int, report: Report) -> list[LayerOutcome | Again]:
        """In a worker: read these layers, those that are fetched from *pipe*.

        Of several, the blobs are made durable together, when all are written.
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
        """In a worker: the layer's blob, open where it is read, and what undoes its compression imported."""
        if job.beginning is not None:
            stream: Reader = Continued(*job.beginning, io.BytesIO())
        elif job.reads_file:
            stream = io.FileIO(_opened_blob(job.work.blob, stack), closefd=False)
        else:
            blob = stream = self._blobs.open_blob(job.layer.digest)
            stack.callback(blob.close)
        # Read, not looked at in its place: a stream need not have one.
        head = head_of(stream, codec.HEAD)
        preload(heads=[head])
        return Resumed(head, stream)

    def _confine(self, works: Sequence[LayerPass]) -> Confinement:
        """In a worker: from here on it has the rights that these passes take, and no others."""
        forms = {form.name: form for work in works for form in work.forms[:1]}
        digests = [digest for work in works for digest in (work.digest, work.diff_id)]
        preload(digests=digests, forms=forms.values())
        extracts = any(form.properties.extracts for form in forms.values())
        confined = (confinement.making if extracts else confinement.writing)(self._ingest.path)
        confined.shed()
        confined.enter()
        return confined


def _grouped(jobs: list[Job]) -> list[list[Job]]:
    """*jobs*, the largest first, as processes are to do them: small ones together, evenly over the processors."""
    large = [[job] for job in jobs if job.layer.size >= SMALL]
    small = jobs[len(large) :]
    size = max(_FEWEST, min(_MOST, -(-len(small) // _processes())))
    groups = [small[start : start + size] for start in range(0, len(small), size)]
    return large + [[_synced_together(job) for job in group] if len(group) > 1 else group for group in groups]


def _synced_together(job: Job) -> Job:
    return replace(job, work=job.work._replace(sync=not job.work.keep))


def _processes() -> int:
    """How many layers, or groups of small ones, are read at a time."""
    return min(len(os.sched_getaffinity(0)), _PROCESSES)


def _budgeted(groups: list[list[Job]], *, alone: bool) -> tuple[list[list[Job]], list[Budget]]:
    """The same groups, each with its account; a budget for each, the same one for all unless they are read alone."""
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
    """The same layer, from the blob that lies in the ingest now, in the first of *forms*."""
    return replace(job, work=another_pass(job.work, forms), reads_file=True, is_fetched=False, beginning=None)


def _in_other_form(job: Job) -> Job:
    """The same layer for its next form. What the first one cost counts as well."""
    again = _once_more(job, job.work.forms[1:])
    tally = job.work.tally
    counted = 0 if tally is None else tally.noted(job.work.number)
    return replace(again, work=again.work._replace(counted=counted))


def another_pass(work: LayerPass, forms: tuple[TreeFormat, ...]) -> LayerPass:
    """Empty the tree's directory, and return the work on the blob, which is in its file now, for these *forms*."""
    remove_children(work.tree)
    return work._replace(keep=False, sync=True, forms=forms)


def attempt(work: LayerPass, source: Reader, report: Callable[[int], None]) -> LayerOutcome | Again:
    """Do one pass, in the first of the forms; or return why there has to be `another_pass`."""
    try:
        return take_layer(work, source, report)
    except CrowdedError:
        return Again.ALONE
    except UnrepresentableError:
        if len(work.forms) < 2:
            raise
        return Again.OTHER_FORM


def _fetch(wanted: list[Wanted], pipe: int) -> None:
    """In a fetching process: give up the rest, and send these blobs."""
    confined = confinement.fetching()
    confined.shed()
    confined.enter()
    fetch(wanted, pipe)


def _without_bytes(report: Report, count: int) -> None:
    """For layers that are small, and many: tell of work alone."""
    if not count:
        report(0)


def _begun(job: Job, stream: Reader) -> Reader:
    """In a worker: the blob that comes as *stream*, with what there was of it before."""
    return stream if job.beginning is None else Continued(*job.beginning, stream)


class Continued:
    """The first *size* bytes of the open file *fd*, then *rest*."""

    def __init__(self, fd: int, size: int, rest: Reader) -> None:
        self._fd = fd
        self._size = size
        self._at = 0
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""
        left = self._size - self._at
        if left <= 0:
            return self._rest.read(size)
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._at)
        # A file that has become shorter makes a wrong blob, which its digest tells.
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
