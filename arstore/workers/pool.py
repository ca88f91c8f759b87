"""Jobs in forked processes, as many at a time as there are processors.

Why processes: parsing and extraction are Python, which threads cannot run in parallel, and a child that a hostile layer
crashes takes nothing with it. Why fork: a job inherits open descriptors and costs a few milliseconds, where a fresh
interpreter costs a hundred. The caller releases the graph first, because LMDB does not survive a fork.

A child talks to its parent over a pipe: `(done, value)` pairs, either progress in bytes or the outcome, as `wire`.
A job may have a second child that feeds it (`Fed`), with what it may not fetch itself.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from arstore.errors import ArstoreError, HostError, reportable
from arstore.linux.files.writing import write_all
from arstore.linux.process import UMASK, set_parent_death_signal
from arstore.workers import fatal
from arstore.workers.wire import LONGEST, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

_LENGTH = struct.Struct("<I")
_HINT = "what it was reading may have taken it over"


Report = Callable[[int], None]
"""Takes the bytes that a job has handled since it last told."""


@dataclass(slots=True, frozen=True)
class Fed(Generic[T]):
    """A job that reads from a pipe, given its reading end, and what a second process does to feed it.

    `feed` is given the writing end. It has done enough when the job reads no more; when it fails, it tells the job.
    """

    feed: Callable[[int], None]
    job: Callable[[int, Report], T]


_FEEDER = -1
"""In place of a job's index: the process that feeds one."""


@dataclass(slots=True)
class _Child:
    index: int
    pid: int
    pipe: int
    buffer: bytearray = field(default_factory=bytearray)
    done: bool = False


@dataclass(slots=True, frozen=True)
class Outcome(Generic[T]):
    """How the job of this index ended, or (`done` False) how many bytes it has handled since it last told."""

    index: int
    done: bool
    progress: int = 0
    value: T | None = None


def run_jobs(jobs: Sequence[Callable[[Report], T] | Fed[T]], limit: int | None = None) -> Iterator[Outcome[T]]:
    """Run every job, each called with a function that it tells its progress to; yield outcomes as they come.

    The first error ends all jobs and is raised here: an ArstoreError or OSError as the job raised it, anything else as
    HostError. *limit* is the number of jobs at a time, by default that of the processors this process may use.
    """
    limit = limit or len(os.sched_getaffinity(0))
    waiting = list(enumerate(jobs))
    waiting.reverse()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        running: dict[int, _Child] = {}
        stack.callback(_end, running)
        while waiting or running:
            while waiting and sum(child.index != _FEEDER for child in running.values()) < limit:
                index, job = waiting.pop()
                with _undisturbed():
                    for child in _started(running, index, job):
                        selector.register(child.pipe, selectors.EVENT_READ, child)
            for key, _ in selector.select():
                child = key.data
                data = os.read(child.pipe, 1 << 16)
                child.buffer += data
                outcomes: Iterator[Outcome[T]] = _outcomes(child)
                yield from (outcome for outcome in outcomes if outcome.index != _FEEDER)
                if not data:
                    selector.unregister(child.pipe)
                    with _undisturbed():
                        del running[child.pid]
                        _reap(child)


@contextlib.contextmanager
def beside(job: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Run *job* in a process while the context goes on; what the context gives waits for the outcome, and returns it.

    It raises what `run_jobs` raises. A context that ends before has lost interest, and ends the job.
    """
    running: dict[int, _Child] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(_end, running)
        _start(running, job)
        yield lambda: _awaited(running)[0]


@contextlib.contextmanager
def divided(work: Callable[[int], T], parts: int) -> Iterator[Callable[[], list[T]]]:
    """Do work(0) to work(*parts* - 1), each once, beside the context, in a process for each processor but one.

    What the context gives takes part itself until nothing is left to begin with, and returns the outcomes in order, so
    that all have work to the end whatever the context takes; what is large should come first. Errors and a context that
    ends before are as for `beside`; *parts* are 256 at most.
    """
    running: dict[int, _Child] = {}
    with contextlib.ExitStack() as stack:
        taking, giving = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, taking)
        stack.callback(_end, running)
        # What is left to do is what is left in the pipe: whoever reads a byte does the part of that number.
        os.write(giving, bytes(range(parts)))
        os.close(giving)

        def share() -> Iterator[tuple[int, T]]:
            while number := os.read(taking, 1):
                yield number[0], work(number[0])

        def job(file: int) -> None:
            # Not into a pipe, which would be full soon, while nobody reads it yet.
            for answer in share():
                _write_framed(file, packed(answer))

        baskets = []
        for _ in range(min(len(os.sched_getaffinity(0)) - 1, parts)):
            basket = _Basket()
            stack.callback(os.close, basket.file)
            baskets.append(basket)
            _start(running, partial(job, basket.file))

        def outcomes() -> list[T]:
            found: dict[int, T] = {}
            for number, value in share():
                found[number] = value
                # What the others have by now, so that they have work as long as this process has.
                for basket in baskets:
                    found.update(cast("Iterator[tuple[int, T]]", basket.taken()))
            _awaited(running)
            for basket in baskets:
                found.update(cast("Iterator[tuple[int, T]]", basket.taken()))
            return [found[number] for number in range(parts)]

        yield outcomes


def _start(running: dict[int, _Child], job: Callable[[], T]) -> None:
    with _undisturbed():
        _started(running, 0, lambda _report: job())


def _started(running: dict[int, _Child], index: int, job: Callable[[Report], T] | Fed[T]) -> list[_Child]:
    """Start the process of a job, and before it the one that feeds it; they are among *running* then."""
    if not isinstance(job, Fed):
        child = _spawn(index, job, [other.pipe for other in running.values()])
        running[child.pid] = child
        return [child]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # Neither end may be open when another job is started: its processes would have it for as long as they live.
    try:
        try:
            feeder = _started(running, _FEEDER, partial(_feed, job.feed, writing, reading))
        finally:
            os.close(writing)
        return feeder + _started(running, index, partial(job.job, reading))
    finally:
        os.close(reading)


def _feed(feed: Callable[[int], None], writing: int, reading: int, _report: Report) -> None:
    os.close(reading)
    # The end of whoever reads is an error of write(2), not the end of this process.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        feed(writing)


def _awaited(running: dict[int, _Child]) -> list[Any]:
    """The outcomes of these children, none of which is left."""
    found = []
    for child in list(running.values()):
        while data := os.read(child.pipe, 1 << 20):
            child.buffer += data
        outcomes: list[Outcome[Any]] = list(_outcomes(child))
        with _undisturbed():
            del running[child.pid]
            _reap(child)
        found.append(outcomes[-1].value)
    return found


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put an interrupt off to the end: between a fork and our note of it, it would leave a process behind.

    It is the handler that is changed, not the signal mask, because a signal that one thread blocks another one takes.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(signal.SIGINT, None)


def _spawn(index: int, job: Callable[[Report], T], inherited: list[int]) -> _Child:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writing)
        return _Child(index, pid, reading)
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _work(partial(_begun, job, parent, (reading, *inherited), writing), writing)
        status = 0
    finally:
        os._exit(status)
    raise AssertionError("unreachable")


def _begun(job: Callable[[Report], T], parent: int, others: tuple[int, ...], pipe: int, report: Report) -> T:
    """Make this process a worker of *parent* without the descriptors of *others*, and do the job."""
    set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # A library's caller may have one that closes what this process makes to itself.
    os.umask(UMASK)
    for fd in others:
        os.close(fd)
    if fatal.report is not None:
        fatal.report = partial(_tell, pipe)
    return job(report)


def _work(job: Callable[[Report], T], pipe: int) -> None:
    # The threads of a worker report while others do: one message must not come into another.
    lock = threading.Lock()

    def send(message: tuple[bool, object]) -> None:
        with lock:
            _send(pipe, message)

    try:
        send((True, job(lambda count: send((False, count)))))
    except BaseException as error:  # the end of this process: what is not said here is lost
        send((True, reportable(error, "worker")))


def _tell(pipe: int, error: ArstoreError) -> int:
    """Answer with an error that ends this process at once; return the exit status."""
    _send(pipe, (True, error))
    return 0


def _send(pipe: int, message: tuple[bool, object]) -> None:
    _write_framed(pipe, packed(message))


def _write_framed(fd: int, data: bytes) -> None:
    for part in (_LENGTH.pack(len(data)), data):
        write_all(fd, part)


class _Basket:
    """A file in memory that a child writes its answers to, and where its parent finds them."""

    def __init__(self) -> None:
        self.file = os.memfd_create("answers", os.MFD_CLOEXEC)
        self._at = 0

    def taken(self) -> Iterator[object]:
        """The answers that are there, whole, and were not taken before. Raises HostError."""
        while len(header := os.pread(self.file, _LENGTH.size, self._at)) == _LENGTH.size:
            length = _checked_length(header)
            data = os.pread(self.file, length, self._at + _LENGTH.size)
            if len(data) < length:
                return
            self._at += _LENGTH.size + length
            yield unpacked(data)


def _framed(buffer: bytearray) -> Iterator[bytearray]:
    """The whole answers in *buffer*, from which they are taken. Raises HostError for one that is too long."""
    while len(buffer) >= _LENGTH.size:
        length = _checked_length(buffer)
        if len(buffer) < _LENGTH.size + length:
            return
        found = buffer[_LENGTH.size : _LENGTH.size + length]
        del buffer[: _LENGTH.size + length]
        yield found


def _checked_length(header: bytes | bytearray) -> int:
    (length,) = _LENGTH.unpack_from(header)
    if length > LONGEST:
        raise HostError("worker", f"a worker process wants to answer with {length} bytes", _HINT)
    return int(length)


def _outcomes(child: _Child) -> Iterator[Outcome[T]]:
    for answer in _framed(child.buffer):
        found = unpacked(answer)
        if not (isinstance(found, tuple) and len(found) == 2):
            raise HostError("worker", "a worker process answered what is no answer", _HINT)
        done, value = found
        if isinstance(value, BaseException):
            raise value
        child.done = bool(done)
        if done:
            yield Outcome(child.index, True, value=value)
        elif isinstance(value, int):
            yield Outcome(child.index, False, progress=value)


def _reap(child: _Child) -> None:
    os.close(child.pipe)
    _, status = os.waitpid(child.pid, 0)
    if status or not child.done:
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGSYS:
            raise HostError("worker", "a worker process was ended because it asked for what it never needs", _HINT)
        raise HostError("worker", f"a worker process ended unexpectedly (status {code})")


def _end(running: dict[int, _Child]) -> None:
    """Stop what still runs: the caller has lost interest, or one job failed."""
    with _undisturbed():
        for child in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            os.close(child.pipe)
        running.clear()
