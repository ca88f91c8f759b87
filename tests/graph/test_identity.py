"""Ids of stores, format 3: ids for older stores, kills on the way; records of a newer arstore; hints."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import lmdb
import pytest
from support import images, stores

from arstore import trace
from arstore.errors import NoStoreError, StoreDamagedError, StoreVersionError
from arstore.graph import hints, identity
from arstore.graph.datafile import MAP_SIZE
from arstore.graph.graph import Graph
from arstore.graph.record_checksum import sealed, unsealed
from arstore.graph.records import BlobRecord
from arstore.maintenance.check import check, repair
from arstore.maintenance.gc import collect
from arstore.store.store import Store

EXAMPLE = images.example(names=["example:1"])
STORE_POINTS = [name for name in trace.STORE if "spare" not in name]


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        stores.bring(made, EXAMPLE)
        yield made


def again(store, create=True):
    store.close()
    return Store(store.directories.root, store.directories.runroot, create=create)


def raw(store, changes):
    """Change the graph without arstore."""
    store.graph.release()
    with lmdb.open(store.graph.path, map_size=MAP_SIZE) as environment, environment.begin(write=True) as change:
        for key, value in changes.items():
            change.delete(key) if value is None else change.put(key, value)


def rows(store):
    store.graph.release()
    with lmdb.open(store.graph.path, map_size=MAP_SIZE) as environment, environment.begin() as snapshot:
        return dict(snapshot.cursor())


def ids(store):
    """The id in the root, the id in the graph, and the format."""
    known = rows(store)
    found = known.get(b"meta/id")
    return identity.read(store.directories.root), found and found[:-9].decode(), known[b"meta/format"][:1].decode()


# --- new stores -----------------------------------------------------------------------------------------------------


def test_both_places_have_the_id(store):
    own, known, version = ids(store)
    assert own == known
    assert (len(own), version) == (32, "3")
    assert os.stat(f"{store.directories.root}/store.json").st_mode & 0o777 == 0o600


def test_the_id_is_there_before_the_first_blob(tmp_path):
    seen = []
    root = tmp_path / "root"

    def look(name):
        if name in ("publish.blob-placed", "publish.tree-placed", "container.placed") and not seen:
            seen.append((root / "store.json").read_bytes())

    store = Store(str(root), str(tmp_path / "run"))
    trace.listen(look)
    try:
        stores.bring(store, EXAMPLE)
    finally:
        trace.listen(None)
        store.close()
    assert identity.read(str(root)).encode() in seen[0]


@pytest.mark.parametrize("point", STORE_POINTS)
def test_making_a_store_that_is_killed(tmp_path, point):
    """There is no store, or a whole one: reading makes neither, and an import succeeds."""
    place, seen = (str(tmp_path / "root"), str(tmp_path / "run")), []

    def make():
        with Store(*place) as store:
            stores.bring(store, EXAMPLE)

    def killed():
        trace.listen(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
        make()

    stores.forked(lambda: (trace.listen(seen.append), make(), (tmp_path / "seen").write_text(str(seen))))
    is_passed = point in (tmp_path / "seen").read_text()
    shutil.rmtree(place[0])
    shutil.rmtree(place[1])
    stores.forked(killed, -signal.SIGKILL if is_passed else 0)
    if is_passed and trace.STORE[point].then.startswith("there is no store yet"):
        with pytest.raises(NoStoreError):
            Store(*place, create=False).images()
    stores.forked(make)
    with Store(*place, create=False) as store:
        assert [image.digest for image in store.images()] == [EXAMPLE.digest]
        collect(store)
        stores.verify_clean(store)
        assert not list(Path(place[0]).glob("store.json.*"))


def test_two_that_make_the_same_store(tmp_path):
    place = str(tmp_path / "root"), str(tmp_path / "run")

    def make():
        with Store(*place) as store, store.graph.write() as change:
            change.put_blob(EXAMPLE.digest, BlobRecord(1))

    for _ in range(10):
        with stores.in_child(make), stores.in_child(make), stores.in_child(make):
            make()
        with Store(*place, create=False) as store:
            assert ids(store)[0] == ids(store)[1]
        shutil.rmtree(place[0])


# --- older stores ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_store_stays_one_while_it_is_only_read(store, version):
    stores.make_older(store, version)
    before = rows(store)
    with again(store, create=False) as older:
        assert [image.names for image in older.images()] == [("example:1",)]
        assert check(older) == []
        older.read_blob(EXAMPLE.digest)
    assert rows(store) == before
    assert ids(store)[0] is None


@pytest.mark.parametrize("version", [1, 2])
def test_its_first_change_gives_it_an_id(store, version):
    records = stores.records(store)
    stores.make_older(store, version)
    with again(store, create=False) as older:
        older.tag("example:1", "other:1")
    own, known, found = ids(store)
    assert own == known
    assert found == "3"
    with again(store) as now:
        now.untag("other:1")
        assert stores.records(now) == records
        with now.graph.read() as snapshot:
            assert len(snapshot.own("lineage")) == 32


def test_a_change_that_is_given_up_leaves_an_older_store(store):
    stores.make_older(store)

    def give_up(older):
        with older.graph.write() as change:
            change.put_name("other:1", EXAMPLE.digest)
            raise KeyError

    with again(store) as older:
        with pytest.raises(KeyError):
            give_up(older)
        assert ids(older)[2] == "2"
        older.tag("example:1", "other:1")
    assert ids(store)[2] == "3"


def test_an_older_store_is_read_while_it_gets_its_id(store):
    stores.make_older(store)
    kept = Path(store.directories.root).with_name("kept")
    shutil.copytree(store.directories.root, kept)

    def migrate():
        with Store(store.directories.root, store.directories.runroot) as older:
            older.tag("example:1", "other:1")

    def read():
        for _ in range(40):
            with Store(store.directories.root, store.directories.runroot, create=False) as older:
                assert len(older.images()) == 1

    for _ in range(5):
        with stores.in_child(read), stores.in_child(migrate):
            migrate()
        assert ids(store)[0] == ids(store)[1]
        shutil.rmtree(store.directories.root)
        shutil.copytree(kept, store.directories.root)


MIGRATION = ["store.older-named", "store.id-written", "store.id-placed", "layout.written", "layout.committed"]


def killed_at(store, point):
    def killed():
        trace.listen(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
        with again(store) as older:
            older.tag("example:1", "other:1")

    stores.forked(killed, -signal.SIGKILL)


@pytest.mark.parametrize("point", MIGRATION)
@pytest.mark.parametrize("copied", [False, True])
def test_a_migration_that_is_killed(store, tmp_path, point, copied):
    stores.make_older(store)
    killed_at(store, point)
    assert ids(store)[2] == ("3" if point == "layout.committed" else "2")
    if copied:
        shutil.copytree(store.directories.root, tmp_path / "copy")
        store = Store(str(tmp_path / "copy"), str(tmp_path / "copy-run"))
    with again(store, create=False) as older:
        assert len(older.images()) == 1
        older.tag("example:1", "other:1")
        collect(older)
        stores.verify_clean(older)
    own, known, version = ids(store)
    assert own == known
    assert version == "3"


@pytest.mark.parametrize("point", ["store.older-named", "store.id-written", "store.id-placed", "layout.written"])
def test_an_older_arstore_goes_on_after_a_migration_that_was_killed(store, point):
    stores.make_older(store)
    killed_at(store, point)
    # Act as an arstore of format 2: read the format, and change records.
    assert unsealed(b"meta/format", rows(store)[b"meta/format"]) == b"2"
    raw(store, {b"names/older:1": sealed(b"names/older:1", EXAMPLE.digest.encode())})
    with again(store) as now:
        now.untag("example:1")
        assert stores.names(now) == {"older:1": EXAMPLE.digest}
    assert ids(store)[0] == ids(store)[1]


@pytest.mark.parametrize("point", ["store.id-placed", "layout.written"])
def test_a_graph_that_an_older_arstore_made_anew_is_not_believed(store, point):
    stores.make_older(store)
    killed_at(store, point)
    shutil.rmtree(store.directories.graph)
    os.mkdir(store.directories.graph)
    raw(store, {b"meta/format": sealed(b"meta/format", b"2"), b"meta/created": sealed(b"meta/created", b"9")})
    with again(store) as now:
        with pytest.raises(StoreDamagedError, match="is new, but"):
            collect(now)
        repair(now, check(now))
        collect(now)
        assert stores.names(now)["example:1"] == EXAMPLE.digest


@pytest.mark.parametrize("harm", ["lost", "empty"])
def test_an_older_store_whose_graph_is_lost(store, tmp_path, harm):
    """The store has no id: index.json and the files under the root must show which store it is."""
    stores.make_older(store)
    shutil.rmtree(store.directories.graph)
    if harm == "empty":
        os.mkdir(store.directories.graph)
        raw(store, {b"meta/format": sealed(b"meta/format", b"2"), b"meta/created": sealed(b"meta/created", b"9")})
        Path(store.directories.graph, "home").touch()
    before = stores.blobs(store)
    archive = stores.archive_for(store, stores.simple("new", names=("new:1",)))
    with again(store) as now:
        with pytest.raises(StoreDamagedError):
            collect(now)
        with pytest.raises(StoreDamagedError):
            stores.import_reference(now, str(archive))
        assert stores.blobs(now) == before
        assert {finding.damage.value for finding in check(now)} == {"graph-lost"}
        repair(now, check(now))
        collect(now)
        assert stores.blobs(now) == before
        assert stores.names(now) == {"example:1": EXAMPLE.digest}
    assert ids(store)[0] == ids(store)[1]


def test_an_unreadable_file_of_an_older_store(store):
    stores.make_older(store)
    Path(store.directories.root, "store.json").touch()
    with again(store) as now:
        repair(now, check(now))
        assert check(now) == []
        now.tag("example:1", "other:1")
    assert ids(store)[0] == ids(store)[1]


# --- a newer arstore ------------------------------------------------------------------------------------------------


def put_newer(store, key, text):
    raw(store, {key: sealed(key, text)})


def newer_field(store):
    key = next(key for key in rows(store) if key.startswith(b"images/"))
    value = unsealed(key, rows(store)[key])
    put_newer(store, key, value[:-1] + b',"pinned":true}')
    return key


def test_an_unknown_table_is_left_alone_and_nothing_is_written(store):
    put_newer(store, b"verdicts/one", b"good")
    put_newer(store, b"aaa/one", b"first")
    before = rows(store)
    with again(store) as now:
        assert check(now) == check(now, quick=True) == []
        assert now.find("example:1").digest == EXAMPLE.digest
        for change in (lambda: now.tag("example:1", "x:1"), lambda: collect(now)):
            with pytest.raises(StoreVersionError, match="newer"):
                change()
        with pytest.raises(StoreVersionError):
            repair(now, [], ()) or now.untag("example:1")
    assert rows(store) == before


@pytest.mark.parametrize("harm", ["record", "pages"])
def test_repair_never_drops_what_a_newer_arstore_has_written(store, harm):
    put_newer(store, b"verdicts/one", b"good")
    if harm == "record":
        raw(store, {b"names/example:1": b"\xff" * 70})
    else:
        data = Path(store.graph.path, "data.mdb")
        store.graph.release()
        pages = bytearray(data.read_bytes())
        pages[18] ^= 1
        pages[4096 + 18] ^= 1
        data.write_bytes(pages)
    with again(store) as now:
        found = check(now)
        assert found
        with pytest.raises(StoreVersionError):
            repair(now, found)
    assert b"good" in Path(store.graph.path, "data.mdb").read_bytes()


def test_an_unknown_table_whose_seal_is_wrong_is_damage(store):
    raw(store, {b"verdicts/one": b"good#00000000", b"blcbs/two": b"x"})
    with again(store) as now:
        assert {finding.what for finding in check(now)} == {"verdicts/one", "blcbs/two"}
        now.tag("example:1", "x:1")
        assert all(finding.repaired for finding in repair(now, check(now)))
        assert check(now) == []


def test_a_sealed_record_is_found_behind_broken_ones(store):
    raw(store, {b"verdicts/%d" % number: b"x" for number in range(5)})
    put_newer(store, b"verdicts/9", b"good")
    with again(store) as now, pytest.raises(StoreVersionError):
        now.tag("example:1", "x:1")


def test_an_unknown_field_is_read_over_and_never_lost(store):
    key = newer_field(store)
    before = rows(store)[key]
    with again(store) as now:
        assert [image.digest for image in now.images()] == [EXAMPLE.digest]
        assert now.find("example:1").record.config == EXAMPLE.config_digest
        assert check(now) == []
        now.tag("example:1", "x:1")
        now.untag("x:1")
        now.untag("example:1")
        with pytest.raises(StoreVersionError):
            collect(now)
    assert rows(store)[key] == before


def test_an_unknown_field_without_a_seal_is_damage(store):
    key = newer_field(store)
    raw(store, {key: unsealed(key, rows(store)[key])})
    with again(store) as now, pytest.raises(StoreDamagedError):
        now.images()


def test_records_of_a_newer_arstore_in_a_graph_that_is_lost(store):
    """The old graph is set aside, whatever is in it."""
    newer_field(store)
    store.close()
    Path(store.directories.root, "store.json").write_bytes(b"")
    with again(store) as now:
        assert all(finding.repaired for finding in repair(now, check(now)))
        assert check(now) == []


# --- hints ----------------------------------------------------------------------------------------------------------


def some_hints(store):
    with store.graph.write() as change:
        hints.put_hint(change, "used", EXAMPLE.digest, "5")
        hints.put_hint(change, "used", EXAMPLE.chain_ids[0], "6", "mount/ro")
        hints.put_hint(change, "used", "sha256:" + "0" * 64, "7")
        hints.put_hint(change, "other", "box", "8")


def test_hints_are_written_read_and_removed(store):
    some_hints(store)
    with store.graph.read() as snapshot:
        assert hints.hint(snapshot, "used", EXAMPLE.digest) == "5"
        assert hints.hint(snapshot, "used", EXAMPLE.chain_ids[0], "mount/ro") == "6"
        assert hints.hint(snapshot, "used", EXAMPLE.chain_ids[0]) == ""
        assert {(one.subject, one.detail, one.text) for one in hints.hints(snapshot, "used")} == {
            (EXAMPLE.digest, "", "5"),
            (EXAMPLE.chain_ids[0], "mount/ro", "6"),
            ("sha256:" + "0" * 64, "", "7"),
        }
        assert list(hints.hints(snapshot, "use")) == []
    with store.graph.write() as change:
        hints.delete_hint(change, "used", EXAMPLE.digest)
        hints.delete_hint(change, "used", EXAMPLE.digest)
        assert hints.hint(change, "used", EXAMPLE.digest) == ""


@pytest.mark.parametrize(("table", "subject"), [("", "x"), ("a/b", "x"), ("a", ""), ("a", "x/y")])
def test_keys_that_are_none(store, table, subject):
    with pytest.raises(ValueError, match="hint"), store.graph.write() as change:
        hints.put_hint(change, table, subject, "")


def test_check_and_repair_leave_hints_alone(store):
    some_hints(store)
    before = {key: value for key, value in rows(store).items() if key.startswith(b"hints/")}
    with again(store) as now:
        assert check(now) == check(now, quick=True) == []
        repair(now, [])
        now.close()
        data = Path(now.graph.path, "data.mdb")
        pages = bytearray(data.read_bytes())
        # The header of a page is lost: the graph is made again.
        pages[18] ^= 1
        pages[4096 + 18] ^= 1
        data.write_bytes(pages)
        repair(now, check(now))
        now.sync_trees()
        assert check(now) == []
    assert {key: value for key, value in rows(store).items() if key.startswith(b"hints/")} == before


def test_the_collector_sweeps_hints_with_what_they_speak_of(store):
    some_hints(store)
    raw(store, {b"hints/odd": sealed(b"hints/odd", b"x")})
    collect(store)
    with store.graph.read() as snapshot:
        assert sorted(snapshot.keys("hints")) == [
            "odd",
            *sorted([f"used/{EXAMPLE.digest}", f"used/{EXAMPLE.chain_ids[0]}/mount/ro"]),
        ]
    store.untag("example:1")
    collect(store)
    with store.graph.read() as snapshot:
        assert snapshot.keys("hints") == ["odd"]


def test_a_hint_that_cannot_be_read_is_none_and_goes_with_a_repair(store):
    some_hints(store)
    key = f"hints/used/{EXAMPLE.digest}".encode()
    raw(store, {key: b"\xff\xff\xff#12345678"})
    with again(store) as now:
        with now.graph.read() as snapshot:
            assert hints.hint(snapshot, "used", EXAMPLE.digest) == ""
            assert len(list(hints.hints(snapshot, "used"))) == 2
        assert [finding.what for finding in check(now)] == [key.decode()]
        assert all(finding.repaired for finding in repair(now, check(now)))
        assert check(now) == []


def test_a_graph_of_no_store_has_no_id(tmp_path):
    (tmp_path / "graph").mkdir()
    graph = Graph(str(tmp_path / "graph"))
    with graph.write() as change:
        assert change.own("id") == ""
    graph.release()
    assert os.listdir(tmp_path) == ["graph"]


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "0" * 31 + "g", "0" * 31 + "A", 7, None, ["0" * 32]])
def test_what_is_no_id(text):
    assert identity._is_id("0123456789abcdef" * 2)
    assert not identity._is_id(text)
