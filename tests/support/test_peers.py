"""The witnesses agree with each other on an image that is simple enough for all of them."""

from __future__ import annotations

import pytest
from support import images, peers, treelist


@pytest.mark.root
@pytest.mark.tools("umoci", "skopeo", "buildah")
def test_umoci_and_buildah_agree(tmp_path):
    path = images.write_oci_archive(tmp_path / "example.tar", images.example())
    unpacked = peers.umoci_unpack(f"oci-archive:{path}", tmp_path / "umoci")
    with peers.buildah_mounted(f"oci-archive:{path}", tmp_path / "buildah") as mounted:
        a, b = treelist.listing(unpacked), treelist.listing(mounted)
    assert len(b) > 30
    # buildah's storage knows no root entry and no times before 1970
    assert b.pop(b"data/before-the-epoch").mtime in {0, a.pop(b"data/before-the-epoch").mtime}
    assert treelist.differences(a, b, root=False) == []
