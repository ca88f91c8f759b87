"""System calls of real commands: data is written, synced, named, its directory synced, and only then relied upon.

Power cuts (reliability.powercuts) show what today's file systems lose; this shows what any file system could lose.
"""

from __future__ import annotations

import os
import shutil

import pytest
from support import images, stores
from support.cli import Arstore
from support.syscalls import traced

pytestmark = pytest.mark.tools("strace")

LARGE = images.layer([images.file("large", b"0123456789abcdef" * (1 << 17))], "none")
SMALL = [images.layer([images.file(f"small{number}", b"%d" % number)], "gzip") for number in range(3)]


@pytest.fixture
def fresh(tmp_path):
    """A store that the first command makes."""
    return Arstore(tmp_path / "root", tmp_path / "run")


def archive_of(tmp_path, *layers, name="made:1"):
    return images.write_oci_archive(tmp_path / "made.tar", images.image(*layers, names=[name]))


def in_order(trace, *steps):
    """Check that each of the *steps* was done, after the one before it."""
    last = -1
    for what, path in steps:
        later = [number for number in trace.positions(what, path) if number > last]
        assert later, f"{what} {path} does not come after event {last}: {trace.events[-40:]}"
        last = later[0]


def verify_blobs(trace, store, picture):
    """Check that every blob was written, synced, named, its directory synced, and then the graph committed."""
    for digest in picture.blobs():
        name = digest.partition(":")[2]
        staged, place = f"blob-{name}", f"{store.root}/blobs/sha256/{name}"
        written = trace.positions("written", staged) or trace.positions("written", "spool-")
        (named,) = trace.positions("renamed", place)
        synced = [*trace.positions("synced", staged), *trace.positions("synced", "spool-")]
        synced += trace.positions("all synced", str(store.root))
        assert any(written[0] < one < named for one in synced), digest
        assert written[-1] < named
        sync = next(one for one in trace.positions("synced", f"{store.root}/blobs/sha256$") if one > named)
        assert any(one > sync for one in trace.positions("committed"))


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([LARGE], id="one large layer"),
        pytest.param(SMALL[:1], id="one small layer"),
        pytest.param(SMALL, id="a group of small layers"),
        pytest.param([LARGE, *SMALL], id="both"),
    ],
)
def test_import(fresh, tmp_path, layers):
    picture = images.image(*layers, names=["made:1"])
    trace = traced(fresh, tmp_path, "import", archive_of(tmp_path, *layers))
    verify_blobs(trace, fresh, picture)
    assert trace.at_risk == []


@pytest.mark.parametrize("layers", [[LARGE], SMALL], ids=["one large layer", "a group of small layers"])
def test_import_from_a_pipe(fresh, tmp_path, layers):
    """Blobs are written before anything is known about them."""
    path = archive_of(tmp_path, *layers)
    trace = traced(fresh, tmp_path, "import", "-", data=path.read_bytes())
    verify_blobs(trace, fresh, images.image(*layers, names=["made:1"]))
    assert trace.at_risk == []


def test_import_of_very_many_files(fresh, tmp_path):
    """All are synced at once."""
    pictures = [stores.simple(str(number), names=(f"image{number}:1",)) for number in range(100)]
    path = images.write_oci_archive(tmp_path / "many.tar", *pictures)
    trace = traced(fresh, tmp_path, "import", path)
    assert trace.positions("all synced", str(fresh.root))
    verify_blobs(trace, fresh, pictures[0])
    verify_blobs(trace, fresh, pictures[-1])
    assert trace.at_risk == []


def test_tag(filled, tmp_path):
    for words in (["tag", "example:1", "other:1"], ["untag", "other:1"]):
        trace = traced(filled, tmp_path, *words)
        in_order(trace, ("synced", f"{filled.root}/index.json."), ("committed", ""), ("renamed", "/index.json"))
        assert trace.at_risk == []


def test_an_index_that_is_stale(filled, tmp_path):
    (filled.root / "index.json").write_text("{}")
    trace = traced(filled, tmp_path, "gc")
    in_order(trace, ("written", "/index.json."), ("synced", "/index.json."), ("renamed", "/index.json"))
    assert trace.at_risk == []


def test_the_first_command_makes_a_store(fresh, tmp_path):
    trace = traced(fresh, tmp_path, "import", archive_of(tmp_path, *SMALL[:1]))
    in_order(trace, ("synced", "store.json."), ("renamed", "/store.json$"), ("synced", f"{fresh.root}$"))
    assert trace.at_risk == []
    assert not {path for path in trace.named if path.startswith(f"{fresh.root}/blobs")}


def test_backup(filled, tmp_path):
    target = tmp_path / "backup"
    trace = traced(filled, tmp_path, "backup", target)
    assert trace.at_risk == []
    blobs = sorted(target.glob("blobs/sha256/*"))
    assert len(blobs) == len(set(images.example().blobs()))
    (index,) = trace.positions("renamed", f"{target}/index.json")
    for path in blobs:
        (named,) = trace.positions("renamed", str(path))
        before = [one for one in trace.positions("synced", f"{target}/blobs/sha256/.partial-") if one < named]
        assert before, path
        assert any(named < one < index for one in trace.positions("synced", f"{target}/blobs/sha256$"))
    # The files that refer to them follow, and in the end nothing is at risk, not even the names of new directories.
    in_order(
        trace,
        ("renamed", f"{target}/oci-layout"),
        ("renamed", f"{target}/backup.json"),
        ("synced", f"{target}$"),
        ("renamed", f"{target}/index.json"),
        ("synced", f"{target}$"),
    )
    assert not {path for path in trace.named | trace.written if path.startswith(str(target))}


@pytest.mark.root
@pytest.mark.mounts
def test_containers_and_commits(filled, tmp_path):
    trace = traced(filled, tmp_path, "mount", "--rw", "--name", "c", "example:1")
    place = f"{filled.root}/containers/c"
    for path in (
        f"{place}/record.new",
        f"{place}/whole",
        f"{place}/upper",
        f"{place}/work",
        place,
        f"{filled.root}/containers",
    ):
        exact = [number for number, event in enumerate(trace.events) if event == ("synced", path)]
        assert exact, path
        assert any(one > exact[-1] for one in trace.positions("committed")), path
    in_order(trace, ("synced", f"{place}/record.new"), ("renamed", f"{place}/record$"), ("synced", f"{place}$"))
    shown = trace.outcome.text.strip()
    with open(f"{shown}/made", "wb") as file:
        file.write(os.urandom(3_000_000))
    # It is mounted, and read from below the mount: unwritten data must be written first, or the command fails.
    trace = traced(filled, tmp_path, "commit", "c", "committed:1")
    assert trace.at_risk == []
    in_order(trace, ("all synced", f"{place}/upper"), ("written", ""), ("committed", ""))
    filled.ok("umount", "c")
    trace = traced(filled, tmp_path, "commit", "c", "again:1")
    assert trace.at_risk == []
    filled.ok("umount", "--all")
    trace = traced(filled, tmp_path, "container", "rm", "c")
    in_order(
        trace,
        ("synced", f"{place}/record.new"),
        ("renamed", f"{place}/record$"),
        ("synced", f"{place}$"),
        ("committed", ""),
        ("renamed", "removed-container"),
    )


@pytest.mark.root
def test_convert_and_gc(filled, tmp_path):
    """A tree loses its trust before it is exchanged, and is called durable only when all of it is synced."""
    filled.ok("gc")
    trace = traced(filled, tmp_path, "convert", "--tree", "directory", "example:1")
    assert trace.at_risk == []
    in_order(trace, ("committed", ""), ("exchanged", f"{filled.root}/trees"), ("committed", ""))
    trace = traced(filled, tmp_path, "gc")
    assert trace.at_risk == []
    in_order(trace, ("all synced", f"{filled.root}/trees"), ("committed", ""))


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
def test_load(fresh, tmp_path, pipeline):
    trace = traced(fresh, tmp_path, "load", "-i", pipeline)
    assert trace.at_risk == []
    assert len(trace.positions("renamed", f"{fresh.root}/blobs/sha256")) > 6
    # Files that are reported as removed must not reappear.
    assert ("synced", f"{fresh.root}/pipeline/images") in trace.events


def test_repair_of_a_blob(filled, archive, tmp_path):
    place = filled.root / "blobs/sha256" / images.example().layers[0].digest.partition(":")[2]
    place.write_bytes(b"altered")
    trace = traced(filled, tmp_path, "check", "--repair", "--from", archive)
    in_order(trace, ("synced", "copy-sha256-"), ("renamed", str(place)), ("synced", f"{place.parent}$"))
    assert trace.at_risk == []


def test_repair_of_the_graph(filled, tmp_path):
    data = filled.root / "graph/data.mdb"
    shutil.copy(data, tmp_path / "kept")
    with data.open("r+b") as file:
        file.write(b"\xff" * 8192)
    trace = traced(filled, tmp_path, "check", "--repair")
    in_order(
        trace,
        ("synced", "store.json."),
        ("renamed", f"{filled.root}/graph.damaged-"),
        ("synced", f"{filled.root}/graph.damaged-"),
        ("synced", f"{filled.root}$"),
        ("renamed", str(data)),
        ("synced", f"{filled.root}/graph$"),
    )
    assert trace.at_risk == []
