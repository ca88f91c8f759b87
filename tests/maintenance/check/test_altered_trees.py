"""Trees that were changed after they were built: found by quick or deep checks, and built again."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import images, stores

from arstore.maintenance.check import Damage, check, repair
from arstore.mounts.probe import can_mount
from arstore.rootfs import mount as rootfs
from arstore.transport.copy import ImportOptions, import_reference

EXAMPLE = images.example()
TREE = EXAMPLE.diff_ids[0]

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        if not can_mount(made.directories, made.forms["erofs"]):
            pytest.skip("this host does not mount EROFS from files or loop devices")
        stores.bring(made, EXAMPLE)
        yield made


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 512)


@pytest.mark.parametrize("name", ["layer.tar", "layer.erofs"])
@pytest.mark.parametrize(
    ("harm", "seen_quickly"),
    [(flip, ()), (cut, ("layer.tar",)), (Path.unlink, ("layer.tar", "layer.erofs"))],
)
def test_found_and_mended(store, name, harm, seen_quickly):
    harm(Path(store.directories.tree(TREE), name))
    quick = {finding.damage for finding in check(store, quick=True)}
    assert (quick == {Damage.TREE_ALTERED}) == (name in seen_quickly)
    findings = check(store)
    assert [(finding.damage, finding.what) for finding in findings] == [(Damage.TREE_ALTERED, TREE)]
    assert all(finding.repaired for finding in repair(store, findings))
    assert check(store) == []
    record = rootfs.mount_image(store, store.find("example:1"))
    passwd = Path(record.target, "etc/passwd").read_bytes()
    stores.umount_all(store)
    assert passwd.startswith(b"root:")


def test_what_was_not_harmed_is_left_alone(store):
    before = Path(store.directories.tree(TREE), "layer.erofs").stat().st_ino
    assert check(store) == []
    assert repair(store, []) == []
    assert Path(store.directories.tree(TREE), "layer.erofs").stat().st_ino == before


@pytest.fixture
def extracted(tmp_path):
    with stores.opened(tmp_path) as made:
        path = stores.archive_for(made, EXAMPLE)
        import_reference(made, str(path), ImportOptions(tree="directory"))
        made.sync_trees()
        assert check(made) == []
        yield made


def test_an_extracted_file_that_was_altered(extracted):
    path = Path(extracted.directories.tree(TREE), "fs/etc/passwd")
    flip(path)
    assert check(extracted, quick=True) == []
    findings = check(extracted)
    assert [(finding.damage, finding.what) for finding in findings] == [(Damage.TREE_ALTERED, TREE)]
    assert "etc/passwd" in findings[0].why
    assert all(finding.repaired for finding in repair(extracted, findings))
    assert check(extracted) == []
    assert path.read_bytes().startswith(b"root:")


def test_a_tree_without_a_listing_is_compared_with_its_blob(extracted):
    stores.edit(extracted, "trees", TREE, sums=())
    assert check(extracted) == []
    flip(Path(extracted.directories.tree(TREE), "fs/etc/passwd"))
    [finding] = check(extracted)
    assert (finding.damage, finding.what) == (Damage.TREE_ALTERED, TREE)
    assert repair(extracted, [finding])[0].repaired
    assert check(extracted) == []


def test_what_a_tree_needs_is_looked_at_too(store):
    """Without its needs, a tree would be mounted where it does not show its layer."""
    stores.bring(store, images.image(*images.implied_layers(), names=["implied:1"]))
    needs = [Path(store.directories.tree(key), "needs.json") for key in stores.trees(store)]
    for path in (path for path in needs if path.exists()):
        before = path.read_bytes()
        path.write_bytes(before.replace(b":", b": ", 1))
        assert [finding.damage for finding in check(store)] == [Damage.TREE_ALTERED], path
        path.write_bytes(before)
    assert any(path.exists() for path in needs)
    assert check(store) == []


def test_an_adapted_tree_of_which_nothing_was_recorded_is_not_called_altered(tmp_path):
    """An adapted tree differs from its layer, so it cannot be compared with it."""
    picture = images.image(*images.implied_layers(), names=["implied:1"])
    with stores.opened(tmp_path) as store:
        import_reference(store, str(stores.archive_for(store, picture)), ImportOptions(tree="directory"))
        keys = stores.trees(store)
        assert keys - set(picture.diff_ids)
        for key in keys:
            stores.edit(store, "trees", key, sums=())
        found = {finding.what: finding.damage for finding in check(store)}
        assert {found[key] for key in keys - set(picture.diff_ids)} == {Damage.TREE_UNRECORDED}
        assert Damage.TREE_ALTERED not in found.values()
