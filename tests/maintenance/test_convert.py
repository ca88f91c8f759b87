"""Converting trees: the same files in the other format, no tree in use touched, and whole after a kill at any point."""

from __future__ import annotations

import errno
import itertools
import os
import signal
from pathlib import Path

import pytest
from support import budget, images, stores, treelist

from arstore.disk.staging import Ingest
from arstore.errors import ArstoreError, HostError, PermissionDeniedError
from arstore.linux.process import boot_id
from arstore.maintenance import convert as conversion
from arstore.maintenance.check import Damage, check, repair
from arstore.maintenance.convert import Fate, convert, plan_conversion, target_forms
from arstore.maintenance.gc import collect
from arstore.mounts.probe import can_mount
from arstore.rootfs import mount as rootfs
from arstore.store.collect.holders import tree_holders
from arstore.store.collect.lease import leased
from arstore.store.contents.shelf import Shelf
from arstore.store.ingest import publish as publication
from arstore.store.ingest import replace_tree as replacement
from arstore.store.ingest.replace_tree import Replacement
from arstore.store.store import Store

pytestmark = [pytest.mark.root, pytest.mark.mounts]

EXAMPLE = images.example(names=["example:1"])


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        if not can_mount(made.directories, made.forms["erofs"]):
            pytest.skip("this host does not mount EROFS from files or loop devices")
        yield made
        stores.umount_all(made)


def converted(store, form, *names):
    chosen = [store.find(name) for name in names] if names else store.images()
    return list(convert(store, chosen, target_forms(store, form)))


def outcomes(done):
    return {one.key: one.outcome for one in done}


def forms(store, name):
    with store.graph.read() as snapshot:
        chain = snapshot.chain(store.find(name).record.top)
        return [snapshot.tree(layer.tree).form for _, layer in chain]


def trees_of(store):
    with store.graph.read() as snapshot:
        return dict(snapshot.trees())


def shown(store, name):
    """The root file system of an image, through a mount."""
    record = rootfs.mount_image(store, store.find(name))
    try:
        return treelist.listing(record.target)
    finally:
        stores.umount_all(store)


def verify(store):
    stores.verify_layout(store)
    stores.verify_clean(store)


def sparse_layer():
    """A layer with a GNU sparse file whose header has one region, which an index cannot represent."""
    header = bytearray(512)
    for offset, value in (
        (0, b"holes"),
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, b"00000000003\0"),
        (136, b"00000000000\0"),
        (156, b"S"),
        (257, b"ustar  \0"),
        (386, b"00000010000\0"),
        (398, b"00000000003\0"),
        (483, b"00000010003\0"),
    ):
        header[offset : offset + len(value)] = value
    header[148:156] = b"%06o\0 " % (sum(header) + 8 * 32)
    return images.layer(bytes(header) + b"end".ljust(512, b"\0") + bytes(1024))


# --- both ways ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [EXAMPLE, images.image(*images.implied_layers(), names=["example:1"])],
    ids=["example", "with a cap and adapted layers"],
)
def test_there_and_back_the_files_are_the_same(store, picture):
    stores.bring(store, picture)
    before, keys = shown(store, "example:1"), stores.trees(store)
    first = forms(store, "example:1")
    for form in ("directory", "erofs", "directory"):
        done = converted(store, form)
        assert set(forms(store, "example:1")) == {form}
        assert {one.form for one in done} == {form}
        assert treelist.differences(before, shown(store, "example:1")) == []
        assert stores.trees(store) >= keys - {"merged"}
        verify(store)
    assert first != ["directory"] * len(first)


def test_what_has_the_form_is_left_alone(store):
    stores.bring(store, EXAMPLE)
    before = stores.State(store)
    assert set(outcomes(converted(store, "auto")).values()) == {Fate.UNCHANGED}
    before.verify()


def test_each_tree_is_converted_once(store):
    stores.bring(store, stores.simple("common", "a", names=("a:1",)))
    stores.bring(store, stores.simple("common", "b", names=("b:1",)))
    done = converted(store, "directory")
    assert len(done) == 3
    assert set(outcomes(done).values()) == {Fate.CONVERTED}
    assert len({one.key for one in done}) == 3


def test_only_the_images_that_are_meant(store):
    stores.bring(store, stores.simple("common", "a", names=("a:1",)))
    stores.bring(store, stores.simple("common", "b", names=("b:1",)))
    assert len(converted(store, "directory", "a:1")) == 2
    assert forms(store, "a:1") == ["directory", "directory"]
    assert forms(store, "b:1") == ["directory", "erofs"]
    verify(store)


def test_merged_indexes_follow(store):
    stores.bring(store, stores.simple(*(f"layer{number}" for number in range(12)), names=("deep:1",)))
    before = shown(store, "deep:1")
    with store.graph.read() as snapshot:
        assert len(snapshot.runs()) == 1
    converted(store, "directory")
    with store.graph.read() as snapshot:
        assert snapshot.runs() == []
    verify(store)
    converted(store, "erofs")
    assert treelist.differences(before, shown(store, "deep:1")) == []
    with store.graph.read() as snapshot:
        assert len(snapshot.runs()) == 1
    verify(store)


def test_a_layer_that_the_form_cannot_represent_stays(store):
    stores.bring(store, images.image(sparse_layer(), *EXAMPLE.layers, names=["example:1"]))
    before = shown(store, "example:1")
    assert forms(store, "example:1")[0] == "directory"
    converted(store, "directory")
    inode = os.stat(store.directories.tree(sparse_layer().diff_id)).st_ino
    done = converted(store, "erofs")
    (stays,) = [one for one in done if one.outcome is not Fate.CONVERTED]
    assert (stays.key, stays.outcome) == (sparse_layer().diff_id, Fate.UNREPRESENTABLE)
    assert "cannot represent" in stays.why
    assert os.stat(store.directories.tree(stays.key)).st_ino == inode
    assert treelist.differences(before, shown(store, "example:1")) == []
    verify(store)


def test_a_plan_changes_nothing(store):
    stores.bring(store, EXAMPLE)
    before = stores.State(store)
    plan = plan_conversion(store, store.images(), "directory")
    assert {(one.outcome, one.form) for one in plan} == {(Fate.PLANNED, "erofs")}
    before.verify()
    assert {one.key for one in converted(store, "directory")} == {one.key for one in plan}


def test_holders_are_looked_for_only_where_a_tree_is_to_change(store, monkeypatch):
    """Holders are looked up only for trees that change, not twice for each image."""
    asked = []
    monkeypatch.setattr(conversion, "tree_holders", lambda *given: asked.append(given) or tree_holders(*given))
    for number in range(5):
        stores.bring(store, stores.simple(f"own{number}", names=(f"image{number}:1",)))
    assert {one.outcome for one in plan_conversion(store, store.images(), "erofs")} == {Fate.UNCHANGED}
    assert {one.outcome for one in converted(store, "erofs")} == {Fate.UNCHANGED}
    assert not asked
    assert len(plan_conversion(store, store.images(), "directory")) == 5
    assert len(asked) == 1
    assert {one.outcome for one in converted(store, "directory")} == {Fate.CONVERTED}
    assert len(asked) == 1 + 5


# --- in use ---------------------------------------------------------------------------------------------------------


def test_what_is_mounted_is_not_touched(store):
    stores.bring(store, stores.simple("common", "a", names=("a:1",)))
    stores.bring(store, stores.simple("common", "b", names=("b:1",)))
    record = rootfs.mount_image(store, store.find("a:1"))
    before = treelist.listing(record.target)
    done = converted(store, "directory")
    used = [one for one in done if one.outcome is Fate.IN_USE]
    assert len(used) == 2
    assert all(record.target in one.why and "umount" in one.hint for one in used)
    assert forms(store, "a:1") == ["erofs", "erofs"]
    assert forms(store, "b:1") == ["erofs", "directory"]
    assert treelist.differences(before, treelist.listing(record.target)) == []
    stores.umount_all(store)
    assert set(outcomes(converted(store, "directory", "a:1")).values()) == {Fate.CONVERTED}
    verify(store)


def test_what_a_container_stands_on_is_not_touched(store):
    stores.bring(store, EXAMPLE)
    container = rootfs.create_container(store, store.find("example:1"))
    done = converted(store, "directory")
    assert set(outcomes(done).values()) == {Fate.IN_USE}
    assert container.id in done[0].why
    rootfs.remove_container(store, container.id)
    assert set(outcomes(converted(store, "directory")).values()) == {Fate.CONVERTED}


def test_what_a_lease_holds_is_not_touched(store):
    stores.bring(store, EXAMPLE)
    with leased(store.graph, EXAMPLE.digest, "test"):
        done = converted(store, "directory")
        assert set(outcomes(done).values()) == {Fate.IN_USE}
        assert str(os.getpid()) in done[0].why
    assert set(outcomes(converted(store, "directory")).values()) == {Fate.CONVERTED}


def test_what_is_mounted_while_the_new_tree_is_built_stays(store, monkeypatch):
    stores.bring(store, EXAMPLE)
    publish = publication.publish
    seen = []

    def first_mount(*arguments):
        record = rootfs.mount_image(store, store.find("example:1"))
        seen.append((record.target, treelist.listing(record.target)))
        return publish(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("arstore.store.ingest.taking.publish", first_mount)
        done = converted(store, "directory")
    assert set(outcomes(done).values()) == {Fate.IN_USE}
    ((target, before),) = seen
    assert treelist.differences(before, treelist.listing(target)) == []
    assert set(forms(store, "example:1")) == {"erofs"}
    stores.umount_all(store)
    verify(store)


def test_a_mount_that_comes_right_before_the_replacement_stays_whole(store, monkeypatch):
    """The mount was opened before; the trees' records have lost their trust by now, and get it back."""
    stores.bring(store, EXAMPLE)
    converted(store, "directory")
    before, records = shown(store, "example:1"), stores.records(store)
    announce = Replacement.announce
    seen = []

    def then_mount(self, graph):
        announce(self, graph)
        if not seen:
            monkeypatch.setattr(rootfs, "_are_in_place", lambda *_arguments: True)
            store_of_mount = rootfs._opened_whole

            def trusting(own, image, stack, trees):
                with monkeypatch.context() as patch:
                    patch.setattr(type(own.inventory()), "_is_intact", lambda *_arguments: True)
                    return store_of_mount(own, image, stack, trees)

            with monkeypatch.context() as patch:
                patch.setattr(rootfs, "_opened_whole", trusting)
                seen.append(rootfs.mount_image(store, store.find("example:1")).target)

    with monkeypatch.context() as patch:
        patch.setattr(Replacement, "announce", then_mount)
        done = converted(store, "erofs")
    assert set(outcomes(done).values()) == {Fate.IN_USE}
    assert treelist.differences(before, treelist.listing(seen[0])) == []
    assert stores.records(store) == records
    stores.umount_all(store)
    verify(store)


def test_a_mount_does_not_trust_what_is_about_to_be_replaced(store, monkeypatch):
    stores.bring(store, EXAMPLE)
    converted(store, "directory")
    before = shown(store, "example:1")
    opened = rootfs._opened_whole
    times = []

    def then_announce(*arguments):
        found = opened(*arguments)
        if not times:
            times.append(1)
            outdated = trees_of(store)
            with Ingest(store.directories) as ingest:
                Replacement(store.directories, ingest, outdated, frozenset(outdated)).announce(store.graph)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(rootfs, "_opened_whole", then_announce)
        target = rootfs.mount_image(store, store.find("example:1")).target
    inodes = {key: os.stat(store.directories.tree(key)).st_ino for key in trees_of(store)}
    assert treelist.differences(before, treelist.listing(target)) == []
    assert times
    rootfs.mount_image(store, store.find("example:1"))
    assert {key: os.stat(store.directories.tree(key)).st_ino for key in trees_of(store)} == inodes
    assert treelist.differences(before, treelist.listing(target)) == []
    stores.umount_all(store)
    verify(store)


@pytest.mark.parametrize("form", ["directory", "erofs"])
def test_a_mount_that_meets_a_conversion_shows_whole_trees(store, monkeypatch, form):
    """The trees are replaced after they were opened for the mount, and before it is made."""
    other = {"directory": "erofs", "erofs": "directory"}[form]
    stores.bring(store, EXAMPLE)
    converted(store, other)
    before = shown(store, "example:1")
    opened = rootfs._opened_whole
    times = []

    def then_convert(*arguments):
        found = opened(*arguments)
        if not times:
            times.append(1)
            converted(store, form)
        return found

    monkeypatch.setattr(rootfs, "_opened_whole", then_convert)
    assert treelist.differences(before, shown(store, "example:1")) == []
    assert set(forms(store, "example:1")) == {form}
    verify(store)


# --- failing on the way ---------------------------------------------------------------------------------------------


def test_a_tree_that_was_exchanged_back_is_not_called_durable(store, monkeypatch):
    """Of two exchanges, a power cut may undo only the second."""
    stores.bring(store, stores.simple("a", "b", names=("a:1",)))
    converted(store, "directory")
    collect(store)
    with store.graph.read() as snapshot:
        before = dict(snapshot.trees())
    assert all(record.synced for record in before.values())

    def fails(*_arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("arstore.store.layout._write_durably", fails)
        with pytest.raises(OSError, match="Input/output"):
            converted(store, "erofs")
    with store.graph.read() as snapshot:
        after = dict(snapshot.trees())
    assert after == {key: record._replace(boot=boot_id(), synced=False) for key, record in before.items()}
    verify(store)


@pytest.mark.parametrize("number", range(1, 12))
@pytest.mark.parametrize("exchanging", [True, False], ids=["exchange", "two renames"])
def test_an_error_on_the_way_leaves_what_was(store, monkeypatch, number, exchanging):
    stores.bring(store, stores.simple("a", "b", names=("a:1",)))
    converted(store, "directory")
    before, records = shown(store, "a:1"), stores.records(store)
    if not exchanging:
        monkeypatch.setattr("arstore.store.ingest.replace_tree.exchange", lambda *_arguments: False)
    calls = []
    rename, sync = os.rename, os.fsync

    def failing(real):
        def call(*arguments, **more):
            calls.append(1)
            if len(calls) == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **more)

        return call

    with monkeypatch.context() as patch:
        # The index of contents is a cache: an error there is ignored (tests/store/contents).
        patch.setattr(Shelf, "add", lambda *_: None)
        patch.setattr(os, "rename", failing(rename))
        patch.setattr(os, "fsync", failing(sync))
        if exchanging:
            patch.setattr("arstore.store.ingest.replace_tree.exchange", failing(replacement.exchange))
        try:
            converted(store, "erofs")
            failed = False
        except OSError:
            failed = True
    assert failed == (len(calls) >= number)
    assert [
        finding for finding in check(store) if finding.damage is not Damage.INDEX_STALE and not finding.harmless
    ] == []
    if exchanging and failed and set(forms(store, "a:1")) == {"directory"}:
        assert stores.records(store) == records
    assert treelist.differences(before, shown(store, "a:1")) == []
    repair(store, check(store))
    verify(store)


def test_an_image_that_lacks_a_blob_does_not_keep_the_others(store):
    for name in ("a", "b", "c"):
        stores.bring(store, stores.simple(name, names=(f"{name}:1",)))
    lost = store.find("b:1").record.layers[0]
    os.unlink(store.directories.blob(lost))
    done = converted(store, "directory")
    assert sorted(one.outcome.value for one in done) == ["converted", "converted", "failed"]
    (failed,) = [one for one in done if one.outcome is Fate.FAILED]
    assert isinstance(failed.error, ArstoreError)
    assert lost in failed.why
    assert forms(store, "b:1") == ["erofs"]


# --- dying on the way -----------------------------------------------------------------------------------------------


MOMENTS = itertools.product(("directory", "erofs"), ("exchange", "rename", "fsync", "fdatasync"), (1, 2, 3, 4, 6, 8))


@pytest.mark.parametrize(("form", "call", "number"), budget.one_of(5, MOMENTS))
def test_killed_at_any_moment_it_leaves_whole_trees(store, form, call, number):
    stores.bring(store, EXAMPLE)
    converted(store, {"directory": "erofs", "erofs": "directory"}[form])
    before = shown(store, "example:1")
    store.close()

    def work():
        own = Store(store.directories.root, store.directories.runroot)
        calls = []
        place = replacement if call == "exchange" else os
        real = getattr(place, call)

        def counted(*arguments, **more):
            calls.append(1)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        setattr(place, call, counted)
        converted(own, form)

    stores.forked(work, expected=None)
    assert [finding for finding in check(store) if not finding.harmless] == []
    assert treelist.differences(before, shown(store, "example:1")) == []
    repair(store, check(store))
    collect(store)
    verify(store)
    converted(store, form)
    assert set(forms(store, "example:1")) == {form}
    assert treelist.differences(before, shown(store, "example:1")) == []
    verify(store)


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_a_form_that_cannot_be_mounted_here_is_refused(store, monkeypatch):
    monkeypatch.setattr("arstore.mounts.probe.can_mount", lambda *_arguments: False)
    with pytest.raises(HostError, match="cannot mount"):
        target_forms(store, "erofs")
    assert target_forms(store, "auto")[0].name == "directory"


def test_who_may_not_make_trees_is_told_so(store, monkeypatch):
    monkeypatch.setattr("arstore.linux.isolation.capability.has", lambda _number: False)
    with pytest.raises(PermissionDeniedError):
        target_forms(store, "directory")


def test_an_image_without_trees_stays_without(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("arstore.linux.isolation.capability.has", lambda _number: False)
        stores.bring(store, EXAMPLE)
    assert converted(store, "directory") == []
    assert not list(Path(store.directories.trees).iterdir())
