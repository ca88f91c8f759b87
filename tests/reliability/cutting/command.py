"""One command of arstore, or of another program, run to its end: its status and its output."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Ended(NamedTuple):
    """How a command ended; the status is negative for a signal."""

    status: int
    out: str
    err: str


def arstore(desk: Path, *words: str) -> Ended:
    """Run `arstore` in a fork of this process, which has imported everything, so that it costs only its work."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            _be_arstore(desk, words)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    texts = [(desk / name).read_text(errors="backslashreplace") for name in ("out", "err")]
    return Ended(os.waitstatus_to_exitcode(status), *texts)


def _be_arstore(desk: Path, words: tuple[str, ...]) -> None:
    from arstore.__main__ import main

    for number, path in enumerate((os.devnull, desk / "out", desk / "err")):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0), 0o600)
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0, "r"), os.fdopen(1, "w"), os.fdopen(2, "w")
    for name in [name for name in os.environ if name.startswith("ARSTORE_")]:
        del os.environ[name]
    os.chdir("/")
    sys.argv = ["arstore", *words]
    main()


def program(*words: str, environment: dict[str, str] | None = None) -> Ended:
    """Run any other program."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, check=False, env={**os.environ, **(environment or {})}
    )
    texts = [data.decode("utf-8", "backslashreplace") for data in (done.stdout, done.stderr)]
    return Ended(done.returncode, *texts)
