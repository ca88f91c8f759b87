"""The size of the store and protected images, from the command line and the configuration."""

from __future__ import annotations

import os

import pytest
from support import images


def archive(tmp_path, name: str, size: int = 300_000):
    layer = images.layer([images.directory("./"), images.file(name, os.urandom(size))], "gzip")
    return images.write_oci_archive(tmp_path / f"{name}.tar", images.image(layer, names=[f"{name}:1"]))


@pytest.fixture
def config(tmp_path):
    def write(text: str):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return ("--config", path)

    return write


def total(filled) -> int:
    return sum(filled.ok("du", "--json").json[kind] for kind in ("blobs", "trees", "containers", "metadata"))


def test_a_size_that_cannot_be_kept_is_status_36_and_one_line(filled, tmp_path):
    before = filled.ok("images", "--json").text
    result = filled("import", "--max-size", "10k", archive(tmp_path, "new"))
    assert result.status == 36
    assert result.err.count("\n") == 1
    assert "and at most 10240 may be; remove images, or change max-size" in result.err
    assert filled.ok("images", "--json").text == before


def test_trees_go_first_and_that_is_told(filled, tmp_path):
    filled.ok("import", archive(tmp_path, "old"))
    size = total(filled) + 400_000
    result = filled.ok("import", "--max-size", str(size), archive(tmp_path, "new"))
    assert "in cached trees of" in result.err
    assert total(filled) <= size


def test_the_size_is_configured_and_the_option_comes_first(filled, tmp_path, config):
    new, few = archive(tmp_path, "new"), config('max-size = "10k"')
    assert filled(*few, "import", new).status == 36
    assert filled(*few, "copy", f"oci-archive:{new}", "store:other:1").status == 36
    filled.ok(*few, "import", "--max-size", "0", new)
    # Nothing comes that the store does not have.
    filled.ok(*few, "import", new)


def test_marks_are_kept(filled, tmp_path, config):
    filled.ok("import", archive(tmp_path, "old"))
    size = total(filled)
    marks = config(f"high-water = {size + 100_000}\nlow-water = {size - 100_000}")
    assert "in cached trees of" in filled.ok(*marks, "import", archive(tmp_path, "new")).err


def test_the_configured_mark_is_that_of_du(filled, config):
    size = filled.ok("du", "--json").json["total"]
    above = config(f"high-water = {size - 1}")
    assert filled(*above, "du").status == 47
    assert filled(*above, "du", "--high-water", "0").status == 0
    assert filled(*above, "du", "--high-water", str(size)).status == 0
    filled.ok(*config(f"high-water = {size}"), "du")
    assert filled("du", "--high-water", str(size - 1)).status == 47


@pytest.mark.parametrize("size", ["much", "-1", "1x", ""])
def test_a_size_that_is_none_is_a_usage_error(filled, tmp_path, size):
    assert filled("import", "--max-size", size, archive(tmp_path, "new")).status == 2


def test_a_copy_elsewhere_has_no_size(filled, tmp_path):
    result = filled("copy", "--max-size", "1g", "example:1", f"oci:{tmp_path / 'out'}")
    assert result.status == 2
    assert "--max-size: is for a copy into the store" in result.err


def test_images_are_protected_by_pattern(filled, picture, config):
    kept = config('protect = ["example"]')
    assert filled.ok(*kept, "images", "--json").json[0]["protected"] is True
    assert filled.ok(*kept, "prune", "--unused-for", "0s", "--json").json["removed"] == []
    told = filled.ok(*kept, "info").text
    assert "  protected: 1\n" in told
    assert f"  protect: example ({kept[1]})\n" in told
    result = filled.ok(*kept, "unprotect", "example:1")
    assert f"stays protected by a pattern in {kept[1]}" in result.err
    filled.ok(*config('protect = ["other"]'), "prune", "--unused-for", "0s")
    assert filled.ok("images", "--json").json == []


def test_a_digest_keeps_an_image_without_a_name(filled, picture, config):
    kept = config(f'protect = ["{picture.digest[:20]}*"]')
    filled.ok("untag", "example:1")
    filled.ok("untag", "example:latest")
    assert filled.ok(*kept, "gc", "--dry-run", "--json").json["images"] == []
    filled.ok(*kept, "gc")
    assert len(filled.ok("images", "--json").json) == 1
    filled.ok("gc")
    assert filled.ok("images", "--json").json == []
