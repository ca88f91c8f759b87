"""An ordinary user for tests, with or without subordinate ids, in a private mount namespace.

The host's /etc is not changed: the user exists only in files that are mounted over passwd, group, subuid and subgid. If
the Python of the tests is in a directory that only root may search, a view of that directory takes its place.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support import programs
from support.cli import REPOSITORY, Arstore

if TYPE_CHECKING:
    from collections.abc import Iterator

UID = 40_117
NAME = "arstore-test"
FIRST, COUNT = 1_300_000, 65_536
"""The subordinate ids."""

_ENTER = """
set -e
for name in passwd group subuid subgid; do
    [ -e "/etc/$name" ] && mount --bind "$0/etc/$name" "/etc/$name"
done
if [ -n "$1" ]; then
    mount --rbind "$2" "$0/view$2"
    mount --rbind "$0/view$1" "$1"
fi
shift 2
exec setpriv --reuid={uid} --regid={uid} --clear-groups --inh-caps=-all "$@"
""".replace("{uid}", str(UID))


@functools.cache
def why_none() -> str:
    """Why there cannot be an ordinary user here; "" if there can."""
    if not programs.is_root():
        return "making another user needs root"
    for name in ("unshare", "setpriv"):
        if programs.program(name) is None:
            return f"{name} (util-linux) is not installed"
    with user() as one:
        done = one.program(sys.executable, "-c", "import click, lmdb, arstore")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"an ordinary user cannot run this Python or read this checkout: {said}"
    return ""


@functools.cache
def why_no_namespace() -> str:
    """Why an ordinary user cannot have subordinate ids and mounts here; "" if that works."""
    if why := why_none():
        return why
    for name in ("newuidmap", "newgidmap"):
        if programs.program(name) is None:
            return f"{name} (uidmap) is not installed"
    with user() as one:
        done = one.program(sys.executable, "-c", _PROBE)
    return done.stdout.strip() if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1]


_PROBE = """
from arstore.linux.isolation.trial import inside
found = inside()
print(found.why or found.single or found.overlay)
"""


class Ordinary(Arstore):
    """A store of the user; `place` is the user's own directory, `home` its home."""

    def __init__(self, place: Path, prefix: tuple[str, ...]) -> None:
        super().__init__(place / "store", place / "run", prefix)
        self.place = place
        self.home = place

    def environment(self, **variables: str) -> dict[str, str]:
        """See Arstore."""
        own = {"HOME": str(self.home), "TMPDIR": "/tmp", "XDG_RUNTIME_DIR": "", "SHELL": "/bin/sh"}
        return super().environment(**{**own, **variables})

    def program(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run another program as this user."""
        return subprocess.run(
            [*self.prefix, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd="/",
            env=self.environment(**variables),
        )

    def inside(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script in `arstore unshare`; `ar` in it is arstore with this store."""
        ar = f'ar() {{ {" ".join(self.words()[len(self.prefix) :])} "$@"; }}\n'
        return self.program(*self.words("unshare", "sh", "-ec", ar + script)[len(self.prefix) :], **variables)


@contextmanager
def user(ranges: str | None = None) -> Iterator[Ordinary]:
    """Make the user for the duration of the context; *ranges* replaces the content of subuid and subgid.

    One at a time on this host: tests look for processes that the user left.
    """
    with open("/var/tmp/arstore-ordinary.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _made(ranges) as one:
            yield one


@contextmanager
def _made(ranges: str | None) -> Iterator[Ordinary]:
    place = Path(tempfile.mkdtemp(prefix="arstore-ordinary-", dir="/var/tmp"))
    try:
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        os.chown(home, UID, UID)
        etc = place / "etc"
        etc.mkdir()
        lines = {"passwd": f"{NAME}:x:{UID}:{UID}::{home}:/bin/sh\n", "group": f"{NAME}:x:{UID}:\n"}
        for name, line in lines.items():
            (etc / name).write_text(Path("/etc", name).read_text() + line)
        for name in ("subuid", "subgid"):
            (etc / name).write_text(f"{NAME}:{FIRST}:{COUNT}\n" if ranges is None else ranges)
        yield Ordinary(home, (*_unshare(), "sh", "-c", _ENTER, str(place), *_view(place)))
    finally:
        shutil.rmtree(place)


def _unshare() -> tuple[str, ...]:
    return ("unshare", "--mount", "--propagation", "private")


def _view(place: Path) -> tuple[str, str]:
    """Return a directory that users may not search, and the one below it that Python is in; two "" if there is none."""
    needed = Path(os.path.realpath(sys.base_prefix))
    closed = [one for one in needed.parents if not one.stat().st_mode & stat.S_IXOTH]
    if not closed or REPOSITORY.is_relative_to(closed[-1]):
        return "", ""
    (place / "view" / needed.relative_to("/")).mkdir(parents=True)
    return str(closed[-1]), str(needed)
