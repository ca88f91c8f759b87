"""`du`: its options, and what excludes what."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest
from support import images

from arstore.cli.upkeep import prometheus
from arstore.disk.paths import Directories
from arstore.maintenance import usage_log

EVIL = "\u202ex"


@pytest.fixture
def two(filled, tmp_path):
    """The store with a second image, which shares a layer with a third."""
    shared = images.layer([images.file("s/f", b"s" * 60_000)], "gzip")
    for name, size in (("b", 200_000), ("c", 1000)):
        own = images.layer([images.file(f"{name}/f", name.encode() * size)], "none")
        one = images.image(shared, own, names=[f"{name}:1"])
        filled.ok("-q", "import", images.write_oci_archive(tmp_path / f"{name}.tar", one))
    return filled


def test_kinds_are_explained_in_words(filled):
    lines = {line.split()[0]: line for line in filled.ok("du").text.splitlines() if line}
    assert "named volumes" in lines["volumes"]
    assert max(map(len, lines.values())) <= 80


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("size", lambda one: -one["size"]),
        ("name", lambda one: one["names"][0]),
        ("unique", lambda one: -one["unique"]),
        ("last-used", lambda one: one["last_used"]),
    ],
)
def test_images_are_sorted(two, sort, key):
    found = two.ok("du", "--json").json["images"]
    order = [one.split()[0] for one in two.ok("du", "--sort", sort).text.split("LAST USED\n")[1].splitlines()]
    assert [key(next(one for one in found if name in one["names"])) for name in order] == sorted(map(key, found))


def test_every_layer_on_disk(two):
    bill = two.ok("du", "--by", "layer", "--json").json
    layers = bill["per_layer"]
    assert len(layers) == 6
    assert [one["images"] for one in layers].count(2) == 1
    documents = bill["blobs"] + bill["trees"] - sum(one["size"] for one in layers)
    assert 0 < documents < 80_000
    (shared,) = (one for one in layers if one["images"] == 2)
    assert (shared["unique"], shared["form"]) == (0, "erofs") or shared["form"] == "directory"
    assert shared["blobs"] > 0 < shared["trees"]
    some = two.ok("du", "--by", "layer", "--json", "b:1").json["per_layer"]
    assert {one["diff_id"] for one in some} < {one["diff_id"] for one in layers}
    sizes = [one["size"] for one in two.ok("du", "--by", "layer", "--sort", "size", "--json").json["per_layer"]]
    assert sizes == sorted(sizes, reverse=True)


def test_every_container(filled):
    assert filled.ok("du", "--by", "container", "--json").json["per_container"] == []
    filled.ok("mount", "example:1", "--rw", "--name", "box")
    (one,) = filled.ok("du", "--by", "container", "--json").json["per_container"]
    assert (one["name"], one["size"] > 0) == ("box", True)
    assert "example:1" in filled.ok("du", "--by", "container").text
    assert filled("du", "--by", "container", "--sort", "unique").status == 2
    filled.ok("umount", "--all")


def test_a_tree_of_images_layers_and_directories(two):
    lines = two.ok("du", "--tree").text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["NAME", "SIZE", "NEEDED", "BY"]
    assert len([line for line in lines if "2 images" in line]) == 2
    names = [line.split()[1] for line in lines if line[1:3] in ("─ ", "- ")]
    assert {"b:1", "example:1", "c:1"} <= set(names)
    some = two.ok("du", "--tree", "c:1").text.splitlines()
    assert some[1].startswith("c:1")
    assert not any("b:1" in line for line in some)


def test_a_picture_is_written_whole_or_not_at_all(two, tmp_path):
    path = tmp_path / "usage.html"
    assert two.ok("du", "--html", path).out == b""
    content = path.read_bytes()
    assert content.startswith(b"<!DOCTYPE html>")
    assert two.ok("du", "--html", "-").out == content
    assert two.ok("du", "--html", path, "--json").json == {"file": str(path), "bytes": len(content)}
    assert two("du", "--html", tmp_path / "none/usage.html").status == 3
    assert sorted(one.name for one in tmp_path.glob("*usage*")) == ["usage.html"]


def test_the_graph_of_layers_in_all_forms(two, tmp_path):
    lines = two.ok("layers", "--tree").text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 7
    assert two.ok("layers", "--dot").text.startswith("digraph layers {")
    for word in ("--html", "--svg"):
        two.ok("layers", word, tmp_path / f"layers{word}")
        assert two.ok("layers", word, "-").out == (tmp_path / f"layers{word}").read_bytes()
    assert two("layers", "--tree", "--dot").status == 2
    assert two("layers", "--tree", "--json").status == 2


def test_above_a_mark_the_status_is_47_and_the_bill_is_there(filled):
    total = filled.ok("du", "--json").json["total"]
    result = filled("du", "--high-water", str(total - 1), "--json")
    assert result.status == 47
    assert result.error["kind"] == "HighWater"
    assert result.json["total"] == total
    assert filled("du", "--high-water", str(total)).status == 0
    assert filled("du", "--high-water", "100%").status == 0
    assert filled("du", "--high-water", "0.001%").status in (0, 47)
    for bad in ("0%", "101%", "many", "-1", "5%%"):
        assert filled("du", "--high-water", bad).status == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--tree", "--html", "x"),
        ("--history", "--tree"),
        ("--if-removed", "--by", "layer", "example:1"),
        ("--tree", "--json"),
        ("--format", "prometheus", "--json"),
        ("--html", "-", "--json"),
        ("--history", "example:1"),
        ("--since", "1h", "example:1"),
        ("--tree", "--sort", "size"),
        ("--since", "soon"),
        ("--history", "--since", "soon"),
        ("--sort", "colour"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(filled, words):
    result = filled("du", *words)
    assert result.status == 2
    assert len(result.err.splitlines()) == 1


# --- what was measured before ---------------------------------------------------------------------------------------


def test_totals_are_noted_once_an_hour_and_compared(filled, monkeypatch):
    start = time.time()
    filled.ok("du")
    assert not usage_log.entries(Directories(str(filled.root), ""))
    filled.ok("du", "--history")
    before = filled.ok("du", "--json").json
    (entry,) = filled.ok("du", "--history", "--json").json
    assert entry["total"] == before["total"]
    assert entry["images"] == 1
    filled.ok("rm", "example:1", "example:latest")
    monkeypatch.setattr(usage_log.time, "time", lambda: start + 7200)
    after = filled.ok("du", "--json").json
    change = filled.ok("du", "--since", str(int(start + 60)), "--json").json
    assert change["change"]["total"] == after["total"] - before["total"]
    assert change["change"]["images"] == -1
    assert "images" in filled.ok("du", "--since", str(int(start + 60))).text
    assert len(filled.ok("du", "--history").text.splitlines()) == 3
    assert len(filled.ok("du", "--history", "--since", str(int(start + 3600))).text.splitlines()) == 2
    result = filled("du", "--since", "2020-01-01")
    assert result.status == 3
    assert "the log begins at" in result.err


@pytest.mark.skipif(shutil.which("du") is None, reason="du is not installed")
def test_the_log_is_in_the_bill(filled):
    for _ in range(2):
        total = filled.ok("du", "--json").json["total"]
        out = subprocess.run(["du", "-sB1", filled.root], capture_output=True, check=True).stdout
        assert total == int(out.split()[0])


# --- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_are_valid(two):
    out = two.ok("du", "--format", "prometheus").text
    values = dict(line.rsplit(" ", 1) for line in out.splitlines() if not line.startswith("#"))
    bill = two.ok("du", "--json").json
    assert int(values[f'arstore_store_bytes{{root="{two.root}",kind="trees"}}']) == bill["trees"]
    assert int(values[f'arstore_images{{root="{two.root}"}}']) == 3
    assert "arstore_image_size_bytes" not in out
    some = two.ok("du", "--format", "prometheus", "b:1", "c:1").text
    assert some.count("\narstore_image_unique_bytes{") == 2
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    for text in (out, some):
        checked = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, b"")


def test_labels_are_escaped():
    labels = {"image": 'a"b\\c\nd' + EVIL + "\udcff"}
    line = prometheus._metric("m", "words", [(labels, 1)]).splitlines()[2]
    assert line == 'm{image="a\\"b\\\\c\\\\nd\\\\u202ex\\\\xff"} 1'
