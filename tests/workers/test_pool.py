"""Jobs in processes: outcomes, progress, errors, crashes, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from support.waiting import PATIENCE

from arstore.errors import ArstoreError, DigestMismatchError, HostError
from arstore.workers.pool import Fed, Outcome, beside, divided, run_jobs


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_left():
    """Check that no child, dead or alive, and no descriptor remains."""
    before = descriptors()
    yield
    assert children() == []
    assert descriptors() == before


def values(jobs, limit=None):
    found = {}
    for outcome in run_jobs(jobs, limit):
        if outcome.done:
            assert outcome.index not in found
            found[outcome.index] = outcome.value
    return found


def answer(number, _report):
    return number, os.getpid()


@pytest.mark.parametrize("limit", [1, 2, 7, None])
def test_every_job_runs_once_in_a_process_of_its_own(limit):
    found = values([partial(answer, n) for n in range(12)], limit)
    assert [found[n][0] for n in range(12)] == list(range(12))
    pids = {pid for _, pid in found.values()}
    assert len(pids) == 12
    assert os.getpid() not in pids


def test_no_jobs():
    assert values([]) == {}


def test_progress_comes_in_order_and_before_the_end():
    def job(report):
        for count in (1, 2, 3):
            report(count)
        return "end"

    seen = list(run_jobs([job]))
    assert [(one.done, one.progress, one.value) for one in seen] == [
        (False, 1, None),
        (False, 2, None),
        (False, 3, None),
        (True, 0, "end"),
    ]


def test_no_more_run_at_a_time_than_allowed(tmp_path):
    def job(_report):
        mark = tmp_path / str(os.getpid())
        mark.touch()
        alive = len(list(tmp_path.iterdir()))
        time.sleep(0.03)
        mark.unlink()
        return alive

    assert max(values([job] * 7, 2).values()) <= 2


def test_a_large_outcome_arrives_whole():
    data = os.urandom(1 << 20)
    assert values([lambda _report: data, lambda _report: data[::-1]]) == {0: data, 1: data[::-1]}


@pytest.mark.parametrize(
    "error",
    [DigestMismatchError("layer", "lies", "hint"), OSError(28, "No space left", "name"), PermissionError(1, "x")],
    ids=["arstore", "os", "permission"],
)
def test_an_error_is_raised_as_the_job_raised_it(error):
    def job(_report):
        raise error

    with pytest.raises(type(error)) as caught:
        values([job])
    assert caught.value.args == error.args
    assert getattr(caught.value, "filename", None) == getattr(error, "filename", None)


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError("deep"), MemoryError(), KeyError("k")])
def test_any_other_error_is_one_of_the_host(error):
    def job(_report):
        raise error

    with pytest.raises(HostError) as caught:
        values([job])
    assert "memory" in caught.value.why or type(error).__name__ in caught.value.why


def test_an_error_ends_the_other_jobs():
    def fail(_report):
        time.sleep(0.05)
        raise DigestMismatchError("layer", "lies")

    started = time.monotonic()
    with pytest.raises(DigestMismatchError):
        values([lambda _report: time.sleep(60), fail, lambda _report: time.sleep(60)], 3)
    assert time.monotonic() - started < 10


def test_jobs_after_an_error_are_not_started(tmp_path):
    def fail(_report):
        raise DigestMismatchError("layer", "lies")

    with pytest.raises(DigestMismatchError):
        values([fail, lambda _report: (tmp_path / "ran").touch()], 1)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_is_a_clear_error(number):
    def job(report):
        report(5)
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)

    with pytest.raises(HostError, match=f"ended unexpectedly.*-{int(number)}"):
        values([job, lambda _report: time.sleep(60)], 2)


def test_a_job_that_exits_by_itself_is_an_error_whatever_its_status():
    def job(_report):
        os._exit(0)

    with pytest.raises(HostError):
        values([job])


def test_losing_interest_ends_all():
    jobs = run_jobs([lambda report: report(1), lambda _report: time.sleep(60)], 2)
    assert next(jobs) == Outcome(0, False, 1)
    jobs.close()


def test_an_interrupt_ends_all():
    def job(_report):
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        values([job, lambda _report: time.sleep(60)], 2)


@pytest.mark.parametrize("delay", [0, 0.001, 0.003])
def test_an_interrupt_at_any_moment_leaves_nothing(delay):
    signal.setitimer(signal.ITIMER_REAL, 0)
    old = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    jobs = [lambda _report: time.sleep(0.0005)] * 60
    try:
        for step in range(5):
            with pytest.raises(KeyboardInterrupt):
                interrupted_after(0.0005 + delay + step * 0.0007, jobs)
            assert children() == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def interrupted_after(seconds, jobs):
    signal.setitimer(signal.ITIMER_REAL, seconds)
    values(jobs, 4)


def test_a_job_dies_with_its_parent(tmp_path):
    mark = tmp_path / "pid"

    def job(_report):
        mark.write_text(str(os.getpid()))
        time.sleep(60)

    pid = os.fork()
    if pid == 0:
        try:
            values([job])
        finally:
            os._exit(0)
    deadline = time.monotonic() + PATIENCE
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    worker = mark.read_text()
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{worker}/stat", "rb") as file:
                if file.read().rsplit(b") ")[1][:1] == b"Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.005)
    pytest.fail("the worker outlived its parent")


def test_a_job_does_not_hold_the_pipes_of_the_others():
    def job(_report):
        return sorted(to for name in os.listdir("/proc/self/fd") if (to := link(name)).startswith("pipe:"))

    first, second = values([job, job], 2).values()
    assert set(first) & set(second) == inherited()


def link(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


def inherited():
    return {to for name in os.listdir("/proc/self/fd") if (to := link(name)).startswith("pipe:")}


@pytest.mark.parametrize("said", [b"no JSON", b'{"k":["os.system","false"]}', b"[true,1]", b'{"t":[true]}', b""])
def test_a_worker_that_says_what_is_no_answer(monkeypatch, said):
    monkeypatch.setattr("arstore.workers.pool.packed", lambda _value: said)
    with pytest.raises(HostError) as caught:
        values([lambda _report: 1])
    assert "invalid answer" in caught.value.why


def test_a_worker_that_says_too_much(monkeypatch):
    monkeypatch.setattr("arstore.workers.pool.LONGEST", 1000)
    assert values([lambda _report: "x" * 900]) == {0: "x" * 900}
    with pytest.raises(HostError):
        values([lambda _report: "x" * 1000])


# --- work that is divided -------------------------------------------------------------------------------------------


def answered(number):
    return number, os.getpid()


@pytest.mark.parametrize("processors", [1, 2, 5])
@pytest.mark.parametrize("parts", [0, 1, 3, 256])
def test_every_part_is_done_once_and_in_order(monkeypatch, processors, parts):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    with divided(answered, parts) as outcomes:
        found = outcomes()
    assert [number for number, _ in found] == list(range(parts))
    assert len({pid for _, pid in found} - {os.getpid()}) <= min(processors - 1, parts)


def test_the_context_takes_part_when_it_comes_to_it(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})

    def slow(number):
        time.sleep(0.02)
        return number, os.getpid()

    with divided(slow, 20) as outcomes:
        time.sleep(0.1)
        found = outcomes()
    assert [number for number, _ in found] == list(range(20))
    pids = [pid for _, pid in found]
    assert pids[0] != os.getpid()
    assert len(set(pids)) == 2


@pytest.mark.parametrize("processors", [1, 2])
def test_an_error_of_a_part_is_raised(monkeypatch, processors):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))

    def work(number):
        if number == 1:
            raise DigestMismatchError("layer", "lies")
        return number

    with divided(work, 4) as outcomes:
        time.sleep(0.05)
        with pytest.raises(DigestMismatchError):
            outcomes()


def test_a_process_that_dies_with_its_part_is_told(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    parent = os.getpid()

    def work(number):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with divided(work, 3) as outcomes:
        while not children_are_dead():
            time.sleep(0.01)
        with pytest.raises(HostError):
            outcomes()


def children_are_dead():
    return all(" Z " in Path(f"/proc/{pid}/stat").read_text() for pid in children())


@pytest.mark.parametrize("start", [lambda: divided(answered, 9), lambda: beside(lambda: time.sleep(60))])
def test_a_context_that_fails_leaves_nothing(start):
    with pytest.raises(KeyError), start():
        raise KeyError("other")


# --- jobs that are fed ----------------------------------------------------------------------------------------------


def reader(fd, _report):
    return os.getpid(), b"".join(iter(lambda: os.read(fd, 1 << 16), b""))


def feeding(number):
    return Fed(lambda fd: os.write(fd, b"%d of %d" % (number, os.getpid())), reader)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_job_is_fed_by_a_process_of_its_own(limit):
    found = values([feeding(number) if number % 2 else partial(answer, number) for number in range(9)], limit)
    processes = set()
    for number in range(1, 9, 2):
        process, text = found[number]
        told, _, feeder = text.partition(b" of ")
        assert told == b"%d" % number
        processes |= {process, int(feeder)}
    assert len(processes) == 8
    assert os.getpid() not in processes


def test_the_limit_is_of_jobs():
    """A job that waits for its feeder must not wait for a free place for it."""
    assert len(values([feeding(number) for number in range(6)], 1)) == 6


def test_a_job_that_has_enough_ends_its_feeder():
    def endless(fd):
        while True:
            os.write(fd, bytes(1 << 16))

    assert values([Fed(endless, lambda fd, _report: os.read(fd, 1))]) == {0: b"\0"}


def test_a_failing_job_ends_a_feeder_that_waits():
    def fail(_fd, _report):
        raise DigestMismatchError("x", "differs")

    with pytest.raises(DigestMismatchError):
        values([Fed(lambda _fd: time.sleep(1000), fail)])


def test_a_feeder_that_dies_is_an_error():
    def read(fd, _report):
        os.read(fd, 1)
        time.sleep(1000)

    with pytest.raises(HostError, match="ended unexpectedly"):
        values([Fed(lambda _fd: os.kill(os.getpid(), signal.SIGKILL), read)])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_what_is_no_error_and_ends_a_job_is_told(error):
    def fail(_report):
        raise error

    with pytest.raises(ArstoreError, match=f"interrupted|unexpected {type(error).__name__}"):
        values([fail])


def test_a_feeder_that_fails_is_an_error():
    def feed(_fd):
        raise ValueError("no")

    with pytest.raises(HostError, match="unexpected ValueError"):
        values([Fed(feed, lambda fd, _report: (os.read(fd, 1), time.sleep(1000)))])


def test_nobody_else_keeps_the_pipe_open():
    """A later job that inherited an end would keep a reader from its end, or a feeder from the news."""
    slow = Fed(lambda fd: (time.sleep(0.3), os.write(fd, b"x")), reader)

    def waiting(_report):
        time.sleep(3)

    started = time.monotonic()
    outcomes = run_jobs([slow, waiting], 2)
    assert next(outcomes).value[1] == b"x"
    assert time.monotonic() - started < 2
    outcomes.close()


def test_threads_of_a_worker_report_at_the_same_time():
    """Several threads read layers, and each of them reports progress."""

    def job(report):
        def tell():
            for _ in range(3000):
                report(1)

        threads = [threading.Thread(target=tell) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return "done"

    told = 0
    for outcome in run_jobs([job, job]):
        told += 0 if outcome.done else outcome.progress
        assert not outcome.done or outcome.value == "done"
    assert told == 2 * 4 * 3000
