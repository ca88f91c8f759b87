"""One case with its own store: commands with their cost, and all conditions that must hold around them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support import images
from support.cli import Arstore, exit_status

from hostile.process import Ended, ended
from hostile.victim import Victim, intruders, surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEMORY = 300 << 20
"""The most bytes of memory of all processes of a command together, for any image."""
PROCESSOR = 10.0
"""CPU seconds of a command for an input of up to a MB, and for each further MB."""
DISK = 2_000_000_000
"""The most bytes of a command on disk for it."""
TIMEOUT = 60.0
OWN = {"root", "run", "target", "source"}
"""Names in the directory of a trial that it and its commands make."""

_PRETENDED = """
import os
os.sched_getaffinity = lambda pid: set(range({}))
from arstore.__main__ import main
main()
"""
"""Runs arstore as on a machine with so many processors."""

Inside = "bytes | tuple[str, ...] | str | None"


@dataclass
class Faults:
    """All faults in words, by kind."""

    escapes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: int = 0
    """Of the largest process, in bytes."""
    together: int = 0
    """Of all processes of a command."""
    processor: float = 0.0
    """Seconds, of the command that took most."""
    disk: int = 0
    """Bytes on disk, of the command that had most."""
    inodes: int = 0
    input: int = 0
    """Bytes that were given to the commands."""

    def share(self) -> float:
        """The part of the allowed CPU time or disk space for this input that was used."""
        return max(self.processor / PROCESSOR, self.disk / DISK) / max(1.0, self.input / 1e6)

    def all(self) -> list[str]:
        """All faults in one list."""
        kinds = {"escape": self.escapes, "hang": self.hangs, "traceback": self.tracebacks, "wrong": self.wrong}
        said = [f"{kind}: {one}" for kind, ones in kinds.items() for one in ones]
        most = max(self.memory, self.together)
        if self.share() > 2:  # other work on the machine makes it slower
            said.append(f"{self.processor:.1f} s and {self.disk >> 20} MiB on disk for {self.input} bytes")
        return said + ([f"memory: {most >> 20} MiB"] if most > MEMORY else [])


class Trial:
    """A store with one image in *place*, a victim next to it, and the commands of one case.

    `processors` makes commands see a machine with so many processors.
    """

    def __init__(self, place: Path, form: str) -> None:
        self.place, self.form = place, form
        self.store = Arstore(place / "root", place / "run")
        self.target, self.source = place / "target", place / "source"
        self.source.mkdir(parents=True)
        self.processors = 0
        self.faults = Faults()
        self.victim = Victim(place / "victim")
        before = images.image(images.layer([images.file("before", b"before")]), names=["before:1"])
        self.must("import", "--tree", form, images.write_oci_archive(self.source / "before.tar", before))
        self.before = self.state()
        self.around = surroundings(place, OWN)

    # --- commands ---------------------------------------------------------------------------------------------------

    def run(self, *words: str | Path, data: Sequence[Path] = (), timeout: float = TIMEOUT) -> Ended:
        """Run a command of arstore and note hangs, tracebacks and memory."""
        command = self.store.words(*words)
        if self.processors:
            command[1:3] = ["-c", _PRETENDED.format(self.processors)]
        done = ended(command, self.store.environment(), timeout, data, self.store.root)
        said = " ".join(map(str, words))
        if done.hung:
            self.faults.hangs.append(f"{said} did not end in {timeout:.0f} s")
        if "Traceback" in done.err:
            self.faults.tracebacks.append(f"{said}: {done.err[-600:]}")
        self.faults.memory = max(self.faults.memory, done.memory)
        if done.together > self.faults.together:
            self.faults.together = done.together
        self.faults.processor = max(self.faults.processor, done.processor)
        self.faults.disk = max(self.faults.disk, done.disk)
        self.faults.inodes = max(self.faults.inodes, done.inodes)
        return done

    def must(self, *words: str | Path, data: Sequence[Path] = ()) -> Ended:
        """Run a command that must succeed."""
        done = self.run(*words, data=data)
        if done.status:
            self.wrong(f"{words[0]} ended with {done.status}: {done.last[-300:]}")
        return done

    def fails(self, kinds: tuple[str, ...], *words: str | Path, data: Sequence[Path] = ()) -> Ended:
        """Run a command that must fail with one of *kinds*, in one line."""
        done = self.run("-q", *words, data=data)
        self.judge(done, kinds)
        return done

    def judge(self, done: Ended, kinds: tuple[str, ...]) -> None:
        """Note a fault if *done* did not end with one of *kinds*, in one line."""
        if done.status not in {exit_status(kind) for kind in kinds}:
            self.wrong(f"{done.words[7:9]} ended with {done.status}, not {' or '.join(kinds)}: {done.last[-300:]}")
        elif len(done.err.splitlines()) != 1 or not done.err.startswith("arstore: "):
            self.wrong(f"not one line for people: {done.err[-300:]!r}")

    def wrong(self, said: str) -> None:
        """Note an unexpected outcome."""
        self.faults.wrong.append(said)

    def expect(self, what: str, found: object, expected: object) -> None:
        """Note a fault if *found* is not *expected*."""
        if found != expected:
            self.wrong(f"{what} is {found!r}, not {expected!r}"[:500])

    def names(self) -> set[str]:
        """The names of all images."""
        done = self.must("images", "--json")
        return {name for one in json.loads(done.out) for name in one["names"]} if not done.status else set()

    # --- outcomes ---------------------------------------------------------------------------------------------------

    def state(self) -> tuple[object, ...]:
        """State that a refusal must not change: paths and sizes, and the graph's images and layers."""
        sizes = {name: (self.store.root / name).lstat().st_size for name in self.store.files()}
        return sizes, self.must("images", "--json").out, self.must("layers", "--json").out

    def refused(self, kinds: tuple[str, ...], *words: str | Path, data: Sequence[Path] = ()) -> None:
        """Run a command that must be refused and leave nothing."""
        self.fails(kinds, *words, data=data)
        if self.state() != self.before:
            self.wrong("the store is not as before")

    def looked_into(self, name: str, inside: Mapping[str, Inside], *, mounted: bool = True) -> None:
        """Mount image *name* and unpack it: both must show *inside*, and only what an image may contain."""
        if mounted:
            done = self.must("mount", name)
            if not done.status:
                self.look(Path(os.fsdecode(done.out.rstrip(b"\n"))), inside, "the mount")
            self.must("umount", "--all")
        if not self.must("unpack", name, self.target).status:
            self.look(self.target, inside, "the copy")
            shutil.rmtree(self.target)

    def look(self, root: Path, inside: Mapping[str, Inside], where: str) -> None:
        """Compare *root* with *inside*, opening regular files only, and following no links."""
        for name, expected in inside.items():
            found = seen(root, name)
            if found != expected:
                self.wrong(f"{name} in {where} is {found!r}, not {expected!r}"[:500])
        if root.lstat().st_dev == self.place.lstat().st_dev and not root.resolve().is_relative_to(self.place):
            self.faults.escapes.append(f"{where} is at {root}")

    def finish(self) -> Faults:
        """Check what must hold in any case: nothing outside was touched, and the store is whole."""
        done = self.run("check")
        if done.status:
            self.wrong(f"check ended with {done.status}: {done.out[-400:]!r} {done.last[-200:]}")
        self.faults.input = sum(each.lstat().st_size for each in self.source.rglob("*") if each.is_file())
        self.faults.escapes += self.victim.changes()
        self.faults.escapes += intruders(self.around, surroundings(self.place, OWN), self.place)
        return self.faults

    def close(self) -> None:
        """Unmount what a fault has left mounted, and remove the place."""
        if str(self.place) in Path("/proc/self/mountinfo").read_text(errors="surrogateescape"):
            self.wrong("a mount was left behind")
            self.run("umount", "--all")
        subprocess.run(["rm", "-rf", self.place], check=True)


def seen(root: Path, name: str) -> Inside:
    """Content of *name*, component by component: bytes, ("link", target), "directory", another kind, or None."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    *parents, last = [part for part in name.split("/") if part] or ["."]
    try:
        for part in parents:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        mode = os.stat(last, dir_fd=fd, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            return ("link", os.readlink(last, dir_fd=fd))
        if not stat.S_ISREG(mode):
            names = {stat.S_IFDIR: "directory", stat.S_IFIFO: "fifo", stat.S_IFCHR: "character", stat.S_IFBLK: "block"}
            return names.get(stat.S_IFMT(mode), "something else")
        with open(os.open(last, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd), "rb") as file:
            return file.read(4096)
    except (FileNotFoundError, NotADirectoryError):
        return None
    finally:
        os.close(fd)
