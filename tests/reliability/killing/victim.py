"""One command of arstore in a separate process, which may be killed at a trace point or at a moment.

    this process ─ watcher ─ victim (the program's own `main`) ─ its workers, keepers and containers

The watcher adopts every process that outlives its parent, and ends it after a while. The watcher also kills, always
with SIGKILL: at a trace point the listener in the victim, or in a process forked from it, writes to the watcher's
socket and waits; the kernel reports the sender's pid, translated to the watcher's pid namespace. All processes are
forked from one that has imported everything and opened no store, so that a command costs only its work.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.forking import guarded

from arstore import trace
from arstore.linux.process import become_subreaper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(trace.__file__).resolve().parents[1]

MAIN, OTHER = "main", "other"
"""The process that reaches a point: that of the command, or one that was forked from it."""
SELF, PARENT, GROUP = "self", "parent", "group"
"""The processes to kill: the one that reached the point; that of the command alone; its whole process group."""

_PATIENCE = 20.0
"""Seconds after which a process that has outlived the command counts as a survivor."""
_STUCK = 120.0
"""Seconds after which a command counts as hanging."""
_MOURNING = 0.3
"""Seconds for a process to notice that its parent was killed."""
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Kill:
    """When and what to kill: the *number*-th time that *role* reaches *point*, or *moment* seconds after the start."""

    point: str = ""
    role: str = MAIN
    number: int = 1
    whom: str = PARENT
    moment: float = 0.0

    def __str__(self) -> str:
        if self.point:
            return f"{self.whom} killed at {self.point}, {self.role} process, hit {self.number}"
        return f"{self.whom} killed after {self.moment * 1000:.1f} ms"


@dataclass
class Ended:
    """How a command ended: its status (negative for a signal), its output, its survivors, the points it passed."""

    status: int
    seconds: float
    survivors: list[str] = field(default_factory=list)
    killed: bool = False
    out: str = ""
    err: str = ""
    hits: list[tuple[str, str]] = field(default_factory=list)

    @property
    def document(self) -> Any:
        """Its output, as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Order:
    """A command: its words, where its output goes, its input, and whether its trace points are recorded.

    *meddling* is a point and a command of another process, which runs when the point is first reached.
    """

    words: tuple[str, ...]
    desk: Path
    stdin: str = os.devnull
    record: bool = False
    meddling: tuple[str, tuple[str, ...]] | None = None
    kill: Kill | None = None

    @property
    def listens(self) -> bool:
        """Whether the victim must listen to its trace points."""
        return self.record or self.meddling is not None or bool(self.kill and self.kill.point)


def command(order: Order) -> Ended:
    """Run `arstore` as *order* says."""
    desk = order.desk
    (desk / "hits").write_bytes(b"")
    reading, writing = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        os.close(reading)
        guarded(lambda: _watch(order, writing))
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    os.waitpid(watcher, 0)
    ended = Ended(**json.loads(said))
    ended.out = (desk / "out").read_text(errors="backslashreplace")
    ended.err = (desk / "err").read_text(errors="backslashreplace")
    ended.hits = [(point, role) for point, role, _ in map(str.split, (desk / "hits").read_text().splitlines())]
    return ended


# --- the watcher ----------------------------------------------------------------------------------------------------


def _watch(order: Order, report: int) -> None:
    become_subreaper()
    path = str(order.desk / "watcher")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server.bind(path)
        began = time.monotonic()
        victim = os.fork()
        if victim == 0:
            server.close()
            os.close(report)
            guarded(lambda: _be_victim(order))
        with contextlib.suppress(PermissionError):
            os.setpgid(victim, victim)
        killed = _attend(victim, server, order.kill, began)
        _, status = os.waitpid(victim, 0)
        seconds = time.monotonic() - began
        killed_later, survivors = _outlast(server)
    ended = {"status": os.waitstatus_to_exitcode(status), "seconds": seconds, "killed": killed or killed_later}
    os.write(report, json.dumps({**ended, "survivors": survivors}).encode())


def _attend(victim: int, server: socket.socket, kill: Kill | None, began: float) -> bool:
    """Wait for the victim's end, and kill it if wanted; return whether it was killed."""
    pidfd = os.pidfd_open(victim)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(server, select.POLLIN)
    killed = False
    until = began + (kill.moment if kill and kill.moment else _STUCK)
    try:
        while True:
            ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
            if pidfd in ready:
                return killed
            if server.fileno() in ready:
                whom, sender = _request(server)
            elif kill and kill.moment and not killed:
                whom, sender = kill.whom, victim
            else:
                whom, sender = GROUP, victim
                os.write(2, b"a command hangs and is killed\n")
            killed, until = True, time.monotonic() + _STUCK
            with contextlib.suppress(ProcessLookupError):
                if whom == GROUP:
                    os.killpg(victim, signal.SIGKILL)
                os.kill(sender if whom == SELF else victim, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _request(server: socket.socket) -> tuple[str, int]:
    """The target that a process at a trace point wants killed, and the pid of that process."""
    data, ancillary, _, _ = server.recvmsg(64, socket.CMSG_SPACE(_CREDENTIALS.size))
    ((_, _, credentials),) = ancillary
    return data.decode(), _CREDENTIALS.unpack(credentials)[0]


def _outlast(server: socket.socket) -> tuple[bool, list[str]]:
    """Wait for all processes that outlive the victim; after a while, kill the rest and return them.

    A daemon may reach its trace point now; the first value is whether one was killed there.
    """
    survivors: list[str] = []
    killed = False
    server.setblocking(False)
    until = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(BlockingIOError):
            whom, sender = _request(server)
            if whom == SELF:
                killed = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(sender, signal.SIGKILL)
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return killed, survivors
        if pid:
            continue
        if time.monotonic() > until:
            for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
                survivors.append(Path(f"/proc/{child}/cmdline").read_text().replace("\0", " "))
                os.kill(int(child), signal.SIGKILL)
            until = time.monotonic() + _PATIENCE
        time.sleep(0.002)


# --- the victim -----------------------------------------------------------------------------------------------------


def _be_victim(order: Order) -> None:
    from arstore.__main__ import main

    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    for number, (path, flags) in enumerate(
        (
            (order.stdin, os.O_RDONLY),
            (str(order.desk / "out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (str(order.desk / "err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        )
    ):
        fd = os.open(path, flags, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.chdir("/")
    for name in [name for name in os.environ if name.startswith("ARSTORE_")]:
        del os.environ[name]
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0, "r"), os.fdopen(1, "w"), os.fdopen(2, "w")
    if order.listens:
        trace.listen(_Listener(order).reached)
    sys.argv = ["arstore", *order.words]
    main()


class _Listener:
    """Receives the trace points, in the victim and in all processes forked from it; records each, asks to be killed.

    A worker cannot open files any more, and a keeper closes inherited descriptors: so each uses what it still has.
    """

    def __init__(self, order: Order) -> None:
        self._main = os.getpid()
        self._kill = order.kill
        self._meddling = order.meddling
        self._lock = threading.Lock()
        self._serial = 0
        self._hits = _Inherited(lambda: os.open(order.desk / "hits", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC))
        self._watcher = _Inherited(lambda: _connected(str(order.desk / "watcher")))

    def reached(self, point: str) -> None:
        role = MAIN if os.getpid() == self._main else OTHER
        kill = self._kill
        with self._lock:
            number = self._count(f"{point} {role}")
        if self._meddling is not None and (point, role, number) == (self._meddling[0], MAIN, 1):
            words = [sys.executable, "-m", "arstore", *self._meddling[1]]
            subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=CHECKOUT, check=True)
        if kill is None or (point, role, number) != (kill.point, kill.role, kill.number):
            return
        # The watcher itself may have been ended.
        with contextlib.suppress(ConnectionError), self._watcher.opened() as fd:
            os.write(fd, kill.whom.encode())
        # A worker ends soon after the command; a process that is meant to outlive it goes on.
        time.sleep(_STUCK if role == MAIN or kill.whom == SELF else _MOURNING)

    def _count(self, what: str) -> int:
        """Add *what* to the list of hits; return its number among its kind."""
        self._serial += 1
        line = f"{what} {os.getpid()}.{self._serial}"
        with self._hits.opened() as fd:
            os.write(fd, f"{line}\n".encode())
            lines = os.pread(fd, os.fstat(fd).st_size, 0).decode().splitlines()
        return sum(one.startswith(f"{what} ") for one in lines[: lines.index(line) + 1])


class _Inherited:
    """A descriptor that is used as long as it is the same file, and opened again after another process closed it."""

    def __init__(self, opening: Callable[[], int]) -> None:
        self._opening = opening
        self._fd = opening()
        self._identity = self._look()

    def _look(self) -> tuple[int, int]:
        try:
            status = os.fstat(self._fd)
        except OSError:
            return 0, 0
        return status.st_dev, status.st_ino

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        if self._look() == self._identity:
            yield self._fd
            return
        fd = self._opening()
        try:
            yield fd
        finally:
            os.close(fd)


def _connected(path: str) -> int:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    client.connect(path)
    return client.detach()
