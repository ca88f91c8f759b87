"""A store with a small image that runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import images


@pytest.fixture
def box(arstore, tmp_path, busybox):
    """The program on a store with a busybox image, box:1."""
    members = [images.directory(name) for name in ("bin", "tmp", "etc")]
    members.append(images.file("bin/busybox", Path(busybox).read_bytes(), mode=0o755))
    members += [images.symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "echo", "sleep", "true", "id")]
    members.append(images.file("etc/passwd", b"root:x:0:0::/:/bin/sh\nuser:x:7:8::/:/bin/sh\n"))
    one = images.image(images.layer(members), names=["box:1"], config={"Cmd": ["echo", "default"]})
    arstore.ok("-q", "import", images.write_oci_archive(tmp_path / "box.tar", one))
    (tmp_path / "box.layer").write_bytes(one.layers[0].tar)
    return arstore
