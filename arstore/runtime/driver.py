"""OCI runtimes: the common command line of crun, runc and youki, and the meaning of their failures.

The command line is not part of the runtime-spec: `--root DIR --log FILE --log-format json COMMAND ...`. Containers are
started with `run --detach`, so that the exit status is always the runtime's, and never the container's. Out of scope:
running the command lines (`lifecycle.keeper`) and finding a runtime (`discovery`).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Protocol

from arstore.errors import (
    ArstoreError,
    CommandNotExecutableError,
    CommandNotFoundError,
    NoSpaceError,
    RuntimeFailedError,
)
from arstore.linux.isolation import user_namespace
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG_LIMIT = 1 << 20
_MESSAGE_LIMIT = 2000
_SERIOUS = ("error", "fatal", "panic")
"""Log levels of errors; a tuple, because a level of an unhashable type cannot be looked up in a set."""

_EXEC = r"(?:\bexec(?:utable)?(?: file)?:? [\"'`/]|exec failed|open executable|exec user process|executable ')"
_NOT_FOUND = rf"(?is){_EXEC}.*(?:not found|no such file|does ?n[o']t exist)"
_NOT_EXECUTABLE = (
    rf"(?is){_EXEC}.*(?:permission denied|is a directory|exec format error|not executable|operation not permitted)"
)
_NO_SPACE = r"(?i)no space left on device|disk quota exceeded"
_QUOTED = r"""(?s).*\bexec:? ["'`][^"'`]*["'`]:? (?:stat \S+: )?(.+)"""
_LOGFMT = r'msg="((?:[^"\\]|\\.)*)"'
# Not compiled here: that would take a millisecond of every run, and only a failure needs them.


class StatePlace(NamedTuple):
    """The directory for a runtime's state of one container, and its log file; absolute paths."""

    root: str
    log: str


class Runtime(Protocol):
    """The interface of a runtime for the launcher: argument vectors, and errors from its failures."""

    @property
    def path(self) -> str:
        """The path of the program."""

    @property
    def seccomp(self) -> bool:
        """Whether the runtime can apply a seccomp profile."""

    @property
    def cgroups(self) -> bool:
        """Whether its containers have their own control groups."""

    def run(
        self,
        place: StatePlace,
        name: str,
        bundle: str,
        pid_file: str,
        console: str = "",
        preserved: Sequence[int] = (),
    ) -> list[str]:
        """Create and start the container *name*, detached; *console* is the socket that receives the terminal.

        The container gets the descriptors *preserved*, which this process has open.
        """

    def exec(self, place: StatePlace, name: str, process: str, pid_file: str, console: str = "") -> list[str]:
        """Start another process, described in the file *process*, detached."""

    def state(self, place: StatePlace, name: str) -> list[str]:
        """Print the container's state as JSON."""

    def kill(self, place: StatePlace, name: str, number: int) -> list[str]:
        """Send a signal to the container's process."""

    def delete(self, place: StatePlace, name: str) -> list[str]:
        """Remove the remains of the container, killing it first."""

    def failure(self, log: bytes, stderr: bytes, what: str) -> ArstoreError:
        """Return the error behind a failed command, from its log file or else from its output."""


class OciRuntime(NamedTuple):
    """A runtime with the command line of crun and runc. *note* describes for users what it lacks.

    Without *cgroups*, its containers have no control groups, which only crun supports.
    """

    path: str
    seccomp: bool = True
    note: str = ""
    cgroups: bool = True

    @property
    def name(self) -> str:
        """The program's file name."""
        return os.path.basename(self.path)

    def run(
        self,
        place: StatePlace,
        name: str,
        bundle: str,
        pid_file: str,
        console: str = "",
        preserved: Sequence[int] = (),
    ) -> list[str]:
        """See Runtime."""
        words = ["run", "--detach", "--bundle", bundle, "--pid-file", pid_file]
        if preserved:
            # It takes all from 3 up to a number; those in between that are not wanted are closed here.
            words += ["--preserve-fds", str(max(preserved) - 2)]
        return self._argv(place, *words, *_console(console), name)

    def exec(self, place: StatePlace, name: str, process: str, pid_file: str, console: str = "") -> list[str]:
        """See Runtime."""
        words = ["exec", "--detach", "--process", process, "--pid-file", pid_file]
        return self._argv(place, *words, *_console(console), name)

    def state(self, place: StatePlace, name: str) -> list[str]:
        """See Runtime."""
        return self._argv(place, "state", name)

    def kill(self, place: StatePlace, name: str, number: int) -> list[str]:
        """See Runtime."""
        return self._argv(place, "kill", name, str(number))

    def delete(self, place: StatePlace, name: str) -> list[str]:
        """See Runtime."""
        return self._argv(place, "delete", "--force", name)

    def failure(self, log: bytes, stderr: bytes, what: str) -> ArstoreError:
        """See Runtime."""

        import re

        message = last_message(log) or _printed(stderr)
        if re.search(_NO_SPACE, message):
            return NoSpaceError(what, f"{self.name}: {message}", "free some space, or run `arstore gc`")
        if re.search(_NOT_FOUND, message):
            return CommandNotFoundError(what, _reason(message))
        if re.search(_NOT_EXECUTABLE, message):
            return CommandNotExecutableError(what, _reason(message))
        return RuntimeFailedError(what, f"{self.name}: {message or 'failed without a message'}")

    def _argv(self, place: StatePlace, *words: str) -> list[str]:
        options = ["--root", place.root, "--log", place.log, "--log-format", "json"]
        if not self.cgroups and not (self.name == "runc" and not user_namespace.is_initial()):
            # runc does not have this option. In a user namespace it makes none unless a path is given.
            options.append("--cgroup-manager=disabled")
        return [self.path, *options, *words]


def read_log(path: str) -> bytes:
    """Return the end of a runtime's log file, b"" if there is none."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _LOG_LIMIT))
            return file.read(_LOG_LIMIT)
    except FileNotFoundError:
        return b""


def last_message(log: bytes) -> str:
    """Return the last error of a log in JSON lines (`level`, `msg`); "" if there is none."""
    found = ""
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and entry.get("level") in _SERIOUS:
            found = one_line(str(entry.get("msg", "")))
    return found


def _printed(stderr: bytes) -> str:
    import re

    text = stderr.decode("utf-8", "replace").strip()
    found = re.findall(_LOGFMT, text)
    return one_line(found[-1] if found else text)


def _reason(message: str) -> str:
    """Return the text after the command's quoted name, which the error already has; else the whole message."""

    import re

    found = re.match(_QUOTED, message)
    return found[1] if found else message


def one_line(text: str) -> str:
    """Return a program's message as one printable line, not too long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean[:_MESSAGE_LIMIT]


def _console(socket: str) -> list[str]:
    return ["--console-socket", socket] if socket else []
