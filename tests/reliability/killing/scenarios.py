"""The commands that are killed, each with the store that it starts from.

Images are small, and cover everything that import treats differently: layers that get a separate process, small ones
that share one, layers that need a cap or a tree for their chain, and enough of them for a merged index.
"""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import attachments, images, programs, stores
from support.runnable import PIPELINE_NAMES, write_runnable

from arstore.disk.paths import opened
from arstore.disk.staging import PLACES
from arstore.errors import RUN_FAILED, ConflictError, InUseError, NotFoundError
from arstore.graph.records import LeaseRecord
from arstore.linux.process import boot_id
from arstore.mounts.record import MountRecord
from arstore.mounts.table import MountTable
from arstore.pipeline.place import RUNNING, write_last
from arstore.store.container_document import write_request
from reliability.killing.box import homeless
from reliability.killing.victim import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.store.store import Store
    from reliability.killing.box import Box

Words = tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """A command, the store that it starts from, and what must be true of it.

    *setup* and *ending* are commands before it and after everything, which are not killed. *running* is a command that
    starts a container beforehand, whose launcher goes on while the victim works; *ending* has to end it. *done_already*
    are the exit statuses, besides 0, that it may have if it is repeated although it was done: the images are as they
    must be, and the *container* that it makes exists. *atomic*: there is nothing between before and after. *goes_on*:
    done again, it does more of the same. *damaged*: the store is not sound before. *unreadable*: nor is its graph,
    which only the command itself can change. *handed_over* is the directory in which a pipeline leaves files until they
    are taken, below the box's store; *discarded* the files that the command makes elsewhere, for the user.
    """

    name: str
    words: Words
    prepare: Callable[[Box], None] = lambda _box: None
    setup: tuple[Words, ...] = ()
    running: Words = ()
    ending: tuple[Words, ...] = ()
    done_already: frozenset[int] = frozenset()
    atomic: bool = True
    goes_on: bool = False
    damaged: bool = False
    unreadable: bool = False
    stdin: str = ""
    meddling: tuple[str, Words] | None = None
    container: str = ""
    handed_over: str = ""
    discarded: str = ""
    needs_mounts: bool = False
    needs_runtime: bool = False

    @property
    def missing(self) -> str:
        """Why this machine cannot run it; "" if it can."""
        if self.needs_runtime:
            return programs.runtime()[1]
        return programs.why_no_mounts() if self.needs_mounts else ""


_NOT_FOUND = frozenset({NotFoundError.exit_code})
_CONFLICT = frozenset({ConflictError.exit_code})
_UMOUNT: Words = ("umount", "--all")
_MANY = 130
"""Images of an archive: with two documents each, enough files that an import syncs all of them at once."""
_REMOVE_WORK: tuple[Words, ...] = (("container", "rm", "--force", "work"),)
_RUNNING: Words = ("run", "--detach", "--interactive", "--name", "work", "box:1", "/bin/sh")
"""A container that goes on until it is killed, or its input ends."""
_KILL_WORK: tuple[Words, ...] = (("kill", "work"),)
_DISCARD: Words = ("load", "--discard-failed", "pipeline")


# --- archives -------------------------------------------------------------------------------------------------------


def _noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _layers() -> list[images.Layer]:
    """Two large layers, two that need the layers below them, and eight small ones."""
    root = images.directory("./")
    large = [[root, images.directory(f"l{n}"), images.file(f"l{n}/noise", _noise(400 << 10, n))] for n in range(2)]
    small = [[root, images.file(f"small-{n}", _noise(3000, 100 + n))] for n in range(8)]
    made = [images.layer(members) for members in (*large, *small)]
    return [made[0], *images.implied_layers(), *made[1:]]


def write_archives(place: Path) -> None:
    """Write all archives that the scenarios import to the directory *place*."""
    place.mkdir()
    layers = _layers()
    more = images.layer([images.directory("./"), images.file("more", _noise(5000, 50))])
    images.write_oci_archive(place / "big.tar", images.image(*layers, names=["app:1", "app:latest"]))
    images.write_oci_archive(place / "next.tar", images.image(*layers[:5], more, names=["app:latest", "app:2"]))
    images.write_docker_archive(place / "docker.tar", images.image(*layers[:3], names=["docker:1"]), style="old")
    many = [images.image(layers[-1], names=[f"many:{n}"], config={"Env": [f"N={n}"]}) for n in range(_MANY)]
    images.write_oci_archive(place / "many.tar", *many)
    signed = images.image(layers[0], more, names=["signed:1"])
    some = [attachments.sbom(signed.descriptor(), "x" * 5000), attachments.signature(signed.digest, "first")]
    some.append(attachments.sbom(some[0].descriptor(), "of the list"))
    images.write_oci_archive(place / "signed.tar", signed, *some)
    write_runnable(place)


# --- the stores that scenarios start from ---------------------------------------------------------------------------


def _with(*names: str, form: str = "auto") -> Callable[[Box], None]:
    def prepare(box: Box) -> None:
        for name in names:
            kind = "docker-archive" if name == "docker" else "oci-archive"
            box.ok("import", "--tree", form, f"{kind}:{box.place}/archives/{name}.tar")

    return prepare


def _trimmed(box: Box) -> None:
    _with("big")(box)
    box.ok("trim")


def _without_contents(box: Box) -> None:
    """Images, and no index of contents."""
    _with("big", "docker")(box)
    shutil.rmtree(box.root / "graph/contents")


def _with_old_contents(box: Box) -> None:
    """An image, and an index of contents that is mostly about another one, which was removed."""
    _with("docker", "big")(box)
    box.ok("rm", "app:1", "app:latest")
    _with("signed")(box)
    box.ok("untag", "signed:1")


def _with_volume(box: Box) -> None:
    box.ok("volume", "create", "data")
    (box.root / "volumes/data/data/file").write_bytes(_noise(5000, 9))


def _with_volumes(box: Box) -> None:
    """A volume that a container uses, and two that none does."""
    _with("box")(box)
    for name in ("one", "two"):
        box.ok("volume", "create", name)
        (box.root / "volumes" / name / "data/file").write_bytes(_noise(5000, 9))
    box.ok("create", "--name", "work", "-v", "used:/bin", "box:1", "/bin/true")


def _with_files(box: Box) -> None:
    """A container that has ended, and files in it and outside of it to copy."""
    _with_created(box)
    shutil.copytree(CHECKOUT / "arstore" / "oci", box.store / "files")
    box.ok("cp", f"{box.store}/files", "done:/there")


def _with_container(box: Box) -> None:
    """An image, and a container over it with a written file."""
    _with("big")(box)
    path = box.ok("mount", "--rw", "--name", "work", "app:1").out.strip()
    shutil.copytree(CHECKOUT / "arstore" / "oci", f"{path}/oci")
    with open(f"{path}/noise", "wb") as file:
        file.write(_noise(200 << 10, 7))
    box.ok("umount", "--all")


def _with_created(box: Box) -> None:
    """A container that was never started; and one that was, and has ended."""
    _with("box")(box)
    box.ok("create", "--name", "work", "box:1", "/bin/true")
    box.ok("run", "--keep", "--name", "done", "box:1", "/bin/true")


def _older(box: Box) -> None:
    """A store of the format before this one, with an image."""
    _with("big")(box)
    box.inside(stores.make_older)


def _with_garbage(box: Box) -> None:
    """An image that stays, and one of everything that the collector removes."""
    _with("big", "next")(box)
    for name in ("app:latest", "app:2"):
        box.ok("untag", name)
    box.inside(_leave_garbage)
    (box.root / "blobs/sha256" / ("0" * 64)).write_bytes(b"orphan")
    for directory in (box.root / "trees" / ("1" * 64) / "fs", box.root / "containers/x/work"):
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"orphan")


def _leave_garbage(store: Store) -> None:
    dead = stores.dead_owner()
    image = store.find("app:1").digest
    ingest = f"{store.directories.ingest}/{dead.directory_name()}"
    shutil.copytree(CHECKOUT / "arstore" / "oci", ingest)
    with open(f"{store.directories.root}/index.json.{dead.directory_name()}", "wb") as file:
        file.write(b"{}")
    store.containers.create(image, "lost", ephemeral=True)
    kept = store.containers.create(image, "kept").path
    write_request(kept, {}, durable=False)
    for name in ("attach", "state.json.1", "health.json.new"):
        Path(kept, name).write_bytes(_noise(5000, 6))
    with store.graph.write() as change:
        record = change.container("lost")
        assert record is not None
        change.put_container("lost", record._replace(start=dead.start))
        change.put_lease("dead", LeaseRecord((image,), "a test", dead.pid, dead.start, dead.boot, 0.0))
    table = MountTable(store.directories)
    table.add(MountRecord("gone", f"{table.directory}/gone", "arstore:gone", True, boot_id(), 1, 0.0, own_target=True))


def _with_places(box: Box) -> None:
    """An image, and files of a process that died before it recorded a blob, a tree and a container."""
    _with("big")(box)
    (box.root / "blobs/sha256" / ("0" * 64)).write_bytes(b"orphan")
    for directory in (box.root / "trees" / ("1" * 64) / "fs", box.root / "containers/x/upper"):
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"orphan")
    box.inside(_leave_places)


def _leave_places(store: Store) -> None:
    ingest = Path(store.directories.ingest, stores.dead_owner().directory_name())
    ingest.mkdir(parents=True)
    places = [f"blobs/sha256/{'0' * 64}", f"trees/{'1' * 64}", "containers/x"]
    (ingest / PLACES).write_text("".join(f"{place}\n" for place in places))


def _with_damage(box: Box) -> None:
    """An image with one tree missing and one altered, whose index is missing; and an orphan."""
    _with("big")(box)
    contents = list((box.root / "trees").glob("*/layer.tar"))
    # In a user namespace all trees are directories.
    contents = sorted(contents or (box.root / "trees").glob("*/files*/l*/noise"))
    for tree in (box.root / "trees").iterdir():
        if contents[0].is_relative_to(tree):
            shutil.rmtree(tree)
    data = bytearray(contents[1].read_bytes())
    data[-2000] ^= 1
    contents[1].write_bytes(data)
    (box.root / "index.json").unlink()
    (box.root / "blobs/sha256" / ("0" * 64)).write_bytes(b"orphan")


def _with_damaged_blob(box: Box) -> None:
    """An image with a flipped bit in each of its two smallest blobs, which a repair can flip back."""
    _with("big")(box)
    for path in sorted((box.root / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)[:2]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def _with_damaged_layers(box: Box) -> None:
    """An image with compressed layers, one altered and one missing: only a source has them."""
    _with("big")(box)
    largest = sorted((box.root / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)[-2:]
    largest[0].unlink()
    data = bytearray(largest[1].read_bytes())
    data[len(data) // 2] ^= 1
    largest[1].write_bytes(data)


def _with_damaged_pages(box: Box) -> None:
    """An image, and a graph in which a page with records of trees has lost its header."""
    _with("big")(box)

    def behead(data: bytearray, page: int, _at: int) -> None:
        if not any(other in data[page : page + 4096] for other in (b"meta/", b"blobs/sha256:")):
            data[page : page + 16] = bytes(16)

    _alter_graph(box, b"trees/sha256:", behead)


def _with_damaged_records(box: Box) -> None:
    """An image, and a graph in which a bit of every layer's record is flipped."""
    _with("big")(box)

    def flip(data: bytearray, _page: int, at: int) -> None:
        data[at + 120] ^= 1

    _alter_graph(box, b"layers/sha256:", flip)


def _alter_graph(box: Box, what: bytes, alter: Callable[[bytearray, int, int], None]) -> None:
    """Let *alter* change the graph's file at each occurrence of *what* in a leaf page (LMDB's P_LEAF)."""
    box.inside(homeless)
    path = box.root / "graph/data.mdb"
    data = bytearray(path.read_bytes())
    for found in list(re.finditer(re.escape(what), data)):
        page = found.start() & ~4095
        if data[page + 10] == 2:
            alter(data, page, found.start())
    path.write_bytes(data)


def _with_loaded(box: Box) -> None:
    box.ok("load", "-i", f"{box.place}/archives/pipeline.tar.gz")


def _with_failed_run(box: Box) -> None:
    """A pipeline that was killed after it had left half an image."""
    _with_loaded(box)
    (directory,) = (box.root / "pipeline").glob("**/images")
    (directory / "half.tar").write_bytes(_noise(1000, 8))
    image = box.inside(lambda store: store.find(PIPELINE_NAMES[0]).digest)
    with opened(str(directory.parent)) as place_fd:
        write_last(place_fd, RUNNING, image)


# --- all of them ----------------------------------------------------------------------------------------------------


def _archive(name: str) -> str:
    return f"oci-archive:{{place}}/archives/{name}.tar"


def scenarios() -> list[Scenario]:
    """All scenarios, also those that this machine cannot run."""
    mounted = {"needs_mounts": True}
    runs = {"needs_runtime": True, "atomic": False}
    repair: Words = ("check", "--repair")
    mount_rw: Words = ("mount", "--rw", "--name", "work", "app:1")
    # Trees of the images that are there have to go for this one, and enough of them can.
    in_budget: Words = ("import", "--max-size", "2600k", _archive("signed"))
    load: Words = ("load", "-i", "{place}/archives/pipeline.tar.gz")
    found = [
        Scenario("import", ("import", _archive("big"))),
        Scenario("import-directory", ("import", "--tree", "directory", _archive("big"))),
        Scenario("import-again", ("import", _archive("big")), _with("big")),
        Scenario("import-shared", ("import", _archive("next")), _with("big")),
        Scenario("import-many", ("import", _archive("many"))),
        Scenario("import-signed", ("import", _archive("signed"))),
        Scenario("rm-signed", ("rm", "signed:1"), _with("signed"), done_already=_NOT_FOUND),
        Scenario("import-after-dead", ("import", _archive("next")), _with_places),
        Scenario("import-plain", ("import", "{place}/archives/docker.tar")),
        Scenario("trim", ("trim",), _with("big", "docker"), atomic=False),
        Scenario("trim-to-size", ("trim", "--free", "1k"), _with("big", "docker"), atomic=False, goes_on=True),
        Scenario("trim-to", ("trim", "--to", "2600k"), _with("big", "docker"), atomic=False, goes_on=True),
        Scenario("prune", ("prune", "--unused-for", "0s"), _with("big", "next", "signed"), (("protect", "app:2"),)),
        Scenario("protect", ("protect", "app:1"), _with("big")),
        Scenario("unprotect", ("unprotect", "app:1"), _with("big"), (("protect", "app:1"),)),
        Scenario("import-joined", ("import", "{place}/archives/docker.tar"), _with("big"), atomic=False),
        Scenario("import-in-budget", in_budget, _with("big", "docker"), atomic=False),
        Scenario("build-trimmed", ("mount", "app:1"), _trimmed, ending=(_UMOUNT,), **mounted),
        Scenario("import-stream", ("import", "-"), stdin="{place}/archives/docker.tar"),
        Scenario("rm", ("rm", "app:1", "app:latest"), _with("big"), done_already=_NOT_FOUND),
        Scenario("rm-shared", ("rm", "app:2", "app:latest"), _with("big", "next"), done_already=_NOT_FOUND),
        Scenario("tag", ("tag", "app:1", "other:1"), _with("big")),
        Scenario("migrate", ("tag", "app:1", "other:1"), _older),
        Scenario("gc", ("gc",), _with_garbage),
        Scenario("gc-contents", ("gc",), _with_old_contents),
        Scenario("find-update", ("find", "--update"), _without_contents),
        Scenario("convert", ("convert", "--all", "--tree", "directory"), _with("big"), atomic=False),
        Scenario("convert-back", ("convert", "--all"), _with("big", form="directory"), atomic=False),
        Scenario("repair", repair, _with_damage, atomic=False, damaged=True),
        Scenario("repair-blobs", repair, _with_damaged_blob, atomic=False, damaged=True),
        Scenario("repair-from", (*repair, "--from", _archive("big")), _with_damaged_layers, atomic=False, damaged=True),
        Scenario("repair-graph", repair, _with_damaged_pages, atomic=False, damaged=True, unreadable=True),
        Scenario("repair-records", repair, _with_damaged_records, atomic=False, damaged=True, unreadable=True),
        Scenario("backup", ("backup", "{place}/s/backup"), _with("big"), atomic=False, handed_over="backup/"),
        Scenario("save", ("save", "app:1", "-o", "{place}/s/app.tar"), _with("big"), handed_over="app.tar"),
        Scenario("copy", ("copy", "app:1", "oci:{place}/s/layout"), _with("big"), atomic=False, handed_over="layout/"),
        Scenario("unpack", ("unpack", "app:1", "{place}/unpacked"), _with("big"), discarded="{place}/unpacked"),
        Scenario("mount", ("mount", "app:1"), _with("big"), ending=(_UMOUNT,), **mounted),
        Scenario(
            "mount-rw",
            mount_rw,
            _with("big"),
            ending=(_UMOUNT,),
            done_already=_CONFLICT,
            container="work",
            **mounted,
        ),
        Scenario("umount", _UMOUNT, _with("big"), (("mount", "app:1"), mount_rw), (_UMOUNT,), **mounted),
        Scenario("commit", ("commit", "work", "app:next"), _with_container, **mounted),
        Scenario("container-rm", ("container", "rm", "work"), _with_container, done_already=_NOT_FOUND, **mounted),
        Scenario("run", ("run", "box:1", "/bin/true"), _with("box"), **runs),
        Scenario("run-attached", ("run", "--sig-proxy=false", "box:1", "/bin/true"), _with("box"), **runs),
        Scenario(
            "run-detached",
            ("run", "--detach", "--name", "work", "box:1", "/bin/true"),
            _with("box"),
            ending=_REMOVE_WORK,
            done_already=frozenset({RUN_FAILED}),
            container="work",
            **runs,
        ),
        Scenario(
            "run-removed",
            ("run", "--detach", "--rm", "--name", "work", "box:1", "/bin/true"),
            _with("box"),
            ending=_REMOVE_WORK,
            **runs,
        ),
        Scenario(
            "run-restarted",
            ("run", "--detach", "--restart", "on-failure:1", "--name", "work", "box:1", "/bin/sh", "-c", "exit 1"),
            _with("box"),
            ending=_REMOVE_WORK,
            done_already=frozenset({RUN_FAILED}),
            container="work",
            **runs,
        ),
        Scenario(
            "create",
            ("create", "--name", "work", "box:1", "/bin/true"),
            _with("box"),
            done_already=frozenset({RUN_FAILED}),
            container="work",
            **runs,
        ),
        Scenario("start", ("start", "work"), _with_created, **runs),
        Scenario("start-attached", ("start", "--attach", "done"), _with_created, **runs),
        Scenario("restart", ("restart", "work", "done"), _with_created, **runs),
        Scenario("rename", ("rename", "work", "other"), _with_created, **runs),
        Scenario("container-prune", ("container", "prune"), _with_created, **runs),
        Scenario("rm-force", ("rm", "--force", "box:1"), _with_created, done_already=_NOT_FOUND, **runs),
        *_of_running(runs),
        *_copies(runs),
        Scenario(
            "volume-rm-force",
            ("volume", "rm", "--force", "used"),
            _with_volumes,
            done_already=_NOT_FOUND,
            **runs,
        ),
        Scenario("volume-prune", ("volume", "prune", "--force"), _with_volumes, **runs),
        Scenario("volume-create", ("volume", "create", "data"), _with("box"), done_already=_CONFLICT),
        Scenario("volume-rm", ("volume", "rm", "data"), _with_volume, done_already=_NOT_FOUND),
        Scenario(
            "run-volume",
            ("run", "-v", "data:/bin", "box:1", "/bin/true"),
            _with("box"),
            ending=(("volume", "rm", "--force", "data"),),
            **runs,
        ),
        Scenario("load", load, ending=(_DISCARD,), handed_over="root/pipeline/", **runs),
        Scenario("load-again", load, _with_loaded, ending=(_DISCARD,), handed_over="root/pipeline/", **runs),
        Scenario("load-anew", load, _with_failed_run, ending=(_DISCARD,), handed_over="root/pipeline/", **runs),
    ]
    next_one = Scenario("import-meddled", ("import", _archive("next")), _with("big"), atomic=False)
    found.append(replace(next_one, meddling=("take.prepared", ("rm", "app:1", "app:latest"))))
    return found


def _of_running(runs: dict[str, bool]) -> list[Scenario]:
    """Commands on a container that runs, and whose launcher is not killed."""
    more: Any = {"running": _RUNNING, "ending": _KILL_WORK, **runs}
    stopped = frozenset({InUseError.exit_code, NotFoundError.exit_code})
    return [
        Scenario("pause", ("pause", "work"), _with("box"), done_already=stopped, **more),
        Scenario(
            "unpause",
            ("unpause", "work"),
            _with("box"),
            (("pause", "work"),),
            done_already=stopped,
            **more,
        ),
        Scenario("exec", ("exec", "work", "/bin/true"), _with("box"), **more),
        Scenario("exec-detached", ("exec", "-d", "work", "/bin/true"), _with("box"), **more),
        Scenario("cp-in-running", ("cp", "/etc/passwd", "work:/x"), _with("box"), **more),
        # Its input ends, and the container with it.
        Scenario("attach", ("attach", "work"), _with("box"), done_already=stopped, **more),
        Scenario("stop", ("stop", "-t", "0", "work"), _with("box"), **more),
        Scenario("kill", ("kill", "work"), _with("box"), done_already=stopped, **more),
        Scenario(
            "container-rm-force",
            ("container", "rm", "--force", "-t", "0", "work"),
            _with("box"),
            done_already=_NOT_FOUND,
            **more,
        ),
        Scenario("rm-force-running", ("rm", "--force", "box:1"), _with("box"), done_already=_NOT_FOUND, **more),
    ]


def _copies(runs: dict[str, bool]) -> list[Scenario]:
    """Copies into and out of a container that does not run."""
    inside, outside = "root/containers/done/upper/", "copied"
    # Of a directory's content: a second copy of the directory itself would go below the first one.
    into: Words = ("cp", "{place}/s/files/.", "done:/copied")
    out: Words = ("cp", "done:/there/.", "{place}/s/copied")
    return [
        Scenario("cp-in", into, _with_files, handed_over=inside, **runs),
        Scenario("cp-in-again", into, _with_files, (into,), handed_over=inside, **runs),
        Scenario("cp-out", out, _with_files, handed_over=outside, **runs),
    ]
