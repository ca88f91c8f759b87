"""Commands that are forked from a process which has imported arstore: starting Python costs more than a short command.

A `Server` is such a process. It has done nothing but import, so a forked command is in the state of one that was
started with `python -m arstore`: with its own standard streams, environment, directory and umask, and with no other
descriptor. What differs is that all modules are loaded. The server imports nothing while it serves, and ends with the
process that made it. This file is its program, too.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

from support import budget, heap

REPOSITORY = Path(__file__).resolve().parents[2]
_LARGEST = 100_000
"""Bytes of a request; a longer one would not fit into a packet."""
_CHUNK = 1 << 16
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA)
_FIXED = ("PYTHON", "LC_", "LANG", "TZ", "SSL_", "OPENSSL_", "MALLOC_", "LD_")
"""Beginnings of the names of variables that Python or a library reads once, when it starts."""


def _standing() -> tuple[object, ...]:
    """Properties that a process inherits from its parent, and that no request holds."""
    return os.geteuid(), os.getegid(), os.getgroups(), [resource.getrlimit(limit) for limit in _LIMITS]


def _fixed(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_FIXED)}


def _umask() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    raise LookupError("Umask")


class Server:
    """The process that commands are forked from; commands may be run by several threads at once."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, "-P", "-m", "support.started", str(theirs.fileno())]
            # It ends as soon as it has forked the server: tests look at the children of their process.
            subprocess.run(
                words,
                env={**environment, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/tests"},
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                check=True,
            )
        self.pid = int(self._ours.recv(32))
        self._made = os.getpid(), _standing(), _fixed(environment)

    def suits(self, environment: dict[str, str]) -> bool:
        """Whether a command of this process with *environment* would be the same if it is forked."""
        return self._made == (os.getpid(), _standing(), _fixed(environment))

    def is_ours(self) -> bool:
        """Whether this process made it, and not its parent."""
        return self._made[0] == os.getpid()

    def seconds(self) -> float:
        """The processor time of the server and of the commands that have ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def run(
        self, arguments: list[str], environment: dict[str, str], cwd: str, data: bytes, timeout: float
    ) -> subprocess.CompletedProcess[bytes] | None:
        """Run Python with *arguments* to its end, as subprocess.run does; None if they are too long for it.

        They begin with "-m", "arstore", or with the path of a script. Raises subprocess.TimeoutExpired; the command has
        been killed then.
        """
        request = json.dumps([arguments, environment, cwd, _umask()]).encode()
        if len(request) > _LARGEST:
            return None
        with contextlib.ExitStack() as stack:
            answers, theirs = socket.socketpair()
            stack.enter_context(answers)
            pipes = [os.pipe() for _ in range(3)]
            (stdin, feed), (out, stdout), (err, stderr) = pipes
            sent = [stdin, stdout, stderr, theirs.fileno()]
            try:
                socket.send_fds(self._ours, [request], sent)
            finally:
                theirs.close()
                for fd in (stdin, stdout, stderr):
                    os.close(fd)
            answers.settimeout(60)
            pid = int.from_bytes(_exactly(answers, 4), "little")
            deadline = time.monotonic() + timeout
            try:
                found = _communicated(feed, data, [out, err], deadline)
                answers.settimeout(max(0.001, deadline - time.monotonic()))
                status = int.from_bytes(_exactly(answers, 4), "little", signed=True)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                answers.settimeout(60)
                _exactly(answers, 4)
                raise subprocess.TimeoutExpired(["python", *arguments], timeout) from None
        return subprocess.CompletedProcess(arguments, status, *found)


def _exactly(answers: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = answers.recv(count - len(data))
        if not more:
            raise RuntimeError("the server of commands has ended")
        data += more
    return data


def _communicated(feed: int, data: bytes, outputs: list[int], deadline: float) -> list[bytes]:
    """Write *data* to *feed* while reading *outputs* to their ends; all are closed then. Raises TimeoutError."""
    found: dict[int, list[bytes]] = {fd: [] for fd in outputs}
    left = memoryview(data)
    open_fds = {feed, *outputs}
    poll = select.poll()
    os.set_blocking(feed, False)
    for fd in open_fds:
        poll.register(fd, select.POLLOUT if fd == feed else select.POLLIN)

    def close(fd: int) -> None:
        poll.unregister(fd)
        os.close(fd)
        open_fds.discard(fd)

    try:
        if not data:
            close(feed)
        while open_fds:
            if time.monotonic() > deadline:
                raise TimeoutError
            for fd, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                if fd == feed:
                    try:
                        left = left[os.write(fd, left[:_CHUNK]) :]
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        close(fd)
                elif more := os.read(fd, _CHUNK):
                    found[fd].append(more)
                else:
                    close(fd)
    finally:
        for fd in list(open_fds):
            close(fd)
    return [b"".join(found[fd]) for fd in outputs]


_server: Server | None = None
_lock = threading.Lock()


def seconds() -> float:
    """The processor time of this process's server and its commands."""
    return 0.0 if _server is None or not _server.is_ours() else _server.seconds()


def server(environment: dict[str, str]) -> Server | None:
    """This process's server, made at the first use; None if a command with *environment* has to be started by itself.

    With --long all are.
    """
    global _server
    if budget.long:
        return None
    with _lock:
        if _server is None:
            _server = Server(environment)
        return _server if _server.suits(environment) else None


# From here on: the server.


def _import_all() -> None:
    import arstore

    for module in pkgutil.walk_packages(arstore.__path__, "arstore."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("click", "lmdb", "rich.console", "cryptography.x509", "isal.igzip_lib", "zlib_ng.zlib_ng", "blake3"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _make_lazies() -> None:
    """Make what arstore makes at its first use, the same in each process: constructors of values, and patterns."""
    from arstore import pattern, values

    for owner in values._Values.__subclasses__():
        with contextlib.suppress(TypeError):
            owner.__new__(owner)
    for one in gc.get_objects():
        if type(one) is pattern.pattern:
            one.search  # noqa: B018 - the first use


def _command(arguments: list[str], environment: dict[str, str], cwd: str, umask: int, fds: list[int]) -> NoReturn:
    """Become the command: in a process that was just forked."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, fd in enumerate(fds[:3]):
            os.dup2(fd, number)
        os.closerange(3, 1024)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        os.umask(umask)
        sys.argv[:], sys.orig_argv[:] = arguments, [sys.executable, *arguments]
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
        if arguments[:2] == ["-m", "arstore"]:
            from arstore.__main__ import main

            del sys.argv[1]
            main()
        runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    finally:
        os._exit(status)


def _serve(requests: socket.socket) -> None:
    """Fork a command for each request: it is answered with the command's pid and, at its end, with its status."""
    running: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if woken in ready:
            os.read(woken, _CHUNK)
            for pid in list(running):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    with running.pop(pid) as answers, contextlib.suppress(OSError):
                        answers.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
        if requests.fileno() not in ready:
            continue
        request, fds, _, _ = socket.recv_fds(requests, 2 * _LARGEST, 4)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            _command(*json.loads(request), fds)
        for fd in fds[:3]:
            os.close(fd)
        running[pid] = socket.socket(fileno=fds[3])
        with contextlib.suppress(OSError):
            running[pid].sendall(pid.to_bytes(4, "little"))


if __name__ == "__main__":
    _import_all()
    _make_lazies()
    heap.settle()
    if os.fork():
        os._exit(0)
    with socket.socket(fileno=int(sys.argv[1])) as _requests:
        _requests.send(str(os.getpid()).encode())
        _serve(_requests)
