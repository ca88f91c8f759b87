"""A store that is missing, and a graph that belongs to another store: what every command does, and what repairs it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import lmdb
import pytest
from support import images, stores

from arstore.errors import (
    RUN_FAILED,
    CheckFailedError,
    HostError,
    NoStoreError,
    NotFoundError,
    StoreDamagedError,
    UsageError,
)
from arstore.graph.datafile import MAP_SIZE
from arstore.graph.record_checksum import sealed
from arstore.rootfs import mount as rootfs
from arstore.store.store import Store

EXAMPLE = images.example(names=["example:1", "example:latest"])
OTHER = stores.simple("one", "two", names=("other:1",))
NEW = stores.simple("new", names=("new:1",))
DAMAGED, NO_STORE = StoreDamagedError.exit_code, NoStoreError.exit_code


def files(root):
    """Everything under *root* except the graph: kind, mode and content by path."""
    found = {}
    for directory, names, plain in os.walk(root):
        if Path(directory).name.startswith("graph"):
            names.clear()
            continue
        for name in [*names, *plain]:
            path = Path(directory, name)
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path.relative_to(root))] = (path.lstat().st_mode, content)
    return found


def kept(root):
    """The blobs, and the content of containers."""
    return {path: one for path, one in files(root).items() if path.startswith(("blobs/", "containers/"))}


# --- no store -------------------------------------------------------------------------------------------------------


WITHOUT = [
    ("images",),
    ("layers",),
    ("inspect", "x:1"),
    ("history", "x:1"),
    ("tag", "x:1", "y:1"),
    ("untag", "x:1"),
    ("rm", "x:1"),
    ("mount", "x:1"),
    ("umount", "--all"),
    ("mounts",),
    ("unpack", "x:1", "{place}/unpacked"),
    ("ps",),
    ("logs", "x"),
    ("kill", "x"),
    ("container", "rm", "x"),
    ("commit", "x", "y:1"),
    ("diff", "x", "y"),
    ("du",),
    ("gc",),
    ("gc", "--dry-run"),
    ("convert", "--all"),
    ("backup", "{place}/backup"),
    ("backup", "--prune", "{place}/backup"),
    ("check",),
    ("check", "--quick"),
    ("check", "--repair"),
]
RUNNING = [("run", "x:1"), ("exec", "x", "true")]


@pytest.fixture
def nothing(arstore):
    """The program without a store."""
    shutil.rmtree(arstore.root)
    shutil.rmtree(arstore.runroot)
    return arstore


def filled_in(words, place):
    return [word.replace("{place}", str(place)) for word in words]


@pytest.mark.parametrize("words", [*WITHOUT, *RUNNING], ids=" ".join)
def test_what_takes_no_images_in_makes_no_store(nothing, tmp_path, words):
    before = sorted(os.listdir(tmp_path))
    result = nothing(*filled_in(words, tmp_path))
    assert result.status == (RUN_FAILED if words in RUNNING else NO_STORE)
    assert result.out == b""
    assert f"{nothing.root}: there is no store: it does not exist; " in result.err
    assert "mounted" in result.err
    assert sorted(os.listdir(tmp_path)) == before


def test_the_kind_is_told_with_json(nothing):
    result = nothing("images", "--json")
    assert (result.status, result.error["kind"], result.error["what"]) == (NO_STORE, "NoStore", str(nothing.root))


def test_a_backup_is_not_touched_when_the_disk_of_the_store_is_not_mounted(arstore, tmp_path):
    arstore.ok("import", stores.archive_for(Store(str(arstore.root), str(arstore.runroot)), EXAMPLE))
    arstore.ok("backup", tmp_path / "backup")
    before = files(tmp_path / "backup")
    arstore.root.rename(tmp_path / "elsewhere")
    arstore.root.mkdir()
    for words in (("backup", tmp_path / "backup"), ("backup", "--prune", tmp_path / "backup")):
        assert arstore(*words).status == NO_STORE
    assert files(tmp_path / "backup") == before
    assert os.listdir(arstore.root) == []


def _file(root):
    root.write_text("x")


def _link(root):
    root.symlink_to(root.parent / "not-mounted")


def _empty(root):
    root.mkdir()


def _fresh_disk(root):
    (root / "lost+found").mkdir(parents=True)


def _something_else(root):
    root.mkdir(mode=0o700)
    (root / "letters").mkdir()


def _system(root):
    """A directory such as /var/lib, where podman has its `containers`."""
    (root / "containers/storage").mkdir(parents=True)
    (root / "dpkg").mkdir()
    root.chmod(0o755)


def _layout(root):
    images.write_layout(root, EXAMPLE)


def _below_a_file(root):
    root.parent.joinpath("file").write_text("x")
    root.symlink_to("file/below")


def _half_made(root):
    for name in ("trees", "ingest", "containers", "blobs/sha256", "graph"):
        (root / name).mkdir(parents=True)


def _without_a_format(root):
    _half_made(root)
    lmdb.open(str(root / "graph"), map_size=MAP_SIZE).close()


PLACES = [
    _file,
    _link,
    _empty,
    _fresh_disk,
    _something_else,
    _system,
    _layout,
    _below_a_file,
    _half_made,
    _without_a_format,
]


@pytest.mark.parametrize("make", PLACES)
@pytest.mark.parametrize("words", [("images",), ("gc",), ("check", "--repair"), ("backup", "{place}/backup")])
def test_a_root_that_holds_no_store(nothing, tmp_path, make, words):
    make(nothing.root)
    before = files(tmp_path)
    result = nothing(*filled_in(words, tmp_path))
    assert result.status == NO_STORE, result.err
    assert len(result.err.splitlines()) == 1
    assert files(tmp_path) == before


@pytest.mark.parametrize(("make", "says"), [(_something_else, "letters"), (_layout, "OCI image layout")])
def test_it_is_told_what_is_there_instead(nothing, make, says):
    make(nothing.root)
    assert says in nothing("images").err


@pytest.mark.parametrize("make", [_empty, _half_made, _without_a_format])
def test_an_import_makes_or_finishes_a_store(nothing, tmp_path, make):
    make(nothing.root)
    nothing.ok("import", images.write_oci_archive(tmp_path / "x.tar", EXAMPLE))
    nothing.ok("check")
    assert nothing.ok("images", "--json").json[0]["digest"] == EXAMPLE.digest


@pytest.mark.parametrize("make", [_layout, _system])
def test_something_else_is_not_made_a_store(nothing, tmp_path, make):
    make(nothing.root)
    before, mode = files(nothing.root), nothing.root.stat().st_mode
    result = nothing("import", images.write_oci_archive(tmp_path / "x.tar", OTHER))
    assert result.status == HostError.exit_code
    assert (files(nothing.root), nothing.root.stat().st_mode) == (before, mode)


@pytest.mark.parametrize("option", ["--root", "--runroot"])
@pytest.mark.parametrize("command", ["images", "import"])
def test_an_empty_directory_name_is_wrong_usage(arstore, option, command):
    words = (option, "", command, *(["x"] if command == "import" else []))
    assert arstore(*words).status == UsageError.exit_code
    assert arstore(option, "", command, "--help").status == 0


@pytest.mark.parametrize("name", ["ARSTORE_ROOT", "ARSTORE_RUNROOT"])
def test_an_empty_variable_is_wrong_usage(name, monkeypatch, capfdbinary):
    from arstore.cli.failure import guarded
    from arstore.cli.main import run
    from arstore.cli.session import Session

    monkeypatch.setenv(name, "")
    session = Session()
    assert guarded(session, lambda: run(session, ["images"])) == UsageError.exit_code
    assert name.encode() in capfdbinary.readouterr().err


@pytest.mark.root
def test_what_is_mounted_can_be_ended_when_the_root_is_gone(arstore, tmp_path):
    arstore.ok("import", images.write_oci_archive(tmp_path / "x.tar", EXAMPLE))
    path = arstore.ok("mount", "example:1").text.strip()
    arstore.root.rename(tmp_path / "elsewhere")
    assert path in arstore.ok("mounts").text
    arstore.ok("umount", path)
    assert arstore("mounts").status == NO_STORE


# --- a graph that is not the store's --------------------------------------------------------------------------------


def graph_of(root):
    return Path(root, "graph")


def no_graph(root, _other):
    shutil.rmtree(graph_of(root))


def empty_graph(root, _other):
    shutil.rmtree(graph_of(root))
    graph_of(root).mkdir()


def no_data(root, _other):
    (graph_of(root) / "data.mdb").unlink()


def short_data(root, _other):
    os.truncate(graph_of(root) / "data.mdb", 0)


def no_format(root, other):
    empty_graph(root, other)
    lmdb.open(str(graph_of(root)), map_size=MAP_SIZE).close()


def foreign_graph(root, other):
    shutil.rmtree(graph_of(root))
    shutil.copytree(graph_of(other), graph_of(root))


def moved_graph(root, other):
    shutil.rmtree(graph_of(root))
    graph_of(other).rename(graph_of(root))


def graph_of_an_older_arstore(root, other):
    """Make the empty graph that an arstore of format 2 makes if there is none."""
    empty_graph(root, other)
    with lmdb.open(str(graph_of(root)), map_size=MAP_SIZE) as environment, environment.begin(write=True) as change:
        for key, text in ((b"meta/format", b"2"), (b"meta/created", b"1")):
            change.put(key, sealed(key, text))


def no_file(root, _other):
    Path(root, "store.json").unlink()


def garbage(root, _other):
    Path(root, "store.json").write_bytes(b'{"id": "' + b"z" * 32 + b'"}')


def cut_file(root, _other):
    os.truncate(Path(root, "store.json"), 0)


def foreign_file(root, other):
    shutil.copy(Path(other, "store.json"), Path(root, "store.json"))


def directory_for_a_file(root, other):
    no_file(root, other)
    Path(root, "store.json").mkdir()


def no_file_and_a_foreign_graph(root, other):
    no_file(root, other)
    foreign_graph(root, other)


def no_file_and_no_graph(root, other):
    no_file(root, other)
    no_graph(root, other)


def no_id(root, _other):
    with lmdb.open(str(graph_of(root)), map_size=MAP_SIZE) as environment, environment.begin(write=True) as change:
        change.put(b"meta/id", b"\xff" * 41)


LOST = [
    no_graph,
    empty_graph,
    no_data,
    short_data,
    no_format,
    foreign_graph,
    moved_graph,
    graph_of_an_older_arstore,
    foreign_file,
    no_file_and_a_foreign_graph,
    no_file_and_no_graph,
]
"""Harm after which the graph does not match the file in the root: it is made again."""
UNNAMED = [no_file, garbage, cut_file, no_id]
"""Harm after which the graph still belongs to the store, although one of the ids is lost."""


@pytest.fixture
def whole(arstore, tmp_path):
    """The program on a store with two images and a container; another store is in `other`."""
    archive = images.write_oci_archive(tmp_path / "other.tar", NEW)
    with stores.made(tmp_path / "other", tmp_path / "other-run") as other:
        stores.bring(other, NEW)
    archive.unlink()
    with Store(str(arstore.root), str(arstore.runroot)) as store:
        stores.bring(store, EXAMPLE)
        stores.bring(store, OTHER)
        container = rootfs.create_container(store, store.find("example:1"), "box")
        Path(container.upper, "mine").write_text("mine")
        store.sync_trees()
    return arstore


WITH = [
    ("images",),
    ("import", "{place}/new.tar"),
    ("load", "-i", "{place}/new.tar"),
    ("backup", "--prune", "--replace", "{place}/backup"),
    ("gc",),
    ("gc", "--dry-run"),
    ("du",),
    ("tag", "example:1", "more:1"),
    ("untag", "example:1"),
    ("rm", "example:1"),
    ("mount", "example:1"),
    ("mount", "box"),
    ("unpack", "example:1", "{place}/unpacked"),
    ("commit", "box", "more:1"),
    ("diff", "example:1"),
    ("convert", "--all"),
    ("ps",),
    ("container", "rm", "box"),
]


def ends_as_damaged(program, place):
    """Try every command on a damaged store: each must report the damage and change nothing."""
    images.write_oci_archive(place / "new.tar", NEW)
    before = files(program.root)
    for words in WITH:
        result = program(*filled_in(words, place))
        assert result.status == DAMAGED, (words, result.err)
        assert "check --repair" in result.err
    assert program("run", "example:1").status == RUN_FAILED
    assert program("check").status == program("check", "--quick").status == CheckFailedError.exit_code
    assert files(program.root) == before
    assert not (place / "backup").exists()


def names(program):
    return {image["digest"]: sorted(image["names"]) for image in program.ok("images", "--json").json}


@pytest.mark.parametrize("harm", [*LOST, *UNNAMED])
def test_nothing_goes_with_a_graph_that_is_not_the_stores(whole, tmp_path, harm):
    before, known = kept(whole.root), names(whole)
    harm(whole.root, tmp_path / "other")
    ends_as_damaged(whole, tmp_path)
    result = whole("check", "--repair")
    assert "repaired: graph-lost" in result.text or "repaired: store-id" in result.text
    # A container's layers are recorded next to its files.
    assert result.status == 0, result.text
    assert kept(whole.root) == before
    whole.ok("import", tmp_path / "new.tar")
    whole.ok("gc")
    assert kept(whole.root).items() >= before.items()
    assert names(whole) == {**known, NEW.digest: ["new:1"]}
    assert whole.ok("ps", "--all", "--json").json[0]["id"] == "box"


# --- an older graph of the same store -------------------------------------------------------------------------------


def grown(program, place):
    """Make a store with an older copy of its graph in *place*, newer images, and a container on one of them."""
    program.ok("import", images.write_oci_archive(place / "one.tar", OTHER))
    shutil.copytree(program.root / "graph", place / "older")
    program.ok("import", images.write_oci_archive(place / "two.tar", NEW))
    with Store(str(program.root), str(program.runroot)) as store:
        box = store.containers.create(NEW.digest, "box")
        store.containers.keep("box")
        Path(box.upper, "written").write_text("hello")


def put_back(program, place):
    shutil.rmtree(program.root / "graph")
    shutil.copytree(place / "older", program.root / "graph")


def test_an_older_graph_of_the_same_store_is_not_believed(arstore, tmp_path):
    grown(arstore, tmp_path)
    before, known = kept(arstore.root), names(arstore)
    put_back(arstore, tmp_path)
    for words in (("images",), ("gc",), ("backup", tmp_path / "backup"), ("import", tmp_path / "one.tar"), ("ps",)):
        assert arstore(*words).status == DAMAGED, words
    for words in (("check",), ("check", "--quick")):
        result = arstore(*words)
        assert result.status == CheckFailedError.exit_code
        assert "outdated" in result.text
    assert kept(arstore.root) == before
    arstore.ok("check", "--repair")
    arstore.ok("gc")
    arstore.ok("check", "--repair")
    assert kept(arstore.root) == before
    assert names(arstore) == known
    (box,) = arstore.ok("ps", "--all", "--json").json
    assert (box["id"], box["image"]) == ("box", NEW.digest) or box["image"] == "new:1"
    put_back(arstore, tmp_path)
    assert arstore("gc").status == DAMAGED


def test_a_removal_since_the_older_graph_stays_one(arstore, tmp_path):
    grown(arstore, tmp_path)
    arstore.ok("rm", "other:1")
    arstore.ok("gc")
    put_back(arstore, tmp_path)
    arstore.ok("check", "--repair")
    arstore.ok("check")
    assert names(arstore) == {NEW.digest: ["new:1"]}


def test_a_container_made_since_is_enough(arstore, tmp_path):
    arstore.ok("import", images.write_oci_archive(tmp_path / "one.tar", OTHER))
    shutil.copytree(arstore.root / "graph", tmp_path / "older")
    with Store(str(arstore.root), str(arstore.runroot)) as store:
        Path(store.containers.create(OTHER.digest, "box").upper, "written").touch()
        store.containers.keep("box")
    put_back(arstore, tmp_path)
    assert arstore("gc").status == DAMAGED


def test_graph_and_file_of_another_store_are_not_believed(arstore, tmp_path):
    grown(arstore, tmp_path)
    before, known = kept(arstore.root), names(arstore)
    with Store(str(tmp_path / "strange"), str(tmp_path / "strange-run")) as strange:
        stores.bring(strange, EXAMPLE)
    shutil.rmtree(arstore.root / "graph")
    shutil.copytree(tmp_path / "strange/graph", arstore.root / "graph")
    shutil.copy(tmp_path / "strange/store.json", arstore.root / "store.json")
    for words in (("images",), ("import", tmp_path / "one.tar"), ("gc",)):
        assert arstore(*words).status == DAMAGED, words
    arstore.ok("check", "--repair")
    arstore.ok("gc")
    assert kept(arstore.root) == before
    assert names(arstore) == known
    arstore.ok("check")


def test_a_container_that_no_graph_knows_is_recorded_again(arstore, tmp_path):
    """A store from before the file recorded changes: a container's written files are never garbage."""
    grown(arstore, tmp_path)
    with Store(str(arstore.root), str(arstore.runroot)) as store, store.graph.write() as change:
        change.delete("containers", "box")
    before = kept(arstore.root)
    arstore.ok("gc")
    assert kept(arstore.root) == before
    result = arstore("check")
    assert (result.status, "container-unrecorded: box" in result.text) == (CheckFailedError.exit_code, True)
    arstore.ok("check", "--repair")
    arstore.ok("gc")
    assert kept(arstore.root) == before
    (tmp_path / "place").mkdir()
    arstore.ok("mount", "box", tmp_path / "place")
    arstore.ok("umount", "--all")


def test_a_file_that_tells_of_no_change_is_read_and_completed(arstore, tmp_path):
    grown(arstore, tmp_path)
    path = arstore.root / "store.json"
    own = path.read_text().split(",")[0] + "}\n"
    path.write_text(own)
    arstore.ok("images")
    assert path.read_text() == own
    arstore.ok("tag", "new:1", "more:1")
    assert "number" in path.read_text()


@pytest.mark.parametrize("harm", [no_file, garbage])
def test_a_graph_that_is_the_stores_stays(whole, tmp_path, harm):
    with Store(str(whole.root), str(whole.runroot)) as store:
        records = stores.records(store)
    harm(whole.root, tmp_path)
    whole.ok("check", "--repair")
    with Store(str(whole.root), str(whole.runroot)) as store:
        assert stores.records(store) == records
    assert not list(whole.root.glob("graph.damaged-*"))


def test_a_directory_in_place_of_the_file_is_told(whole, tmp_path):
    directory_for_a_file(whole.root, tmp_path)
    before = kept(whole.root)
    assert whole("gc").status == DAMAGED
    assert whole("check").status == CheckFailedError.exit_code
    assert kept(whole.root) == before


def test_a_new_lineage_after_a_repair_and_the_same_id(whole, tmp_path):
    def own(key):
        with Store(str(whole.root), str(whole.runroot)) as store, store.graph.read() as snapshot:
            return snapshot.own(key)

    before = own("id"), own("lineage")
    no_graph(whole.root, tmp_path)
    whole("check", "--repair")
    assert own("id") == before[0]
    assert own("lineage") not in ("", None, before[1])


def test_images_are_found_and_named_when_the_index_is_lost_too(whole, tmp_path):
    no_graph(whole.root, tmp_path)
    (whole.root / "index.json").unlink()
    before = kept(whole.root)
    whole("check", "--repair")
    whole.ok("gc")
    assert kept(whole.root) == before
    assert {EXAMPLE.digest, OTHER.digest} == names(whole).keys()
    assert names(whole)[OTHER.digest] == [f"recovered:{OTHER.digest[7:19]}"]


@pytest.mark.parametrize("with_container", [True, False])
def test_what_an_older_arstore_imported_after_the_loss_stays_too(whole, tmp_path, with_container):
    """The index was written by a graph that did not know the earlier content."""
    if not with_container:
        whole.ok("container", "rm", "box")
    empty_graph(whole.root, tmp_path)
    (whole.root / "store.json").rename(tmp_path / "kept.json")
    for path in ("blobs", "containers", "index.json"):
        (whole.root / path).rename(tmp_path / path)
    whole.ok("import", images.write_oci_archive(tmp_path / "new.tar", NEW))
    with Store(str(whole.root), str(whole.runroot)) as store:
        stores.make_older(store)
    shutil.copytree(tmp_path / "blobs", whole.root / "blobs", dirs_exist_ok=True)
    (whole.root / "containers").rmdir()
    (tmp_path / "containers").rename(whole.root / "containers")
    (tmp_path / "kept.json").rename(whole.root / "store.json")
    before = kept(whole.root)
    assert whole("gc").status == DAMAGED
    whole("check", "--repair")
    whole.ok("gc")
    assert kept(whole.root) == before
    assert names(whole).keys() == {EXAMPLE.digest, OTHER.digest, NEW.digest}


def test_blobs_of_a_first_import_that_was_killed_are_garbage(arstore):
    blob = arstore.root / "blobs/sha256" / ("0" * 64)
    blob.write_bytes(b"x")
    arstore.ok("check")
    assert not kept(arstore.root).keys() >= {"blobs"}
    arstore.ok("gc")
    assert not blob.exists()


def test_missing_is_not_found_while_a_store_is_there(arstore):
    assert arstore("inspect", "x:1").status == NotFoundError.exit_code
