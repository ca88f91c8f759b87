"""Forked children: the parent gets every failure in one line, and the child prints nothing."""

from __future__ import annotations

import os
import signal

import pytest

from arstore.errors import HostError, InterruptedByUserError, RuntimeFailedError
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
