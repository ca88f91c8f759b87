"""Children of the launcher: forked into a pid namespace, blocked until they may start, ended when their parent ends.

The child is a fork without exec, so everything that the caller has open must survive a fork. An LMDB environment does
not, and has to be closed before. The caller should have no other threads. Out of scope: the work of the child.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from arstore.errors import reportable
from arstore.linux.isolation.namespace import CLONE_NEWPID, setns, unshare
from arstore.linux.process import set_parent_death_signal
from arstore.runtime.lifecycle.channel import Receiver, Sender
from arstore.runtime.lifecycle.signals import exit_status, held_back
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_GO = b"g"
_HIGHEST = 2**31 - 1
"""close_range(2) takes it as "all"; a limit such as RLIMIT_NOFILE may have been lowered after a descriptor was opened.
"""


class Child(NamedTuple):
    """A child as its parent sees it: *pid* in the parent's namespace, its events, and the pipe that starts it."""

    pid: int
    events: Receiver
    go_fd: int

    def let_go(self) -> None:
        """Let it start."""
        try:
            os.write(self.go_fd, _GO)
        except BrokenPipeError:
            return

    def send_signal(self, number: int) -> None:
        """Send it a signal; do nothing if it has ended."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def wait(self) -> int:
        """Wait for its end and close its descriptors; return its exit status, as in a shell."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.go_fd)
        os.close(self.events.fd)
        return exit_status(status)


def spawn(work: Callable[[Sender], None], pid_namespace: int | None, death_signal: int) -> Child:
    """Fork a child into the open pid namespace *pid_namespace*, or (None) as PID 1 of a new one.

    It gets *death_signal* when this thread ends. Once started, it calls *work* with the sender of its events; any
    exception becomes the event `failed` (`errors.reportable`). The forwarded signals are blocked in it until *work*
    unblocks them. Raises OSError.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    events_read, events_write = os.pipe()
    go_read, go_write = os.pipe()
    with held_back():
        try:
            pid = _fork(pid_namespace, own)
        except OSError:
            for fd in (events_read, events_write, go_read, go_write):
                os.close(fd)
            raise
        finally:
            os.close(own)
        if pid == 0:
            os.close(go_write)
            os.close(events_read)
            _be_child(work, go_read, Sender(events_write), death_signal)
    os.close(go_read)
    os.close(events_write)
    return Child(pid, Receiver(events_read), go_write)


def _fork(pid_namespace: int | None, own: int) -> int:
    """fork(2) with only the child in another pid namespace; the namespace for later children is restored."""
    if pid_namespace is None:
        unshare(CLONE_NEWPID)
    else:
        setns(pid_namespace, CLONE_NEWPID)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            setns(own, CLONE_NEWPID)
    return pid


def _be_child(work: Callable[[Sender], None], go_fd: int, report: Sender, death_signal: int) -> NoReturn:
    def life() -> None:
        # A parent that ended before this line cannot send the signal, but its end of the pipe is closed.
        set_parent_death_signal(death_signal)
        for number in (signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        if os.read(go_fd, 1) == _GO:
            work(report)

    end_after(life, report)


def end_after(work: Callable[[], None], report: Sender) -> NoReturn:
    """Do *work* and end this process; any exception is reported as the event `failed`, and never printed."""
    status = 1
    try:
        work()
        status = 0
    except BaseException as error:  # the end of this process: an error not reported here is lost
        report.fail(reportable(error, "container"))
        status = 0
    finally:
        os._exit(status)


def close_others(*kept: int) -> None:
    """Close every descriptor above 2 except *kept*; negative ones are ignored."""
    low = 3
    for fd in sorted(fd for fd in set(kept) if fd > 2):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, _HIGHEST)
