"""Attachments in the store: they live, count, are checked and removed with their subject."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import attachments, images, remote, stores

from arstore import trace
from arstore.digest import Digest
from arstore.errors import NotFoundError, StoreVersionError
from arstore.graph import newer
from arstore.graph.records import AttachmentRecord
from arstore.maintenance.backup import back_up
from arstore.maintenance.check import Damage, affected, check, repair
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.remove import plan_removal, remove_images
from arstore.store.attachments import attachments as attachments_of
from arstore.store.collect.lease import leased
from arstore.store.ingest.incoming import IncomingAttachment, IncomingBlob, NoBlobs
from arstore.store.progress import NoProgress
from arstore.store.store import Store
from arstore.transport.copy import ImportOptions, import_reference
from arstore.transport.selection.selector import Wanted

pytestmark = pytest.mark.root

ONE = stores.simple("one", names=("one:1",))
TWO = stores.simple("two", names=("two:1",))
LIST = attachments.sbom(ONE.descriptor(), "x" * 50_000)
VOUCHER = attachments.sbom(LIST.descriptor(), "y" * 9_000)
SIGNED = attachments.signature(ONE.digest, "first")
OF_TWO = attachments.sbom(TWO.descriptor(), "x" * 50_000, note="same content, another manifest")
EVERY = (LIST, VOUCHER, SIGNED)


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def keys(store):
    with store.graph.read() as snapshot:
        return {key for key, _ in snapshot.attachments()}


def wanted(*some):
    return {f"{subject}/{one.digest}" for subject, one in some}


ALL = wanted((ONE.digest, LIST), (LIST.digest, VOUCHER), (ONE.digest, SIGNED))


def verify(store):
    store.sync_trees()
    stores.verify_clean(store)
    stores.verify_layout(store)


# --- life -------------------------------------------------------------------------------------------------------------


def test_they_go_with_their_image(store):
    stores.bring(store, ONE, TWO, *EVERY, OF_TWO)
    assert keys(store) == ALL | wanted((TWO.digest, OF_TWO))
    verify(store)
    plan = plan_removal(store, ["one:1"]).removed
    assert set(plan.attachments) == ALL
    assert {VOUCHER.digest, SIGNED.digest, LIST.digest} <= set(plan.blobs)
    # The content that both lists share stays for the other image.
    assert images.sha256(b"x" * 50_000) not in plan.blobs
    removed = remove_images(store, ["one:1"]).removed
    assert removed == plan
    assert keys(store) == wanted((TWO.digest, OF_TWO))
    verify(store)
    remove_images(store, ["two:1"])
    assert (keys(store), stores.blobs(store)) == (set(), set())
    verify(store)


def test_the_collector_takes_them_with_an_image_without_a_name(store):
    stores.bring(store, ONE, *EVERY)
    store.untag("one:1")
    with leased(store.graph, ONE.digest, "a test"):
        assert not plan_collection(store).attachments
    assert set(plan_collection(store).attachments) == ALL
    assert set(collect(store).attachments) == ALL
    assert stores.blobs(store) == set()
    verify(store)


def test_an_index_keeps_what_is_attached_to_it_and_to_its_images(store):
    arm = stores.simple("arm", architecture="arm64")
    index = images.index(ONE, arm, names=["both:1"])
    of_index = attachments.sbom(index.descriptor(), "of the index")
    stores.bring(store, index, *EVERY, of_index, every=True)
    assert keys(store) == ALL | wanted((index.digest, of_index))
    verify(store)
    item = {one.digest: one for one in measure(store).images}[index.digest]
    assert item.size == item.unique + item.shared
    assert not collect(store).attachments
    remove_images(store, ["both:1"])
    assert stores.blobs(store) == set()


def test_the_bill_is_exact(store):
    stores.bring(store, ONE, TWO)
    before = {one.digest: one for one in measure(store).images}
    stores.bring(store, ONE, TWO, *EVERY, OF_TWO)
    bill = measure(store)
    assert bill.total == stores.du(store.directories.root)
    after = {one.digest: one for one in bill.images}

    def allocated(*digests):
        return sum(os.stat(store.directories.blob(digest)).st_blocks * 512 for digest in set(digests))

    shared = {images.sha256(b"x" * 50_000), images.sha256(b"{}")}
    own = {digest for one in EVERY for digest in one.blobs()} - shared
    assert after[ONE.digest].unique - before[ONE.digest].unique == allocated(*own)
    assert after[ONE.digest].size - before[ONE.digest].size == allocated(*own, *shared)
    assert after[TWO.digest].shared - before[TWO.digest].shared == allocated(*shared)
    freed = after[ONE.digest].unique
    assert remove_images(store, ["one:1"]).freed == freed


def test_what_comes_later_takes_no_image_again(store):
    stores.bring(store, ONE)
    blobs = {digest: os.stat(store.directories.blob(digest)).st_ino for digest in stores.blobs(store)}
    stores.bring(store, ONE, LIST)
    stores.bring(store, ONE, LIST, VOUCHER, SIGNED)
    assert keys(store) == ALL
    assert all(os.stat(store.directories.blob(digest)).st_ino == inode for digest, inode in blobs.items())
    found = attachments_of(store, Digest(ONE.digest))
    assert {(one.digest, one.tag) for one in found} == {(LIST.digest, ""), (SIGNED.digest, "sig")}
    assert all(store.read_blob(layer.digest) for one in found for layer in one.manifest.layers)


def test_an_attachment_may_come_alone(store):
    stores.bring(store, ONE)
    blobs = tuple(IncomingBlob(Digest(digest), len(data)) for digest, data in LIST.own.items())
    one = IncomingAttachment(Digest(ONE.digest), Digest(LIST.digest), attachments.MANIFEST, LIST.raw, "x", blobs)
    fake = stores.simple("nothing")
    source = remote.Streams(fake)
    source._blobs |= LIST.own
    assert store.take([], [], source, (), attachments=[one]) == []
    assert keys(store) == wanted((ONE.digest, LIST))
    assert [blob for blob in check(store) if blob.damage is Damage.BLOB_MISSING] == []


def test_nothing_is_attached_to_what_is_not_there(store):
    stores.bring(store, TWO)
    before = stores.State(store)
    lost = IncomingAttachment(Digest(ONE.digest), Digest(LIST.digest), attachments.MANIFEST, LIST.raw, "x", ())
    with pytest.raises(NotFoundError, match="nothing can be attached"):
        store.take([], [], NoBlobs(), (), attachments=[lost])
    before.verify()


def test_an_older_arstore_reads_and_does_not_write(store, monkeypatch):
    stores.bring(store, ONE, *EVERY)
    monkeypatch.setattr(newer, "_TABLES", newer._TABLES - {b"attachments"})
    assert store.find("one:1").digest == ONE.digest
    with pytest.raises(StoreVersionError):
        store.tag("one:1", "other:1")
    with pytest.raises(StoreVersionError):
        collect(store)
    remove_nothing = stores.names(store)
    assert remove_nothing == {"one:1": ONE.digest}


def test_a_store_without_any_stays_writable_for_it(store, monkeypatch):
    stores.bring(store, ONE, LIST)
    remove_images(store, ["one:1"])
    monkeypatch.setattr(newer, "_TABLES", newer._TABLES - {b"attachments"})
    stores.bring(store, TWO)
    assert stores.names(store) == {"two:1": TWO.digest}


# --- damage -----------------------------------------------------------------------------------------------------------


def kinds(findings):
    return {finding.damage for finding in findings}


@pytest.mark.parametrize("digest", [LIST.digest, images.sha256(b"y" * 9_000)])
@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_blobs_are_checked_and_mended(store, tmp_path, digest, harm):
    stores.bring(store, ONE, TWO, *EVERY)
    store.sync_trees()
    archive = stores.archive_for(store, ONE, *EVERY)
    path = Path(store.directories.blob(digest))
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(b"!!!!" + path.read_bytes()[4:])
    findings = check(store)
    assert kinds(findings) == {Damage.BLOB_MISSING if harm == "missing" else Damage.BLOB_DIGEST}
    (hit,) = affected(store, findings).values()
    assert [image.digest for image in hit] == [ONE.digest]
    assert all(finding.repaired for finding in repair(store, findings, [str(archive)]))
    verify(store)


def test_an_import_brings_back_what_is_missing(store):
    stores.bring(store, ONE, *EVERY)
    Path(store.directories.blob(VOUCHER.digest)).unlink()
    stores.bring(store, ONE, *EVERY)
    verify(store)


@pytest.mark.parametrize("which", [LIST, VOUCHER, SIGNED])
@pytest.mark.parametrize("harm", ["overwritten", "flipped", "wrong"])
def test_records_are_mended(store, which, harm):
    stores.bring(store, ONE, *EVERY)
    store.sync_trees()
    records = stores.records(store)
    (key,) = (key for key in keys(store) if key.endswith(which.digest))
    if harm == "wrong":
        with store.graph.write() as change:
            change.put_attachment(*key.split("/"), change.attachment(*key.split("/"))._replace(size=1))
    else:
        name = f"attachments/{key}".encode()
        with store.graph.write(lenient=True) as change:
            value = change.raw(name)
            flipped = value[:9] + bytes([value[9] ^ 2]) + value[10:]
            change.put_raw(name, b"\xff" * 70 if harm == "overwritten" else flipped)
    assert kinds(check(store)) >= {Damage.RECORD_WRONG if harm == "wrong" else Damage.RECORD_DAMAGED}
    assert all(finding.repaired for finding in repair(store, check(store)) if not finding.harmless)
    verify(store)
    assert without_times(stores.records(store)) == without_times(records)


def without_times(records):
    return {
        key: record._replace(imported=0)
        if isinstance(record, AttachmentRecord) or ("/sha" in key and hasattr(record, "imported"))
        else record
        for key, record in records.items()
        if not key.startswith("trees/")
    }


def test_a_missing_record_of_a_blob(store):
    stores.bring(store, ONE, *EVERY)
    with store.graph.write() as change:
        change.delete("blobs", VOUCHER.digest)
    findings = check(store)
    assert Damage.ATTACHMENT_BLOB in kinds(findings)
    repair(store, findings)
    verify(store)


def test_one_whose_subject_is_gone_is_clutter(store):
    stores.bring(store, ONE, TWO, *EVERY)
    with store.graph.write() as change:
        change.delete("images", ONE.digest)
        change.delete("names", "one:1")
    findings = [finding for finding in check(store) if finding.damage is Damage.ATTACHMENT_SUBJECT]
    assert len(findings) == 2
    assert all(finding.harmless for finding in findings)
    collect(store)
    assert keys(store) == set()
    verify(store)


@pytest.mark.parametrize("loss", ["graph", "graph and index.json"])
def test_a_lost_graph_is_made_again_with_them(store, loss):
    stores.bring(store, ONE, TWO, *EVERY, OF_TWO)
    before = keys(store)
    store.close()
    shutil.rmtree(store.directories.graph)
    if loss != "graph":
        os.unlink(f"{store.directories.root}/index.json")
    with Store(store.directories.root, store.directories.runroot) as again:
        repair(again, check(again))
        # Only index.json knows the image of a tag.
        found = before if loss == "graph" else before - wanted((ONE.digest, SIGNED))
        assert keys(again) == found
        again.sync_trees()
        assert [one for one in check(again) if not one.harmless] == []
        if loss == "graph":
            assert not collect(again)
            verify(again)


def test_a_copy_of_three_things_is_complete(store, tmp_path):
    stores.bring(store, ONE, *EVERY)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("blobs", "index.json", "oci-layout"):
        source = Path(store.directories.root, name)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    with stores.made(tmp_path / "other", tmp_path / "run2") as other:
        import_reference(other, str(copy))
        assert keys(other) == ALL
        assert stores.names(other) == {"one:1": ONE.digest}
        assert stores.blobs(other) == stores.blobs(store)


def test_a_backup_has_them(store, tmp_path):
    stores.bring(store, ONE, TWO, *EVERY)
    report = back_up(store, str(tmp_path / "backup"), NoProgress())
    assert report.images == 2
    again = back_up(store, str(tmp_path / "backup"), NoProgress(), prune=True)
    assert (again.copied, again.pruned) == (0, 0)
    with stores.made(tmp_path / "other", tmp_path / "run2") as other:
        taken = import_reference(other, str(tmp_path / "backup"), ImportOptions(wanted=Wanted(None, True)))
        assert len(taken) == 2
        assert keys(other) == ALL
    remove_images(store, ["one:1"])
    last = back_up(store, str(tmp_path / "backup"), NoProgress(), prune=True)
    assert (last.forgotten_images, last.forgotten_names) == (1, 1)
    assert last.pruned == len({digest for one in (ONE, *EVERY) for digest in one.blobs()})


def test_the_store_as_a_layout_lists_them(store):
    stores.bring(store, ONE, *EVERY)
    entries = attachments.listed(Path(store.directories.root))
    notes = {digest: entry["annotations"] for digest, entry in entries.items()}
    name = "org.opencontainers.image.ref.name"
    assert notes[SIGNED.digest] == {name: SIGNED.tag, "arstore.subject": ONE.digest}
    assert notes[LIST.digest] == {name: LIST.digest, "arstore.subject": ONE.digest}
    assert notes[VOUCHER.digest] == {name: VOUCHER.digest, "arstore.subject": LIST.digest}
    assert "arstore.subject" not in notes[ONE.digest]
    assert json.loads(Path(store.directories.root, "index.json").read_bytes())["schemaVersion"] == 2


# --- dying, and others at work ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point", ["take.attachment-kept", "publish.blob-placed", "publish.recorded", "layout.committed"]
)
def test_a_kill_leaves_all_of_it_or_nothing(store, point):
    archive = stores.archive_for(store, ONE, *EVERY)
    stores.bring(store, TWO)
    store.graph.release()

    def work():
        trace.listen(lambda name: os._exit(9) if name == point else None)
        with Store(store.directories.root, store.directories.runroot) as mine:
            import_reference(mine, str(archive))

    stores.forked(work, expected=9)
    done = point == "layout.committed"
    assert keys(store) == (ALL if done else set())
    assert ("one:1" in stores.names(store)) == done
    import_reference(store, str(archive))
    assert keys(store) == ALL
    collect(store)
    verify(store)


@pytest.mark.parametrize("point", ["take.claimed", "take.attachment-kept", "take.prepared"])
def test_what_an_import_reuses_is_removed_meanwhile(store, point):
    archive = stores.archive_for(store, ONE, *EVERY)
    stores.bring(store, ONE, LIST)
    store.graph.release()
    seen = []

    def listener(name):
        if name == point and not seen:
            seen.append(name)
            store.graph.release()
            stores.forked(gone)

    def gone():
        trace.listen(None)
        with Store(store.directories.root, store.directories.runroot) as mine:
            remove_images(mine, ["one:1"])
            collect(mine)

    trace.listen(listener)
    try:
        import_reference(store, str(archive))
    finally:
        trace.listen(None)
    assert seen
    assert keys(store) == ALL
    verify(store)


# --- histories --------------------------------------------------------------------------------------------------------

PICTURES = [stores.simple(text, names=(f"{text}:1",)) for text in "ab"]
POOL = [attachments.sbom(picture.descriptor(), text) for picture in PICTURES for text in ("p", "q")]
POOL += [attachments.sbom(one.descriptor(), "r") for one in POOL[:3]]
POOL += [attachments.signature(picture.digest, "s") for picture in PICTURES]


def subject_of(one):
    subject = json.loads(one.raw).get("subject")
    return subject["digest"] if subject else one.tag.partition(".")[0].replace("-", ":")


def reachable(brought, pictures):
    """Those of *brought* that belong to *pictures*, directly or indirectly."""
    found, subjects = set(), {picture.digest for picture in pictures}
    while more := {one for one in brought if subject_of(one) in subjects} - found:
        found |= more
        subjects |= {one.digest for one in more}
    return found


OPERATIONS = st.one_of(
    st.tuples(st.just("bring"), st.integers(0, 1), st.sets(st.sampled_from(POOL), max_size=5)),
    st.tuples(st.just("rm"), st.integers(0, 1), st.just(set())),
    st.tuples(st.just("gc"), st.just(0), st.just(set())),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(OPERATIONS, max_size=7))
def test_histories(tmp_path_factory, history):
    with stores.opened(tmp_path_factory.mktemp("history")) as store:
        there: dict[str, set] = {}
        for what, which, some in history:
            picture = PICTURES[which]
            if what == "bring":
                stores.bring(store, picture, *some)
                known = there.setdefault(picture.digest, set())
                known |= reachable(known | some, [picture]) & (known | reachable(some, [picture]))
            elif what == "rm" and picture.digest in there:
                remove_images(store, [picture.names[0]])
                del there[picture.digest]
            elif what == "gc":
                assert not collect(store).attachments
            assert keys(store) == {f"{subject_of(one)}/{one.digest}" for known in there.values() for one in known}
            left = [one for one in PICTURES if one.digest in there] + [one for known in there.values() for one in known]
            assert stores.blobs(store) == {digest for one in left for digest in one.blobs()}
        collect(store)
        verify(store)
