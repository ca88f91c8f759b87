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
from arstore.linux.process import as_subreaper, set_parent_death_signal
from arstore.runtime.lifecycle.channel import Receiver, Sender
from arstore.runtime.lifecycle.signals import exit_status, held_back
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_OURS, _GO = b"o", b"g"
"""Said to the child: that this process is its parent now, and that it may start."""
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
    os.write(go_write, _OURS)
    os.close(go_read)
    os.close(events_write)
    return Child(pid, Receiver(events_read), go_write)


def _fork(pid_namespace: int | None, own: int) -> int:
    """fork(2) with only the child in another pid namespace; the namespace for later children is restored."""
    if not _may_return(own):
        return _fork_through(pid_namespace)
    _go_to(pid_namespace)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            setns(own, CLONE_NEWPID)
    return pid


def _go_to(pid_namespace: int | None) -> None:
    if pid_namespace is None:
        unshare(CLONE_NEWPID)
    else:
        setns(pid_namespace, CLONE_NEWPID)


def _may_return(own: int) -> bool:
    """Whether later children can be in this process's pid namespace *own* again.

    In a user namespace they cannot, because the pid namespace belongs to the one above.
    """
    try:
        setns(own, CLONE_NEWPID)
    except PermissionError:
        return False
    return True


def _fork_through(pid_namespace: int | None) -> int:
    """Fork by a process in between, which alone goes to the pid namespace and ends; the child becomes ours."""
    reading, writing = os.pipe()
    with as_subreaper():
        middle = os.fork()
        if middle == 0:
            os.close(reading)
            if (pid := _fork_in_middle(pid_namespace, writing)) == 0:
                os.close(writing)
                return 0
        os.close(writing)
        with open(reading, "rb") as file:
            said = file.read()
        os.waitpid(middle, 0)
    pid, number = map(int, said.split() or (b"0", b"0"))
    if pid <= 0:
        raise OSError(number, os.strerror(number))
    return pid


def _fork_in_middle(pid_namespace: int | None, report: int) -> int:
    """Return 0 in the child; in the process between, report the child's pid, or else an errno, and end."""
    pid = number = 0
    try:
        _go_to(pid_namespace)
        pid = os.fork()
        if pid == 0:
            return 0
    except OSError as error:
        pid, number = -1, error.errno or 0
    os.write(report, b"%d %d" % (pid, number))
    os._exit(0)


def _be_child(work: Callable[[Sender], None], go_fd: int, report: Sender, death_signal: int) -> NoReturn:
    def life() -> None:
        if os.read(go_fd, 1) != _OURS:
            return
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
