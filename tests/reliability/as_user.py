"""An exercise as an ordinary user: `tools/reliability EXERCISE --user NAME`, which root runs.

The exercise runs in `arstore unshare`, in the user's home. So arstore, and the exercise that looks into its store, have
the user's subordinate ids and no right on the host. Afterwards root looks for what was left: processes with one of the
user's ids, files of subordinate ids in the home, mounts, and control groups.
"""

from __future__ import annotations

import os
import pwd
import shutil
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from arstore.linux.isolation.subordinate import granted
from reliability.figures import Figure, report

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECKOUT = Path(__file__).resolve().parents[2]
_PATIENCE = 10.0
"""Seconds that the last processes of an exercise may take to end."""
_PROBE = "import click, lmdb, arstore"


def main(name: str, words: list[str]) -> int:
    """Run the exercise with *words* as the user *name*; return its status, or 1 if something was left behind."""
    user = pwd.getpwnam(name)
    ids = _ids(user)
    home = Path(tempfile.mkdtemp(prefix="arstore-exercise-", dir=user.pw_dir))
    os.chown(home, user.pw_uid, user.pw_gid)
    try:
        before = set(_processes(ids))
        groups = set(_groups(user.pw_uid))
        python = _interpreter(user, home)
        inner = [python, "-m", "reliability", *words]
        status = _run(user, home, [python, "-m", "arstore", "--root", f"{home}/unused", "unshare", *inner])
        until = time.monotonic() + _PATIENCE
        while (processes := sorted(set(_processes(ids)) - before)) and time.monotonic() < until:
            time.sleep(0.1)
        left = {
            "processes": processes,
            "files of subordinate ids": _foreign_files(home, user.pw_uid),
            "mounts": _mounts(home),
            "control groups": sorted(set(_groups(user.pw_uid)) - groups),
        }
    finally:
        shutil.rmtree(home)
    figures = [Figure(f"left behind: {what}", _shown(found), "0", not found) for what, found in left.items()]
    return max(status, report(f"{words[0]} as an ordinary user", figures))


def _shown(found: list[str]) -> str:
    return f"{len(found)}: {', '.join(found[:5])}" if found else "0"


def _ids(user: pwd.struct_passwd) -> list[range]:
    ranges = granted("uid", user.pw_uid, user.pw_name)
    return [range(user.pw_uid, user.pw_uid + 1), *(range(first, first + count) for first, count in ranges)]


def _run(user: pwd.struct_passwd, home: Path, words: list[str]) -> int:
    """Run *words* as *user*, with *home* as the place of all temporary files; return their exit status."""
    switch = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--reset-env"]
    path = os.environ.get("PATH", os.defpath)
    environment = [f"PATH={path}:/usr/sbin:/sbin", f"HOME={user.pw_dir}", f"USER={user.pw_name}", f"TMPDIR={home}"]
    environment += [f"PYTHONPATH={_CHECKOUT}:{_CHECKOUT}/tests", "PYTHONDONTWRITEBYTECODE=1"]
    return subprocess.run([*switch, "env", *environment, *words], cwd=home, check=False).returncode


def _interpreter(user: pwd.struct_passwd, home: Path) -> str:
    """Return a Python that *user* may run, and that has what arstore needs."""
    for python in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or ""):
        environment = home / "python"
        if not python or _run(user, home, [python, "-m", "venv", "--without-pip", str(environment)]):
            continue
        (packages,) = environment.glob("lib/python3*/site-packages")
        (packages / "arstore.pth").write_text("\n".join([*site.getsitepackages(), str(_CHECKOUT)]) + "\n")
        found = str(environment / "bin" / "python")
        if not _run(user, home, [found, "-c", _PROBE]):
            return found
        shutil.rmtree(environment)
    raise SystemExit(f"{user.pw_name} can run no Python that has arstore's packages, or cannot read this checkout")


def _processes(ids: list[range]) -> Iterator[str]:
    """Yield each process with one of the ids, as its number and name."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = Path(f"/proc/{name}/status").read_text(errors="replace")
        except OSError:
            continue
        fields = dict(line.partition(":")[::2] for line in status.splitlines())
        uid = int(fields["Uid"].split()[0])
        if any(uid in one for one in ids) and not fields["State"].strip().startswith("Z"):
            yield f"{name} {fields['Name'].strip()}"


def _foreign_files(place: Path, uid: int) -> list[str]:
    """Return the files below *place* that another user owns, but those of root."""
    found = []
    for directory, names, files in os.walk(place):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            if os.lstat(path).st_uid not in {0, uid}:
                found.append(path)
    return found


def _mounts(place: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return [line.split(" ")[4] for line in lines if str(place) in line]


def _groups(uid: int) -> Iterator[str]:
    """Yield the control groups of containers that *uid* owns."""
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.basename(directory) == "arstore" and os.lstat(path).st_uid == uid:
                yield path
