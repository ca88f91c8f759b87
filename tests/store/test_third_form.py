"""A tree format of which only the declaration is known: the store relies on what it declares.

The formats are the two real ones, under other names and with other properties, in stores that have all of them.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import images, stores, treelist
from trees.erofs.trees import mountable

from arstore.errors import HostError
from arstore.maintenance.check import Damage, check, repair
from arstore.maintenance.convert import Fate, convert, plan_conversion, target_forms
from arstore.mounts import probe
from arstore.mounts.table import MountTable
from arstore.rootfs import mount as rootfs
from arstore.store.store import Store
from arstore.trees import forms
from arstore.trees.directory.form import DirectoryFormat
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.forms import DIRECTORY, EROFS, Properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.trees.format import TreeFormat

pytestmark = [pytest.mark.root, pytest.mark.mounts]

INDEXED = EROFS._replace(name="indexed", rank=0)
PLAIN = DIRECTORY._replace(name="plain", rank=3)
MANY = images.image(
    *(images.layer([images.file(f"d/{n}", b"%d" % n), images.file("same", b"%d" % n)], "none") for n in range(12)),
    names=["many:1"],
)
EXAMPLE = images.example(names=["example:1"])


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Properties], None]:
    """Add a format with the name and the other properties of its argument; the code is that of a real format."""
    declared: dict[str, Properties] = {}

    def every(store: Store) -> dict[str, TreeFormat]:
        if not store._forms:
            store._forms = {"directory": DirectoryFormat(), "erofs": ErofsFormat(store.shared)}
            for name, form in declared.items():
                made: TreeFormat = DirectoryFormat() if form.extracts else ErofsFormat(store.shared)
                made.name, made.properties = name, form
                store._forms[name] = made
        return store._forms

    def add(form: Properties) -> None:
        declared[form.name] = form
        monkeypatch.setitem(forms.FORMS, form.name, form)
        monkeypatch.setitem(forms.TREES, form.name, form)
        monkeypatch.setitem(forms._RECORDED, form.name, form)

    monkeypatch.setattr(Store, "forms", property(every))
    return add


@contextmanager
def opened(place: Path) -> Iterator[Store]:
    with stores.opened(place) as store:
        try:
            yield store
        finally:
            stores.umount_all(store)


def recorded(store: Store, name: str) -> list[str]:
    """The formats of the trees of an image's layers, bottom first."""
    with store.graph.read() as snapshot:
        return [snapshot.tree(layer.tree).form for _, layer in snapshot.chain(store.find(name).record.top)]


def runs(store: Store) -> int:
    with store.graph.read() as snapshot:
        return len(list(snapshot.runs()))


def shown(store: Store, name: str) -> treelist.Listing:
    record = rootfs.mount_image(store, store.find(name))
    try:
        return treelist.listing(record.target)
    finally:
        MountTable(store.directories).umount(record.id)


@mountable
def test_auto_takes_the_best_rank_and_all_that_is_declared_holds(declare, tmp_path):
    with opened(tmp_path / "before") as store:
        stores.bring(store, MANY, EXAMPLE)
        expected = shown(store, "many:1"), shown(store, "example:1")
    declare(INDEXED)
    with opened(tmp_path / "after") as store:
        assert [form.name for form in store.tree_forms()] == ["indexed", "erofs", "directory"]
        assert [form.name for form in store.tree_forms("indexed")] == ["indexed", "directory"]
        stores.bring(store, MANY, EXAMPLE)
        assert set(recorded(store, "many:1")) == {"indexed"}
        assert runs(store) == 1
        assert (shown(store, "many:1"), shown(store, "example:1")) == expected
        stores.verify_clean(store)


@mountable
def test_what_cannot_be_mounted_here_is_not_taken(declare, tmp_path, monkeypatch):
    declare(INDEXED)
    real = probe._try
    monkeypatch.setattr(probe, "_try", lambda where, form: form.name != "indexed" and real(where, form))
    with opened(tmp_path) as store:
        assert [form.name for form in store.tree_forms()] == ["erofs", "directory"]
        with pytest.raises(HostError, match="--tree indexed: this host cannot mount such trees; `--tree directory`"):
            target_forms(store, "indexed")
        assert [form.name for form in target_forms(store, "erofs")] == ["erofs", "directory"]
        assert [form.name for form in target_forms(store, "directory")] == ["directory"]


@mountable
def test_what_is_not_mergeable_is_not_merged(declare, tmp_path):
    declare(INDEXED._replace(mergeable=False))
    with opened(tmp_path) as store:
        stores.bring(store, MANY)
        assert runs(store) == 0
        assert len(shown(store, "many:1")) > 12
        stores.verify_clean(store)


@mountable
def test_trees_are_converted_between_all_forms(declare, tmp_path):
    declare(INDEXED)
    declare(PLAIN)
    with opened(tmp_path) as store:
        stores.bring(store, EXAMPLE)
        expected = shown(store, "example:1")
        for name in ("erofs", "plain", "indexed", "directory", "plain"):
            plan = plan_conversion(store, store.images(), name)
            assert {one.outcome for one in plan} == {Fate.PLANNED}
            done = list(convert(store, store.images(), target_forms(store, name)))
            assert {one.outcome for one in done} == {Fate.CONVERTED}
            assert set(recorded(store, "example:1")) == {name}
            assert shown(store, "example:1") == expected
            stores.verify_clean(store)


@mountable
@pytest.mark.parametrize("survives", [True, False])
def test_only_what_survives_a_copy_is_relied_on_in_one(declare, tmp_path, survives):
    declare(INDEXED._replace(survives_copy=survives))
    with opened(tmp_path / "one") as store:
        stores.bring(store, MANY)
        store.sync_trees()
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    with opened(tmp_path / "two") as store:
        keys = {layer.tree for _, layer in chain(store)}
        with store.graph.read() as snapshot:
            trusted = {key for key, tree in snapshot.trees() if tree.synced}
        assert keys & trusted == (keys if survives else set())
        assert {one.damage for one in check(store)} == set() if survives else {Damage.TREE_UNTRUSTED}
        assert len(shown(store, "many:1")) > 12


def chain(store: Store):
    with store.graph.read() as snapshot:
        return list(snapshot.chain(store.find("many:1").record.top))


def test_a_form_that_is_not_known_is_not_relied_on_in_a_copy(tmp_path):
    with opened(tmp_path / "one") as store:
        stores.bring(store, EXAMPLE)
        store.sync_trees()
        with store.graph.read() as snapshot:
            key = next(key for key, _ in snapshot.trees())
        stores.edit(store, "trees", key, form="unheard-of")
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    with opened(tmp_path / "two") as store, store.graph.read() as snapshot:
        assert not snapshot.tree(key).synced


@mountable
def test_a_blob_is_mended_from_the_tar_that_is_kept(declare, tmp_path):
    declare(INDEXED)
    with opened(tmp_path) as store:
        stores.bring(store, MANY)
        digest = chain(store)[0][1].blobs[0]
        path = Path(store.directories.blob(digest))
        data = bytearray(path.read_bytes())
        data[100] ^= 0xFF
        # A separate file, as in a store that was copied without hard links.
        path.unlink()
        path.write_bytes(data)
        assert [one.damage for one in check(store)] == [Damage.BLOB_DIGEST]
        assert all(one.repaired for one in repair(store, check(store)))
        stores.verify_clean(store)


@mountable
def test_extracted_files_stay_extracted_when_they_are_repaired(declare, tmp_path):
    declare(PLAIN)
    with opened(tmp_path) as store:
        stores.bring(store, EXAMPLE)
        assert list(convert(store, store.images(), target_forms(store, "plain")))
        assert set(recorded(store, "example:1")) == {"plain"}
        with store.graph.read() as snapshot:
            keys = [key for key, tree in snapshot.trees() if tree.form == "plain"]
        for key in keys:
            files = Path(store.directories.tree(key), "fs")
            (files / "stranger").write_text("not of the layer")
        findings = check(store)
        assert {one.damage for one in findings} == {Damage.TREE_ALTERED}
        assert all(one.repaired for one in repair(store, findings))
        assert set(recorded(store, "example:1")) == {"plain"}
        assert not any(os.path.exists(f"{store.directories.tree(key)}/fs/stranger") for key in keys)
        stores.verify_clean(store)
