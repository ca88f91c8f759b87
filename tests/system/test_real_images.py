"""Real archives: a mount in either form, the unpacked tree, and the results of umoci and buildah must be equal, and
fsck.erofs must find nothing in the indexes.

Long. ARSTORE_SAMPLE_IMAGES names a directory with archives, such as `tools/sample-images` makes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import peers, treelist
from trees.erofs.trees import fsck, why_no_fsck

DIRECTORY = os.environ.get("ARSTORE_SAMPLE_IMAGES", "")
ARCHIVES = sorted(path for path in Path(DIRECTORY).glob("*.tar*")) if DIRECTORY else []

pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.mounts,
    pytest.mark.skipif(not ARCHIVES, reason="ARSTORE_SAMPLE_IMAGES names no directory with archives"),
]


def reference(path, place):
    """The reference of an archive for skopeo; a compressed one is inflated first, which skopeo leaves to its callers.

    umoci does not read layers in zstd: another archive has the same layers in gzip.
    """
    path = path.with_name(path.name.replace(".zst.", "."))
    if path.suffix == ".gz":
        plain = place / path.stem
        with plain.open("wb") as out:
            peers.subprocess.run(["gzip", "-dc", path], stdout=out, check=True)
        path = plain
    return f"{'docker' if '.docker.' in path.name else 'oci'}-archive:{path}"


def shown(store, image):
    """The content of a mount of *image*."""
    mounted = store.ok("mount", image).text.strip()
    try:
        return treelist.listing(mounted)
    finally:
        store.ok("umount", mounted)


@pytest.mark.parametrize("path", ARCHIVES or [Path("none")], ids=lambda path: path.name)
def test_the_tree_is_what_other_tools_make(store, tmp_path, path):
    source = reference(path, tmp_path)
    unpacked = treelist.listing(peers.umoci_unpack(source, tmp_path / "umoci"))
    for form in ("erofs", "directory"):
        (image,) = store.json("import", "--tree", form, path, timeout=600)["images"]
        seen = shown(store, image["digest"])
        store.ok("check", timeout=600)
        same_root = b"" in unpacked and unpacked[b""].mode == seen[b""].mode
        assert treelist.differences(unpacked, seen, root=same_root) == [], form
        if form == "erofs":
            indexed = list((store.root / "trees").glob("*/*.erofs"))
            assert len(indexed) >= len({layer["diff_id"] for layer in image["layers"]})
            for index in indexed if not why_no_fsck() else ():
                fsck(index.parent)
            store.ok("unpack", image["digest"], tmp_path / "copy", timeout=600)
            assert treelist.differences(treelist.listing(tmp_path / "copy"), seen) == []
            store.ok("rm", image["digest"])
            store.ok("gc")
    with peers.buildah_mounted(source, tmp_path / "buildah") as other:
        assert treelist.differences(treelist.listing(other), seen, root=False) == []
