"""Real archives: the mounted tree, the unpacked tree and what umoci and buildah make of the same archive are equal.

Long. ARSTORE_SAMPLE_IMAGES names a directory with archives, such as `tools/sample-images` makes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import peers, treelist

DIRECTORY = os.environ.get("ARSTORE_SAMPLE_IMAGES", "")
ARCHIVES = sorted(path for path in Path(DIRECTORY).glob("*.tar*")) if DIRECTORY else []

pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.mounts,
    pytest.mark.skipif(not ARCHIVES, reason="ARSTORE_SAMPLE_IMAGES names no directory with archives"),
]


def reference(path, place):
    """How skopeo is told of an archive; a compressed one is inflated first, which skopeo leaves to its callers."""
    if path.suffix == ".gz":
        plain = place / path.stem
        with plain.open("wb") as out:
            peers.subprocess.run(["gzip", "-dc", path], stdout=out, check=True)
        path = plain
    return f"{'docker' if '.docker.' in path.name else 'oci'}-archive:{path}"


@pytest.mark.parametrize("path", ARCHIVES or [Path("none")], ids=lambda path: path.name)
def test_the_tree_is_what_other_tools_make(store, tmp_path, path):
    (image,) = store.json("import", path, timeout=600)["images"]
    mounted = store.ok("mount", image["digest"]).text.strip()
    shown = treelist.listing(mounted)
    store.ok("umount", mounted)
    store.ok("check", timeout=600)
    source = reference(path, tmp_path)
    unpacked = treelist.listing(peers.umoci_unpack(source, tmp_path / "umoci"))
    assert treelist.differences(unpacked, shown, root=b"" in unpacked and unpacked[b""].mode == shown[b""].mode) == []
    with peers.buildah_mounted(source, tmp_path / "buildah") as other:
        assert treelist.differences(treelist.listing(other), shown, root=False) == []
    store.ok("unpack", image["digest"], tmp_path / "copy", timeout=600)
    assert treelist.differences(treelist.listing(tmp_path / "copy"), shown) == []
