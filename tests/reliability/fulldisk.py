"""Full disks: commands on file systems with little free space, for every MiB of it, and with no space at all.

Each time the command must succeed, or fail with the status of NoSpaceError and a message of one line, leaving the store
as before. Then the last bytes are taken too: reading, unmounting, `rm` and `gc` must still work. The same for inodes.
A `load` may have imported some of its images; repeated with enough space, it must succeed.

The file systems are ext4 without reserved blocks, and the runroot is on them too. Needs root and mkfs.ext4.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import images, programs
from support.runnable import PIPELINE_NAMES, write_runnable

from arstore.errors import RUN_FAILED, NoSpaceError, PipelineFailedError, SubImageError
from reliability.cutting import command, machine
from reliability.cutting.disk import call, mount, sync_all
from reliability.figures import Figure, parser, report
from reliability.kills import import_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reliability.cutting.command import Ended

MIB = 1 << 20
_GRAPH = {"data.mdb", "lock.mdb", "spare", "claims"}
Words = tuple[str, ...]


@dataclass
class Tally:
    """Results of one command at all sizes."""

    tries: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)


class Disk:
    """A small ext4 with a store, and the files that fill it."""

    def __init__(self, place: Path, size: int, inodes: int) -> None:
        self.mounted = place / "disk"
        self._desk = place / "desk"
        self._image = place / "disk.img"
        self._ballast = self.mounted / "ballast"
        for directory in (self.mounted, self._desk):
            directory.mkdir()
        call("truncate", "-s", str(size), self._image)
        call("mkfs.ext4", "-q", "-F", "-m", "0", "-N", str(inodes), "-E", "lazy_itable_init=0", self._image)
        mount(self._image, self.mounted)

    def close(self) -> None:
        """Unmount it and the mounts below it."""
        self.run("umount", "--all")
        call("umount", "--lazy", self.mounted)
        self._image.unlink()

    def run(self, *words: str) -> Ended:
        """Run a command on the store."""
        places = ("--root", str(self.mounted / "store"), "--runroot", str(self.mounted / "run"))
        return command.arstore(self._desk, *places, "--quiet", *words)

    def ok(self, *words: str) -> Ended:
        """Run a command that must end with 0. Raises ChildProcessError."""
        ended = self.run(*words)
        if ended.status:
            raise ChildProcessError(f"{' '.join(words)} ended with {ended.status}: {ended.err[-800:]}")
        return ended

    # --- filling it -------------------------------------------------------------------------------------------------

    def leave(self, room: int) -> None:
        """Fill it up to *room* free bytes, if there are as many."""
        self._ballast.mkdir(exist_ok=True)
        sync_all(self.mounted)
        fd = os.open(self._ballast / "bytes", os.O_RDWR | os.O_CREAT, 0o600)
        status = os.fstatvfs(fd)
        size = max(0, status.f_bavail * status.f_frsize - room)
        while size > 4096:
            try:
                os.posix_fallocate(fd, 0, size)
                break
            except OSError:
                size -= 64 << 10
        os.close(fd)

    def leave_inodes(self, room: int) -> None:
        """Fill it up to *room* free inodes."""
        self._ballast.mkdir(exist_ok=True)
        for number in range(os.statvfs(self.mounted).f_ffree - room):
            (self._ballast / f"inode-{number}").touch()

    def leave_nothing(self) -> None:
        """Take the last bytes, in pieces that become smaller."""
        self._ballast.mkdir(exist_ok=True)
        for size in (MIB, 4096, 1):
            try:
                with open(self._ballast / f"last-{size}", "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(size))
            except OSError:
                sync_all(self.mounted)

    def empty(self) -> None:
        """Remove the files that fill it."""
        call("rm", "-rf", self._ballast)

    # --- its content ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Names, images, containers, and every path below the root with its size."""
        found = {}
        for directory, names, plain in os.walk(self.mounted / "store"):
            for name in [*names, *plain]:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                if name not in _GRAPH:
                    found[os.path.relpath(path, self.mounted)] = 0 if name in names else status.st_size
        listed = json.loads(self.ok("images", "--json").out)
        return {"files": found, "images": {image["digest"]: sorted(image["names"]) for image in listed}}


@dataclass(frozen=True)
class Case:
    """A command that needs space: *words*, the preparation, and the undoing.

    Sizes differ by *step* units of *unit* bytes. The command makes *discarded* on the disk, and *writes* is a
    directory there in which a file is written before. The command may set the names *brings* although it fails, if its
    container may meet the full disk too. With *again*, it is repeated with enough space. With *trims*, trees of
    other images may be gone when it has failed.
    """

    name: str
    words: Words
    setup: tuple[Words, ...] = ()
    undo: tuple[Words, ...] = ()
    step: int = 1
    unit: int = MIB
    discarded: tuple[str, ...] = ()
    writes: str = ""
    brings: tuple[str, ...] = ()
    again: bool = False
    trims: bool = False

    @property
    def endings(self) -> set[int]:
        """The statuses that it may end with if there is no space."""
        if self.words[0] == "run":
            return {RUN_FAILED}
        own = {NoSpaceError.exit_code}
        return own | {PipelineFailedError.exit_code, SubImageError.exit_code} if self.brings else own

    def what(self, room: int) -> str:
        """*room* of its units, as text."""
        return f"{room} {'MiB' if self.unit == MIB else 'KiB'}"


class Trial:
    """The cases on one disk, which also has a small image and a mount of it."""

    def __init__(self, disk: Disk, archives: Path) -> None:
        self.disk = disk
        self._archives = archives
        self._first()

    def _first(self) -> None:
        self.disk.ok("import", str(self._archives / "first.tar"))
        self.disk.ok("gc")
        self.disk.ok("mount", "first:1")

    def case(self, case: Case, rooms: Sequence[int], leave: Callable[[int], None], inodes: bool = False) -> Tally:
        """Run *case* with each of *rooms* left, from nothing on; it is over when the command has succeeded."""
        tally = Tally()
        for room in rooms:
            for words in case.setup:
                self.disk.ok(*words)
            if case.writes:
                (self.disk.mounted / case.writes / "written").write_bytes(os.urandom(4 * MIB))
            before = self.disk.state()
            leave(room)
            ended = self.disk.run(*case.words)
            where = f"{case.name} with {f'{room} inodes' if inodes else case.what(room)}"
            tally.tries += 1
            tally.faults += [f"{where}: {fault}" for fault in self._judged(case, ended, before)]
            tally.refused += ended.status != 0
            if ended.status or not room % 8:
                self.disk.leave_nothing()
                tally.faults += [f"{where}, then full: {fault}" for fault in self._when_full()]
            self.disk.empty()
            if case.again:
                tally.faults += [f"{where}, again: {fault}" for fault in self._given_again(case)]
            for name in case.discarded:
                call("rm", "-rf", self.disk.mounted / name)
            self._put_back(case)
            if ended.status == 0:
                break
        else:
            tally.faults.append(f"{case.name}: never had enough, not with {room}")
        return tally

    def _put_back(self, case: Case) -> None:
        for words in case.undo:
            self.disk.run(*words)
        self.disk.ok("gc")
        if "first:1" not in self.disk.ok("images", "--json").out:
            self._first()

    def _judged(self, case: Case, ended: Ended, before: dict[str, Any]) -> list[str]:
        faults = []
        if ended.status:
            lines = ended.err.splitlines()
            if ended.status not in case.endings:
                faults.append(f"ended with {ended.status}: {ended.err[-800:]}")
            if case.brings:
                # Other statuses come from its container.
                lines = [line for line in lines if line.startswith("arstore: ")]
            if len(lines) != 1 or not lines[0].startswith("arstore: ") or "Traceback" in ended.err:
                faults.append(f"not one line for people: {ended.err[-800:]}")
            says_why = "free some space" in ended.err or "no inodes left" in ended.err
            if not says_why and ended.status != PipelineFailedError.exit_code:
                faults.append(f"does not say why: {ended.err[-800:]}")
            faults += self._changed(case, before)
        checked = self.disk.run("check")
        if checked.status:
            faults.append(f"check ended with {checked.status}: {checked.out[-500:]}{checked.err[-500:]}")
        return faults

    def _changed(self, case: Case, before: dict[str, Any]) -> list[str]:
        """Changes made by a command that was refused and must not have made any."""
        after = self.disk.state()
        if case.brings:
            names = {digest: set(names) - set(case.brings) for digest, names in after["images"].items()}
            left = {digest: sorted(names) for digest, names in names.items() if names or digest in before["images"]}
            return [f"the images are not as before: {after['images']}"] if left != before["images"] else []
        if case.trims:
            for state in (after, before):
                state["files"] = {path: size for path, size in state["files"].items() if "/trees/" not in path}
        if after == before:
            return []
        changed = set(after["files"].keys() ^ before["files"].keys())
        changed |= {p for p in after["files"] if before["files"].get(p, after["files"][p]) != after["files"][p]}
        return [f"the store is not as before: {sorted(changed)[:5]}, {after['images']}"]

    def _given_again(self, case: Case) -> list[str]:
        """With enough space, after a run on the full disk: the command must succeed and bring everything."""
        ended = self.disk.run(*case.words)
        if ended.status:
            return [f"ended with {ended.status}: {ended.err[-800:]}"]
        there = {name for names in self.disk.state()["images"].values() for name in names}
        return [f"{name} is not there" for name in case.brings if name not in there]

    def _when_full(self) -> list[str]:
        """With no space left: reading, unmounting, and removing must work."""
        faults = []
        for words in (
            ("images",),
            ("du",),
            ("check", "--quick"),
            ("mounts",),
            ("find", "**"),
            ("umount", "--all"),
            ("trim",),
            ("gc",),
        ):
            ended = self.disk.run(*words)
            if ended.status:
                faults.append(f"{' '.join(words)} ended with {ended.status}: {ended.err[-500:]}")
        self.disk.leave_nothing()
        for words in (("rm", "first:1"), ("gc",), ("check",)):
            ended = self.disk.run(*words)
            if ended.status:
                faults.append(f"then {' '.join(words)} ended with {ended.status}: {ended.out[-300:]}{ended.err[-500:]}")
        if "first:1" in self.disk.run("images", "--json").out:
            faults.append("rm has removed nothing")
        return faults


# --- archives and cases ---------------------------------------------------------------------------------------------


def write_archives(place: Path, size: int) -> None:
    """Write a small image, and one with *size* incompressible bytes in three layers and a thousand files."""
    place.mkdir()
    chance = random.Random(7)
    first = [images.directory("./"), *(images.file(f"first-{n}", chance.randbytes(20000)) for n in range(30))]
    images.write_oci_archive(place / "first.tar", images.image(images.layer(first), names=["first:1"]))
    layers = []
    for number in range(3):
        members = [images.directory("./"), images.directory(f"part{number}")]
        members += [images.file(f"part{number}/{n}", chance.randbytes(size // 1000)) for n in range(333)]
        layers.append(images.layer(members))
    images.write_oci_archive(place / "image.tar", images.image(*layers, names=["image:1"]))
    plain = images.image(*(images.layer(one.tar, "none") for one in layers), names=["plain:1"])
    images.write_docker_archive(place / "plain.tar", plain, style="old")
    for name in ("zeros", "other"):
        zeros = [images.directory("./"), images.file(name, bytes(40 * MIB))]
        images.write_oci_archive(place / f"{name}.tar", images.image(images.layer(zeros), names=[f"{name}:1"]))
    if programs.runtime()[0]:
        write_runnable(place)


def cases(archives: Path, disk: Disk, every: int) -> list[Case]:
    """All cases; *every* is the number of MiB between two sizes of all but `import`."""
    image = str(archives / "image.tar")
    brought: tuple[Words, ...] = (("import", "--tree", "auto", image),)
    unhashed: tuple[Words, ...] = (("import", "--file-digests", "off", image),)
    (disk.mounted / "box").mkdir()
    made = ("mount", "--rw", "--name", "box", "image:1", str(disk.mounted / "box"))
    gone: tuple[Words, ...] = (("umount", "box"), ("container", "rm", "box"), ("rm", "made:1"), ("rm", "image:1"))
    pipeline = str(archives / "pipeline.tar.gz")
    # A tree of 40 MiB, which can be given up for another one.
    trees: tuple[Words, ...] = (("import", str(archives / "other.tar")),)
    zeros: tuple[Words, ...] = (("rm", "zeros:1"), ("rm", "other:1"))
    found = [
        Case("import, index form", ("import", "--tree", "auto", image), (), gone),
        Case("import, directory form", ("import", "--tree", "directory", image), (), gone),
        Case("import of one file each", ("import", str(archives / "plain.tar")), (), (("rm", "plain:1"),), every),
        Case("find --update", ("find", "--update"), unhashed, gone, 1, 64 << 10),
        Case("import after a trim", ("import", str(archives / "zeros.tar")), trees, zeros, every, trims=True),
        Case("convert", ("convert", "--tree", "directory", "image:1"), brought, gone, every),
        Case("unpack", ("unpack", "image:1", str(disk.mounted / "out")), brought, gone, every, discarded=("out",)),
        Case("commit", ("commit", "box", "made:1"), (*brought, made), gone, every, writes="box"),
        Case("mount --rw", ("mount", "--rw", "--name", "box", "image:1"), brought, gone, every),
    ]
    if programs.runtime()[0]:
        # Trying runtimes and caching the one that works need space too.
        tried, run = "run/runtime.json", ("run", "box:1", "/bin/true")
        box = (("import", str(archives / "box.tar")),)
        found.append(Case("run", run, box, (("rm", "box:1"),), 4, 1 << 10, (tried,), again=True))
        undo = tuple(("rm", name) for name in PIPELINE_NAMES)
        load, left = ("load", "-i", pipeline), ("store/pipeline", tried)
        found.append(Case("load", load, (), undo, 256, 1 << 10, left, brings=PIPELINE_NAMES, again=True))
    return found


# --- the command line -----------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    options = parser("fulldisk", __doc__)
    options.add_argument("--size", type=int, default=24, metavar="MIB", help="compressed size of the image (24)")
    options.add_argument("--step", type=int, default=1, metavar="MIB", help="step of free space for import (1)")
    options.add_argument("--every", type=int, default=8, metavar="MIB", help="step for other commands (8)")
    options.add_argument("--inode-step", type=int, default=25, metavar="N", help="step of free inodes (25)")
    options.add_argument("--only", default="", metavar="NAME", help="only the cases whose names begin with NAME")
    options.add_argument("--out-of", action="append", choices=["bytes", "inodes"], help="exhaust only this")
    options.add_argument("--scratch", type=Path, default=Path("/dev/shm"), help="directory of the disks (/dev/shm)")
    asked = options.parse_args(words)
    if os.geteuid() or programs.program("mkfs.ext4") is None:
        print("fulldisk: needs root and mkfs.ext4", file=sys.stderr)
        return 2
    import_everything()
    machine.leave_mounts_alone()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="arstore-full-", dir=asked.scratch) as place, ExitStack() as stack:
        archives = Path(place, "archives")
        write_archives(archives, asked.size * MIB)
        for what in asked.out_of or ("bytes", "inodes"):
            own = Path(place, what)
            own.mkdir()
            disk = Disk(own, (asked.size * 5 + 64) * MIB, 20000 if what == "bytes" else 4000)
            stack.callback(disk.close)
            trial = Trial(disk, archives)
            for case in cases(archives, disk, asked.every):
                if not case.name.startswith(asked.only):
                    continue
                if what == "bytes":
                    step = asked.step if case.step == 1 else case.step
                    rooms = list(range(0, asked.size * 4 * MIB // case.unit, step))
                    tally = trial.case(case, rooms, lambda room, d=disk, c=case: d.leave(room * c.unit))
                else:
                    rooms = sorted({*range(0, 40, 4), *range(0, 2500, asked.inode_step)})
                    tally = trial.case(case, rooms, disk.leave_inodes, inodes=True)
                for fault in tally.faults:
                    print(fault, file=sys.stderr, flush=True)
                told = f"{tally.tries} sizes, {tally.refused} refused, {len(tally.faults)} faults"
                print(f"{case.name}, {what}: {told}", file=sys.stderr, flush=True)
                figures.append(Figure(f"{case.name}, out of {what}", told, "0 faults", not tally.faults))
    return report("fulldisk", figures, as_json=asked.json)
