"""Bombs at the command line: stopped by a limit, in one line that names the option; the store as before."""

from __future__ import annotations

import pytest
from support import images

ZEROS = bytes(24 << 20)
SMALL = ("--limit", "ratio-from=2m")


def bomb(compression, count=1):
    """An image whose layers inflate to much more than their size."""
    layers = [images.layer([images.file(f"zeros-{n}", ZEROS)], compression) for n in range(count)]
    return images.image(*layers, names=["bomb:1"])


def empty_members():
    """A layer that consists of many headers."""
    return images.image(images.layer([images.file(f"f{n}") for n in range(6000)]), names=["bomb:1"])


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("where", ["layer", "archive"])
def test_a_bomb(store, tmp_path, compression, where):
    inner, outer = (compression, "none") if where == "layer" else ("none", compression)
    path = images.write_oci_archive(tmp_path / "bomb.tar", bomb(inner), compression=outer)
    store.ok("images")
    before = store.files(), store.bill()
    line = store.fails("Limit", "-q", "import", *SMALL, path)
    assert "--limit ratio=VALUE" in line
    assert (store.files(), store.bill()) == before
    store.ok("-q", "import", "--limit", "ratio=9m", *SMALL, path)
    # an accepted image is not judged again
    store.ok("unpack", "bomb:1", tmp_path / "copy")


def test_many_small_bombs_are_one(store, tmp_path):
    path = images.write_oci_archive(tmp_path / "bomb.tar", bomb("gzip", 2))
    store.ok("-q", "import", "--limit", "ratio-from=50m", path)
    store.ok("rm", "bomb:1")
    store.ok("gc")
    assert "the image: " in store.fails("Limit", "-q", "import", "--limit", "ratio-from=30m", path)


@pytest.mark.parametrize("form", ["directory", "erofs"])
def test_headers(store, tmp_path, form):
    path = images.write_oci_archive(tmp_path / "many.tar", empty_members())
    line = store.fails("Limit", "-q", "import", "--tree", form, "--limit", "headers=5000", path)
    assert "5000 headers; --limit headers=VALUE" in line
    store.ok("-q", "import", "--tree", form, path)


def test_a_limit_that_is_none(store, tmp_path):
    assert "limits are headers" in store.fails("Usage", "import", "--limit", "colour=3", tmp_path)
