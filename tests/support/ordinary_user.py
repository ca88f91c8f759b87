"""An ordinary user with a home and subordinate ids, for tests that root runs; the host's files stay as they are.

Each command runs in its own mount namespace, where /etc/passwd, group, subuid and subgid have the user's lines. So
newuidmap(1), which reads them there, grants ids to a user who does not exist outside.
"""

from __future__ import annotations

import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.cli import REPOSITORY, Arstore

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME, UID = "arstore-test", 64_321
FIRST, COUNT = 1_879_048_192, 65_536
"""The subordinate ids."""
_FILES = ("passwd", "group", "subuid", "subgid")
_PYTHONS = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")
_PACKAGES = os.pathsep.join([str(REPOSITORY), *site.getsitepackages()])
_SCRIPT = """
place=$1; shift
for name in passwd group subuid subgid; do mount --bind "$place/etc/$name" "/etc/$name" || exit 99; done
eval "$before"
exec setpriv --reuid=$uid --regid=$uid --clear-groups "$@"
"""


class User(Arstore):
    """The user's store in `home`, and commands as that user; each enters the namespaces that it needs by itself."""

    def __init__(self, place: Path, ids: int = COUNT, before: str = "") -> None:
        """*before* is a command of the shell for root, before the user's command."""
        self.home = place / "home"
        super().__init__(self.home / "store", self.home / "run")
        self.home.mkdir()
        os.chown(self.home, UID, UID)
        place.chmod(0o755)
        etc = place / "etc"
        etc.mkdir()
        lines = {
            "passwd": f"{NAME}:x:{UID}:{UID}::{self.home}:/bin/sh\n",
            "group": f"{NAME}:x:{UID}:\n",
            **dict.fromkeys(("subuid", "subgid"), f"{NAME}:{FIRST}:{ids}\n" if ids else "\n"),
        }
        for name in _FILES:
            known = Path("/etc", name).read_text() if name in {"passwd", "group"} else ""
            (etc / name).write_text(known + lines[name])
        switches = [f"uid={UID}", f"before={before}", "unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(place)]
        self.prefix = ("env", *switches, "env", f"HOME={self.home}", f"USER={NAME}")
        self.python = next(filter(self._runs, _PYTHONS), "")

    def words(self, *arguments: str | Path | bytes) -> list[str]:
        """The whole command line."""
        options = ["--root", str(self.root), "--runroot", str(self.runroot)]
        return [*self.prefix, self.python, "-m", "arstore", *options, *map(os.fsdecode, arguments)]

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a command, in which another Python than this one finds the same packages."""
        path = os.environ.get("PATH", os.defpath)
        return super().environment(PYTHONPATH=_PACKAGES, PATH=f"{path}:/usr/sbin:/sbin", **variables)

    def shell(self, script: str) -> str:
        """Run a script of the shell as the user, outside of any user namespace; return what it prints."""
        words = [*self.prefix, "sh", "-ec", script]
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout

    @staticmethod
    def processes() -> list[str]:
        """The processes that run as the user, or with a subordinate id."""
        found = []
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                fields = dict(line.partition(":")[::2] for line in path.read_text().splitlines())
            except OSError:
                continue
            uid = int(fields["Uid"].split()[0])
            if (uid == UID or FIRST <= uid < FIRST + COUNT) and fields["State"].strip()[0] not in "ZX":
                found.append(f"{path.parent.name} {fields['Name'].strip()}")
        return found

    def _runs(self, python: str) -> bool:
        if not os.path.exists(python):
            return False
        words = [*self.prefix, python, "-c", "import click, lmdb, arstore"]
        return subprocess.run(words, env=self.environment(), capture_output=True, check=False, cwd="/").returncode == 0


@contextmanager
def ordinary_user(ids: int = COUNT, before: str = "") -> Iterator[User]:
    """Yield a user, whose files are removed at the end; skips where this host cannot have one."""
    if not programs.is_root():
        pytest.skip("only root can make an ordinary user with subordinate ids")
    for needed, package in (("newuidmap", "uidmap"), ("setpriv", "util-linux"), ("unshare", "util-linux")):
        if programs.program(needed) is None:
            pytest.skip(f"{needed} is not installed (package {package})")
    if not all(os.path.exists(f"/etc/{name}") for name in _FILES):
        pytest.skip("/etc/subuid and /etc/subgid do not exist")
    place = Path(tempfile.mkdtemp(prefix="arstore-user-", dir="/var/tmp"))
    try:
        user = User(place, ids, before)
        if not user.python:
            pytest.skip("an ordinary user can run no Python that has arstore's packages, or cannot read this checkout")
        yield user
    finally:
        for process in User.processes():
            with suppress(ProcessLookupError):
                os.kill(int(process.split()[0]), signal.SIGKILL)
        shutil.rmtree(place)
