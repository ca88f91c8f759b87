"""Trees after a power cut: of another boot, never synced, and emptied; the first use rebuilds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import images, stores, treelist

from arstore.store.store import Store

pytestmark = [pytest.mark.root, pytest.mark.mounts]

LAYERS = [*images.implied_layers(), *images.example_layers()]
LAYERS += [
    images.layer([images.directory("./"), images.file(f"small-{n}", b"%d" % n), images.whiteout(f"small-{n - 1}")])
    for n in range(1, 10)
]
PICTURE = images.image(*LAYERS, names=["deep:1"])


def hurt(store, merged):
    """Damage trees as a power cut may damage unsynced ones, and make them of another boot."""
    hurt_files = 0
    with Store(str(store.root), str(store.runroot)) as opened:
        found = stores.records(opened)
        for key in [key for table, _, key in (name.partition("/") for name in found) if table == "trees"]:
            stores.edit(opened, "trees", key, boot="another", synced=False)
            for directory, _, names in os.walk(opened.directories.tree(key)):
                for name in names:
                    path = Path(directory, name)
                    if path.is_file() and not path.is_symlink():
                        os.truncate(path, 0)
                        hurt_files += 1
        assert merged == any(record.members for name, record in found.items() if name.startswith("trees/"))
        assert any(record.cap for name, record in found.items() if name.startswith("images/"))
    assert hurt_files > len(LAYERS)


def shown(store, what):
    path = store.ok("mount", what).text.strip()
    try:
        return treelist.listing(path)
    finally:
        store.ok("umount", path)


BOTH, INDEX, DIRECTORY = (
    pytest.mark.parametrize("box", forms, indirect=True) for forms in (["erofs", "directory"], ["erofs"], ["directory"])
)


@pytest.fixture
def box(request, store, tmp_path):
    """A store with an image and its container, their content, and trees that a power cut has damaged."""
    archive = images.write_oci_archive(tmp_path / "deep.tar", PICTURE)
    store.ok("import", archive, "--tree", request.param)
    root = Path(store.ok("mount", "deep:1", "--rw", "--name", "box").text.strip())
    (root / "new").write_bytes(b"new")
    (root / "small-9").unlink()
    store.ok("umount", "box")
    store.expected = shown(store, "deep:1"), shown(store, "box")
    hurt(store, merged=request.param == "erofs")
    return store


def same(one, other):
    return treelist.differences(one, other) == []


@BOTH
def test_an_image(box):
    assert same(box.expected[0], shown(box, "deep:1"))
    box.ok("check")


@INDEX
def test_a_container(box):
    text = box.ok("diff", "box").text
    assert "new" in text
    assert "tool" not in text
    hurt(box, merged=True)
    box.ok("commit", "box", "made:1")
    hurt(box, merged=True)
    assert same(box.expected[1], shown(box, "made:1"))
    assert same(box.expected[1], shown(box, "box"))


@DIRECTORY
def test_copies(box, tmp_path):
    box.ok("unpack", "deep:1", tmp_path / "copy")
    assert same(box.expected[0], treelist.listing(tmp_path / "copy"))
    box.ok("import", tmp_path / "deep.tar")
    assert same(box.expected[0], shown(box, "deep:1"))
    assert box.json("check")["findings"] == []
