"""`convert`."""

from __future__ import annotations

import pytest
from support import images

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture
def directories(filled):
    """The program on a store whose trees have the directory form."""
    filled.ok("-q", "convert", "--all", "--tree", "directory")
    return filled


def trees(result):
    return [tree["outcome"] for tree in result.json["trees"]]


def test_a_line_a_tree(directories, picture):
    lines = [line.split() for line in directories.ok("convert", "--tree", "directory", "example:1").text.splitlines()]
    assert {line[0] for line in lines} == {"unchanged"}
    assert {line[1] for line in lines} == set(picture.diff_ids)


def test_json(directories, picture):
    planned = directories.ok("convert", "--dry-run", "--json", picture.digest).json
    assert planned["dry_run"] is True
    done = directories.ok("convert", "--json", "example:1").json
    assert done["dry_run"] is False
    assert [tree["key"] for tree in done["trees"]] == [tree["key"] for tree in planned["trees"]]
    assert {tree["form"] for tree in done["trees"]} == {done["form"]}
    assert all(set(tree) == {"key", "outcome", "form", "why"} for tree in done["trees"])


def test_what_is_in_use_is_told_and_the_rest_is_done(directories, tmp_path):
    other = images.image(images.layer([images.file("x")]), names=["x:1"])
    directories.ok("-q", "import", "--tree", "erofs", images.write_oci_archive(tmp_path / "x.tar", other))
    target = directories.ok("mount", "example:1").text.strip()
    result = directories("convert", "--json", "--all", "--tree", "erofs")
    if result.status == 40:
        pytest.skip("this host cannot mount the index form")
    assert result.status == 7
    assert set(trees(result)) == {"in-use", "unchanged"}
    assert target in result.err
    directories.ok("umount", "--all")
    assert "converted" in trees(directories.ok("convert", "--json", "--all", "--tree", "erofs"))


def test_the_images_of_an_index(arstore, tmp_path):
    one, other = (images.image(images.layer([images.file(name)]), architecture=name) for name in ("amd64", "arm64"))
    both = images.index(one, other, names=["both:1"])
    arstore.ok("-q", "import", "--all-platforms", images.write_oci_archive(tmp_path / "both.tar", both))
    assert len(trees(arstore.ok("convert", "--json", "--tree", "directory", "both:1"))) == 2
    assert len(trees(arstore.ok("convert", "--json", "--tree", "directory", "--all"))) == 2


@pytest.mark.parametrize(
    ("words", "status"),
    [((), 2), (("--all", "example:1"), 2), (("nothing",), 3), (("--tree", "zip", "--all"), 2)],
)
def test_what_does_not_make_sense(filled, words, status):
    assert filled("convert", *words).status == status
