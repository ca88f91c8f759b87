"""Jobs in forked processes, as many at a time as there are processors.

Processes, because parsing and extraction are Python code, which threads cannot run in parallel, and because a child
that a hostile layer crashes does no other damage. Fork, because a job inherits open descriptors and starts in a few
milliseconds; a new interpreter takes a hundred. The caller closes the graph first: LMDB does not survive a fork.

A child sends its parent `(done, value)` pairs through a pipe, encoded by `wire`: progress in bytes, or the outcome.
A job may have a second child that feeds it (`Fed`) with data that it may not fetch itself.
"""

from __future__ import annotations

import os
import selectors
import signal
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from arstore.errors import ArstoreError, HostError, reportable
from arstore.linux.files.writing import write_all
from arstore.linux.process import UMASK, set_parent_death_signal
from arstore.workers import fatal
from arstore.workers.wire import LONGEST, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

T = TypeVar("T")

_LENGTH = struct.Struct("<I")
_HINT = "it may have been compromised by its input"


Report = Callable[[int], None]
"""Takes the number of bytes that a job has handled since its last report."""


@dataclass(slots=True, frozen=True)
class Fed(Generic[T]):
    """A job that reads from a pipe, and the function that feeds it in a second process.

    `job` gets the reading end, `feed` the writing end. The feeder is done when the job stops reading; it sends its own
    errors to the job.
    """

    feed: Callable[[int], None]
    job: Callable[[int, Report], T]


_FEEDER = -1
"""Used instead of a job's index: the process that feeds one."""


@dataclass(slots=True)
class _Child:
    index: int
    pid: int
    pipe: int
    buffer: bytearray = field(default_factory=bytearray)
    done: bool = False


@dataclass(slots=True, frozen=True)
class Outcome(Generic[T]):
    """Outcome of the job with this index, or (`done` False) how many bytes it has handled since its last report."""

    index: int
    done: bool
    progress: int = 0
    value: T | None = None


def run_jobs(jobs: Sequence[Callable[[Report], T] | Fed[T]], limit: int | None = None) -> Iterator[Outcome[T]]:
    """Run every job, each called with a function that takes its progress; yield outcomes as they arrive.

    The first error ends all jobs and is raised here: ArstoreError or OSError as the job raised it, other exceptions as
    HostError. *limit* is the number of jobs at a time (default: the number of processors that this process may use).
    """
    limit = limit or len(os.sched_getaffinity(0))
    waiting = list(enumerate(jobs))
    waiting.reverse()
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
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


@contextmanager
def beside(job: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Run *job* in a process during the context; yield a function that waits for the outcome and returns it.

    The function raises the job's ArstoreError or OSError, HostError for other exceptions. If the context ends before it
    is called, the job is killed.
    """
    running: dict[int, _Child] = {}
    with ExitStack() as stack:
        stack.callback(_end, running)
        _start(running, job)
        yield lambda: _awaited(running)[0]


@contextmanager
def divided(work: Callable[[int], T], parts: int) -> Iterator[Callable[[], list[T]]]:
    """Do work(0) to work(*parts* - 1), each once, in parallel with the context, in one process per processor but one.

    The yielded function takes part in the work until no part is left, and returns the outcomes in order. So all
    processes are busy to the end, whatever the context does; large parts should come first. Errors are raised as by
    `beside`, and a context that ends early kills the processes. *parts* is at most 256.
    """
    running: dict[int, _Child] = {}
    with ExitStack() as stack:
        taking, giving = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, taking)
        stack.callback(_end, running)
        # The pipe holds the numbers of the parts that are left: a process that reads a byte does that part.
        os.write(giving, bytes(range(parts)))
        os.close(giving)

        def share() -> Iterator[tuple[int, T]]:
            while number := os.read(taking, 1):
                yield number[0], work(number[0])

        def job(file: int) -> None:
            # Into a file, not a pipe: a pipe would soon be full, while nothing reads from it yet.
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
                # Take the answers that are there, so that the others can work as long as this process does.
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
    """Start the process of a job, and first its feeder, if it has one; add both to *running*."""
    if not isinstance(job, Fed):
        child = _spawn(index, job, [other.pipe for other in running.values()])
        running[child.pid] = child
        return [child]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # Close both ends before another job is started: its processes would keep them open as long as they live.
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
    # When the reader ends, write(2) fails; the signal must not end this process.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        feed(writing)


def _awaited(running: dict[int, _Child]) -> list[Any]:
    """Wait for these children and return their outcomes; *running* is empty then."""
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


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay an interrupt to the end of the context: between a fork and our note of it, it would leave a process behind.

    The handler is changed, not the signal mask, because another thread takes a signal that one thread blocks.
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
    # The caller of the library may have a umask that hides new files even from this process.
    os.umask(UMASK)
    for fd in others:
        os.close(fd)
    if fatal.report is not None:
        fatal.report = partial(_tell, pipe)
    return job(report)


def _work(job: Callable[[Report], T], pipe: int) -> None:
    # Several threads of a worker may report at once: one message must not be written into another.
    lock = threading.Lock()

    def send(message: tuple[bool, object]) -> None:
        with lock:
            _send(pipe, message)

    try:
        send((True, job(lambda count: send((False, count)))))
    except BaseException as error:  # the process ends here: an error that is not sent is lost
        send((True, reportable(error, "worker")))


def _tell(pipe: int, error: ArstoreError) -> int:
    """Send an error that ends this process at once; return the exit status."""
    _send(pipe, (True, error))
    return 0


def _send(pipe: int, message: tuple[bool, object]) -> None:
    _write_framed(pipe, packed(message))


def _write_framed(fd: int, data: bytes) -> None:
    for part in (_LENGTH.pack(len(data)), data):
        write_all(fd, part)


class _Basket:
    """A file in memory for the answers of a child, which its parent reads."""

    def __init__(self) -> None:
        self.file = os.memfd_create("answers", os.MFD_CLOEXEC)
        self._at = 0

    def taken(self) -> Iterator[object]:
        """Yield the complete answers that were not taken before. Raises HostError."""
        while len(header := os.pread(self.file, _LENGTH.size, self._at)) == _LENGTH.size:
            length = _checked_length(header)
            data = os.pread(self.file, length, self._at + _LENGTH.size)
            if len(data) < length:
                return
            self._at += _LENGTH.size + length
            yield unpacked(data)


def _framed(buffer: bytearray) -> Iterator[bytearray]:
    """Remove the complete answers from *buffer* and yield them. Raises HostError for one that is too long."""
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
        raise HostError("worker", f"a worker process announced an answer of {length} bytes", _HINT)
    return int(length)


def _outcomes(child: _Child) -> Iterator[Outcome[T]]:
    for answer in _framed(child.buffer):
        found = unpacked(answer)
        if not (isinstance(found, tuple) and len(found) == 2):
            raise HostError("worker", "a worker process sent an invalid answer", _HINT)
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
            raise HostError("worker", "a worker process was killed for a system call that it never needs", _HINT)
        raise HostError("worker", f"a worker process ended unexpectedly (status {code})")


def _end(running: dict[int, _Child]) -> None:
    """Stop all children: the caller has stopped waiting, or a job failed."""
    with _undisturbed():
        for child in running.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            os.close(child.pipe)
        running.clear()
