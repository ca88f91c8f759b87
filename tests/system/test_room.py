"""An import that does not fit gives up cached trees first, and reports that; images are never lost for it."""

from __future__ import annotations

import random

import pytest
from support import images
from support.cli import Arstore
from support.disks import mounted

pytestmark = pytest.mark.root
MIB = 1 << 20


def archive(path, number: int, size: int):
    """An image whose only layer is compressed to nothing less than *size* bytes."""
    data = random.Random(number).randbytes(size)
    layer = images.layer([images.directory("./"), images.file("noise", data)], "gzip")
    return images.write_oci_archive(path, images.image(layer, names=[f"n{number}:1"]))


@pytest.fixture
def arstore(tmp_path):
    with mounted("tmpfs", tmp_path / "disk") as place:
        yield Arstore(place / "store", place / "run")


def test_trees_make_room(arstore, tmp_path):
    """Each image takes 16 MiB with its tree, and 8 without, of 64."""
    for number in (1, 2, 3):
        arstore.ok("-q", "import", archive(tmp_path / f"{number}.tar", number, 8 * MIB))
    done = arstore.ok("import", archive(tmp_path / "4.tar", 4, 8 * MIB))
    assert "in cached trees of" in done.err
    assert len(arstore.ok("images", "--json").json) == 4
    arstore.ok("check")
    # The trees of the newest image are there.
    assert "layer " not in arstore.ok("mount", "n4:1").err
    arstore.ok("umount", "--all")


def test_nothing_is_given_up_while_there_is_room(arstore, tmp_path):
    arstore.ok("-q", "import", archive(tmp_path / "1.tar", 1, MIB))
    before = arstore.ok("du", "--json").json["trees"]
    done = arstore.ok("import", archive(tmp_path / "2.tar", 2, MIB))
    assert "cached trees" not in done.err
    assert arstore.ok("du", "--json").json["trees"] > before


def test_what_cannot_fit_is_refused_and_no_image_is_lost(arstore, tmp_path):
    for number in (1, 2):
        arstore.ok("-q", "import", archive(tmp_path / f"{number}.tar", number, 8 * MIB))
    before = arstore.ok("du", "--json").json["trees"]
    result = arstore.run("import", archive(tmp_path / "big.tar", 9, 58 * MIB))
    assert result.status == 41
    assert result.err.splitlines()[-1].startswith("arstore: ")
    assert arstore.ok("du", "--json").json["trees"] == before
    assert {name for image in arstore.ok("images", "--json").json for name in image["names"]} == {"n1:1", "n2:1"}
    arstore.ok("check")
