"""Run gpg for one short task, within bounds and without a terminal.

gpg answers on two descriptors: the output, and the status lines (doc/DETAILS of GnuPG). Only the status lines say
reliably what happened, more than the exit status and the messages for people do. Both are limited, and so is the time:
a compressed message of a few kilobytes can expand to any size.
"""

from __future__ import annotations

import os
import resource
import selectors
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, NoReturn

from arstore.errors import HostError, SignatureError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = 60
"""Seconds that one run may take; verifying takes 0.03 s."""
_MOST_STATUS = 1 << 20
_MEMORY = 1 << 30
_QUIET = ("--batch", "--no-tty", "--disable-dirmngr")


class Answer(NamedTuple):
    """The answer of gpg: its exit status, its output, and its status lines without their prefix."""

    code: int
    output: bytes
    lines: tuple[str, ...]


def find() -> str:
    """The path of gpg, "" if it is not installed."""
    return shutil.which("gpg") or shutil.which("gpg2") or ""


def run(
    program: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    data: bytes = b"",
    most: int = 0,
    secret: bytes | None = None,
) -> Answer:
    """Run *program* with *data* on its stdin; accept at most *most* bytes of output.

    The program can read *secret* from the descriptor that replaces `{secret}` in *arguments*.
    Raises SignatureError when a bound is exceeded, HostError if the program cannot be started.
    """
    pipes = _Pipes(data, most, secret)
    try:
        words = [word.replace("{secret}", str(pipes.secret)) for word in arguments]
        command = [program, *_QUIET, "--status-fd", str(pipes.status[1]), *words]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            pass_fds=pipes.inherited(),
        ) as process:
            try:
                resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (SECONDS, SECONDS))
                pipes.exchange(process)
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                _too_long()
            except BaseException:
                process.kill()
                raise
    except OSError as error:
        raise HostError(program, f"cannot be run: {error.strerror}") from error
    finally:
        pipes.close()
    return Answer(code, bytes(pipes.output), _lines(bytes(pipes.said)))


class _Pipes:
    """The pipes to and from gpg."""

    def __init__(self, data: bytes, most: int, secret: bytes | None) -> None:
        self.status = os.pipe2(os.O_CLOEXEC)
        self.secret = -1
        self.output, self.said = bytearray(), bytearray()
        self._data = memoryview(data)
        self._most = most
        if secret is not None:
            self.secret = os.memfd_create("secret", os.MFD_CLOEXEC)
            os.write(self.secret, secret)
            os.lseek(self.secret, 0, os.SEEK_SET)

    def inherited(self) -> tuple[int, ...]:
        """The descriptors that gpg inherits."""
        return (self.status[1], *((self.secret,) if self.secret >= 0 else ()))

    def exchange(self, process: subprocess.Popen[bytes]) -> None:
        """Write and read until gpg has closed its ends. Raises SignatureError when a bound is exceeded."""
        assert process.stdin is not None
        assert process.stdout is not None
        os.close(self.status[1])
        self.status = (self.status[0], -1)
        until = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, (self.output, self._most))
            selector.register(self.status[0], selectors.EVENT_READ, (self.said, _MOST_STATUS))
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
            while selector.get_map():
                left = until - time.monotonic()
                if left <= 0:
                    _too_long()
                for key, _ in selector.select(left):
                    ended = self._write(key.fd) if key.data is None else _read(key.fd, *key.data)
                    if ended:
                        selector.unregister(key.fileobj)
                        if key.fileobj is process.stdin:
                            process.stdin.close()

    def _write(self, fd: int) -> bool:
        try:
            self._data = self._data[os.write(fd, self._data) :] if self._data else self._data
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        return not self._data

    def close(self) -> None:
        """Close our ends."""
        for fd in (*self.status, self.secret):
            if fd >= 0:
                os.close(fd)


def _read(fd: int, buffer: bytearray, most: int) -> bool:
    data = os.read(fd, 1 << 16)
    buffer += data
    if len(buffer) > most:
        raise SignatureError("OpenPGP message", f"holds more than {most} bytes")
    return not data


def _lines(said: bytes) -> tuple[str, ...]:
    prefix = "[GNUPG:] "
    text = said.decode("utf-8", "replace")
    return tuple(line.removeprefix(prefix) for line in text.split("\n") if line.startswith(prefix))


def _too_long() -> NoReturn:
    raise SignatureError("OpenPGP message", f"gpg did not finish within {SECONDS} s")
