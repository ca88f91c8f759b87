"""Forked children: the parent gets every failure in one line, and the child prints nothing."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.forking import guarded

from arstore.errors import HostError, InterruptedByUserError, RuntimeFailedError
from arstore.linux import kernel
from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.namespace import CLONE_NEWPID, CLONE_NEWUSER, setns, unshare
from arstore.linux.waiting import readable
from arstore.runtime.lifecycle import keeper
from arstore.runtime.lifecycle.channel import error_of
from arstore.runtime.lifecycle.child import spawn
from arstore.runtime.lifecycle.detach import detached


def deeper(number=0):
    return deeper(number + 1) + 1


def out_of_memory():
    raise MemoryError


def assertion():
    raise AssertionError("two\nlines")


def interrupted():
    raise KeyboardInterrupt


def asked_to_end():
    raise SystemExit(3)


ENDS = [
    (deeper, HostError, "unexpected RecursionError: "),
    (out_of_memory, HostError, "out of memory"),
    (assertion, HostError, "unexpected AssertionError: two"),
    (lambda: "\udcff".encode(), HostError, "unexpected UnicodeEncodeError"),
    (interrupted, InterruptedByUserError, "interrupted"),
    (asked_to_end, HostError, "unexpected SystemExit"),
]


@pytest.mark.root
@pytest.mark.parametrize(("work", "kind", "why"), ENDS)
def test_a_child_reports_every_exception(capfd, work, kind, why):
    child = spawn(lambda _report: work(), None, signal.SIGKILL)
    child.let_go()
    event = child.events.receive()
    child.wait()
    error = error_of(event)
    assert type(error) is kind
    assert error.why.startswith(why)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("work", "kind", "why"), ENDS)
def test_a_daemon_reports_every_exception(capfd, work, kind, why):
    with pytest.raises(kind) as caught:
        detached("it", lambda _report: work())
    assert caught.value.why.startswith(why)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("word", "why"),
    [("/nowhere/runtime", "No such file"), ("/bin/true\0", "embedded null"), ("/bin/\ud800", "UnicodeEncodeError")],
)
def test_a_runtime_that_cannot_be_executed(capfd, word, why):
    class Nothing:
        given = (0, 1, 2)

        def handed_over(self):
            """Nothing is to be closed."""

    with pytest.raises(RuntimeFailedError, match=why):
        keeper._spawn([word], Nothing())
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# --- in a user namespace, a process cannot go back to its own pid namespace ------------------------------------------


def in_user_namespace(work):
    """Run *work* in a child that is root of a new user namespace alone."""
    if not kernel.user_namespaces():
        pytest.skip("this host permits no user namespaces")
    child = os.fork()
    if child == 0:

        def inside():
            maps = user_namespace.maps_for(os.geteuid(), os.getegid(), (), ())
            unshare(CLONE_NEWUSER)
            user_namespace.map_own_ids(maps)
            own = os.open("/proc/self/ns/pid", os.O_RDONLY)
            with pytest.raises(PermissionError):
                setns(own, CLONE_NEWPID)
            work()

        guarded(inside)
    assert os.waitpid(child, 0)[1] == 0


def test_a_child_of_a_process_in_between():
    def work():
        before = os.getpid()
        for _ in range(2):
            child = spawn(lambda report: report.send("here", pid=os.getpid()), None, signal.SIGKILL)
            child.let_go()
            event = child.events.receive()
            assert event.fields["pid"] == 1
            assert child.pid != 1
            assert child.wait() == 0
        # Later children of this process are in its own pid namespace, and it adopts no one else.
        pid = os.fork()
        if pid == 0:
            os._exit(7 if os.getppid() == before else 8)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    in_user_namespace(work)


def test_a_child_in_the_pid_namespace_of_another():
    def work():
        first = spawn(lambda _report: signal.pause(), None, signal.SIGKILL)
        first.let_go()
        namespace = os.open(f"/proc/{first.pid}/ns/pid", os.O_RDONLY)
        second = spawn(lambda report: report.send("here", pid=os.getpid()), namespace, signal.SIGKILL)
        second.let_go()
        assert second.events.receive().fields["pid"] > 1
        second.wait()
        first.send_signal(signal.SIGKILL)
        assert first.wait() == 137

    in_user_namespace(work)


def test_it_ends_with_its_parent():
    reading, writing = os.pipe()

    def work():
        def live(report):
            report.send("here")
            while True:
                signal.pause()

        child = spawn(live, None, signal.SIGKILL)
        child.let_go()
        assert child.events.receive().name == "here"
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        os.close(reading)
        guarded(lambda: in_user_namespace(work))
    os.close(writing)
    os.waitpid(child, 0)
    # The child has the other end of the pipe, as long as it lives.
    assert readable(reading, 10 + time.monotonic())
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_what_the_kernel_refuses_is_reported():
    def work():
        with pytest.raises(OSError, match=r"Invalid argument|Operation not permitted"):
            spawn(lambda _report: None, os.open("/proc/self/ns/user", os.O_RDONLY), signal.SIGKILL)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    in_user_namespace(work)
