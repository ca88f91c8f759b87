"""`cp` and `top` against a container that fights: links that lead out, names that change meanwhile, kinds of files.

The container has processes that swap a directory and a symlink to the victim as fast as they can, while files are
copied through that name in both directions. It runs for as long as the copies do.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING

from support import images

from hostile.case import FORMS, Case
from hostile.hosts import box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hostile.trial import Trial

ROUNDS = 12
INSTALL = "busybox mkdir -p /tmp/b; busybox --install -s /tmp/b; PATH=/tmp/b:$PATH; cd /; "
READY = "touch /ready; exec sleep 1000"


def _running(trial: Trial, script: str) -> bool:
    """Start the container `c` with a script that ends with READY, and wait for that."""
    picture = images.image(*box().layers, names=["box:1"], config={"Env": ["PATH=/bin"]})
    path = images.write_oci_archive(trial.source / "box.tar", picture)
    if trial.must("import", "--tree", trial.form, path).status:
        return False
    if trial.must("run", "-d", "--name", "c", "box:1", "sh", "-c", f"{INSTALL}{script}{READY}").status:
        return False
    waiting = "i=0; while [ ! -e /ready ] && [ $i -lt 600 ]; do busybox sleep 0.1; i=$((i+1)); done; [ -e /ready ]"
    return not trial.must("exec", "c", "sh", "-c", waiting).status


def _ended(trial: Trial) -> None:
    trial.run("container", "rm", "-f", "-t", "0", "c")
    shutil.rmtree(trial.target, ignore_errors=True)


def _fighting(script: str, attempt: Callable[[Trial, Path, str], None]) -> Callable[[Trial], None]:
    """A case: *attempt* gets an empty directory for copies, and the victim's path."""

    def tried(trial: Trial) -> None:
        try:
            if _running(trial, script.replace("{out}", str(trial.victim.path))):
                trial.target.mkdir()
                attempt(trial, trial.target, str(trial.victim.path))
        finally:
            _ended(trial)

    return tried


def _holds_nothing_foreign(trial: Trial, directory: Path) -> None:
    """Nothing of the host is among the copies."""
    for path in directory.rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_size < 1 << 20:
            content = path.read_bytes()[:4096]
            if content in {b"precious\n", b"key\n"} or content.startswith(b"root:x:0:0:root:/root:/bin/bash"):
                trial.faults.escapes.append(f"{path.name} has what the host has")


# --- links that stay as they are --------------------------------------------------------------------------------------

LINKS = (
    "mkdir /l; ln -s {out}/precious /l/abs; ln -s ../../../../../../../..{out}/precious /l/up; ln -s /etc/shadow /l/s; "
    "ln -s {out} /l/dir; ln -s /proc/1/root{out}/precious /l/magic; ln -s l /l/loop; ln -s /proc/self/fd/0 /l/fd; "
)


def _links(trial: Trial, target: Path, out: str) -> None:
    """Links are copied as links; named themselves, they lead nowhere, for the container does not have the victim."""
    trial.must("cp", "c:/l", target)
    trial.expect("the link", os.readlink(target / "l/abs"), f"{out}/precious")
    for name in ("abs", "up", "dir", "magic", "s"):
        trial.fails(("NotFound", "Host"), "cp", f"c:/l/{name}", target / f"{name}-followed")
    trial.fails(("NotFound", "Host"), "cp", "c:/l/loop", target / "loop")
    for path in (f"c:/../../../..{out}/precious", f"c:/l/../../../..{out}/precious", "c:/l/dir/precious"):
        trial.fails(("NotFound",), "cp", path, target / "up")
    (trial.source / "f").write_bytes(b"new")
    # A link that leads nowhere in the container names a new file there, or a missing directory.
    for name in ("abs", "up", "magic"):
        trial.fails(("NotFound", "Host"), "cp", trial.source / "f", f"c:/l/{name}")
    trial.fails(("NotFound",), "cp", trial.source / "f", "c:/l/dir/precious")
    _holds_nothing_foreign(trial, target)


def _links_in_the_way(trial: Trial, target: Path, out: str) -> None:
    """A copy out of the container does not go through links that an earlier one has brought."""
    trial.must("cp", "c:/l", target)
    (trial.source / "up/dir").mkdir(parents=True)
    (trial.source / "up/dir/precious").write_bytes(b"overwritten")
    (trial.source / "up/abs").write_bytes(b"overwritten")
    trial.must("cp", f"{trial.source}/up", "c:/")
    trial.fails(("Conflict",), "cp", "c:/up/.", target / "l")
    trial.must("cp", "c:/up/abs", target / "l2")
    trial.must("cp", "--overwrite", "c:/up/.", target / "l")
    trial.expect("the replaced link", (target / "l/dir/precious").read_bytes(), b"overwritten")


# --- races ------------------------------------------------------------------------------------------------------------

SWAPS = (
    "mkdir /r; mkdir /r/d /keep; echo own > /r/d/precious; cp -r /r/d /keep/d; "
    "(while :; do mv /r/d /r/x; ln -s {out} /r/d; rm /r/d; mv /r/x /r/d; done 2>/dev/null) & "
    "(while :; do rm -f /r/f; echo own > /r/f; rm -f /r/f; ln -s {out}/precious /r/f; rm -f /r/f; mkfifo /r/f; done"
    " 2>/dev/null) & "
)
OUTCOMES = {0, 1, 3, 4, 6, 7, 26, 27, 28, 29, 30}


def _race_out(trial: Trial, target: Path, out: str) -> None:
    for number in range(ROUNDS):
        trial.run("-q", "cp", "c:/r", target / f"all{number}")
        trial.run("-q", "cp", "c:/r/d/precious", target / f"one{number}")
        trial.run("-q", "cp", "c:/r/f", target / f"file{number}")
        trial.run("-q", "cp", "c:/r/d/.", target / f"content{number}")
    _holds_nothing_foreign(trial, target)
    del out


def _race_in(trial: Trial, target: Path, out: str) -> None:
    (trial.source / "up/d").mkdir(parents=True)
    (trial.source / "up/d/precious").write_bytes(b"overwritten")
    (trial.source / "up/f").write_bytes(b"overwritten")
    with tarfile.open(trial.source / "up.tar", "w") as archive:
        archive.add(trial.source / "up", ".")
    for _ in range(ROUNDS):
        trial.run("-q", "cp", f"{trial.source}/up/.", "c:/r")
        trial.run("-q", "cp", "--overwrite", f"{trial.source}/up/.", "c:/r")
        trial.run("-q", "cp", trial.source / "up/f", "c:/r/d/precious")
        trial.run("-q", "cp", trial.source / "up/f", "c:/r/f")
        trial.run("-q", "cp", "-", "c:/r", data=(trial.source / "up.tar",))
    del target, out


# --- kinds of files -----------------------------------------------------------------------------------------------

KINDS = (
    "mkdir /k; mkfifo /k/fifo; mknod /k/zero c 1 5; mknod /k/disk b 254 0; truncate -s 100G /k/holes; echo s > /k/su; "
    "chmod 6755 /k/su; ln /k/su /k/hard; ln -s /dev/zero /zero; "
)


def _kinds(trial: Trial, target: Path, out: str) -> None:
    trial.must("cp", "c:/k", target)
    trial.expect("the names", sorted(os.listdir(target / "k")), ["fifo", "hard", "holes", "su"])
    trial.expect("the mode", oct((target / "k/su").stat().st_mode & 0o7777), "0o755")
    if trial.faults.wrong:
        return
    trial.expect("the blocks of a file of holes", (target / "k/holes").stat().st_blocks, 0)
    trial.expect("the hard link", (target / "k/su").stat().st_ino, (target / "k/hard").stat().st_ino)
    for name in ("/k/zero", "/zero", "/dev/zero"):
        trial.expect(f"the status of {name}", trial.run("cp", f"c:{name}", target / "device").status, 1)
    trial.must("cp", "c:/k/fifo", target / "fifo")
    del out


MANY = "mkdir /m; cd /m; for i in $(seq 20); do mkdir $i; (cd $i; seq 1000 | xargs touch); done; cd /; "


def _many(trial: Trial, target: Path, out: str) -> None:
    """Twenty thousand names cost no memory for each."""
    trial.must("cp", "c:/m", target)
    trial.expect("the entries", sum(len(names) for _, _, names in os.walk(target / "m")), 20_000)
    del out


DEEP = "mkdir /deep; cd /deep; for i in $(seq 700); do mkdir d; cd -P d; done; cd /; "


def _deep(trial: Trial, target: Path, out: str) -> None:
    done = trial.run("-q", "cp", "c:/deep", target)
    if done.status not in OUTCOMES | {21, 22, 23, 24, 25}:
        trial.wrong(f"cp ended with {done.status}: {done.last}")
    del out


PASSWD = (
    "rm -f /etc/passwd; mkdir -p /etc; ln -s {out}/precious /etc/passwd; "
    """sh -c 'sleep 1000; :' "$(printf 'a\\033[31m\\nb')" & """
)


def _top(trial: Trial, target: Path, out: str) -> None:
    # Later than the other files: runtimes may wait for a FIFO there when they start a process.
    trial.must("exec", "c", "/tmp/b/mkfifo", "/etc/group")
    done = trial.must("top", "c", "user,group,args,comm")
    if b"\x1b" in done.out or b"precious" in done.out:
        trial.wrong(f"top printed {done.out!r}")
    del target, out


ROWS: dict[str, tuple[str, Callable[[Trial, Path, str], None]]] = {
    "links, cp": (LINKS, _links),
    "links in the way of a copy, cp": (LINKS, _links_in_the_way),
    "a directory and a file that become links while they are read, cp": (SWAPS, _race_out),
    "a directory and a file that become links while they are written, cp": (SWAPS, _race_in),
    "devices, FIFOs, holes and set-user-ID, cp": (KINDS, _kinds),
    "twenty thousand names, cp": (MANY, _many),
    "a deep directory, cp": (DEEP, _deep),
    "names of users and processes, top": (PASSWD, _top),
}


def cases() -> Iterator[Case]:
    """All of this module."""
    for number, (name, (script, attempt)) in enumerate(ROWS.items()):
        yield Case("copy", name, FORMS[number % 2], _fighting(script, attempt), runs=True)
