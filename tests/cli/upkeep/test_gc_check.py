"""`du`, `gc` and `check`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support import images


@pytest.mark.skipif(shutil.which("du") is None, reason="du is not installed")
def test_the_bill_is_what_du_says(filled, picture):
    bill = filled.ok("du", "--json").json
    out = subprocess.run(["du", "-sB1", filled.root], capture_output=True, check=True).stdout
    assert bill["total"] == int(out.split()[0])
    parts = ("blobs", "trees", "containers", "metadata", "ingest", "orphans")
    assert bill["total"] == sum(bill[part] for part in parts)
    assert bill["reclaimable"] == 0
    [image] = bill["images"]
    assert image["digest"] == picture.digest
    assert image["names"] == ["example:1", "example:latest"]
    assert image["size"] == image["unique"] + image["shared"]


def test_the_bill_for_people(filled):
    total = filled.ok("du", "--json").json["total"]
    lines = [line.split() for line in filled.ok("du").text.splitlines()]
    assert ["PART", "SIZE", "BYTES"] in lines
    assert next(line[-1] for line in lines if line and line[0] == "total") == str(total)
    assert lines[-1][0] == "example:1"


def test_the_bill_of_some_images(filled, picture, tmp_path):
    other = images.image(images.layer([images.file("x")]), names=["x:1"])
    filled.ok("-q", "import", images.write_oci_archive(tmp_path / "x.tar", other))
    assert len(filled.ok("du", "--json").json["images"]) == 2
    assert [i["digest"] for i in filled.ok("du", "--json", "x:1", other.digest).json["images"]] == [other.digest]
    assert filled("du", "nothing").status == 3


def test_gc_takes_what_has_no_name(filled, picture):
    empty = filled.ok("gc", "--json", "--dry-run").json
    assert empty["bytes"] == 0
    assert empty["images"] == []
    for name in ("example:1", "example:latest"):
        filled.ok("untag", name)
    plan = filled.ok("gc", "--dry-run", "--json").json
    assert plan["dry_run"] is True
    assert plan["images"] == [picture.digest]
    assert plan["bytes"] > 0
    assert filled.ok("gc", "-n").text.splitlines()[-1].endswith("can be freed")
    assert len(filled.ok("images", "--json").json) == 1
    done = filled.ok("gc", "--json").json
    plan.pop("parts", None)
    assert {**done, "dry_run": True} == plan
    assert filled.ok("images", "--json").json == []
    assert filled.ok("gc").text == "0 B were freed\n"


def test_check_when_all_is_well(filled, picture):
    found = filled.ok("check", "--json").json
    assert found["ok"] is True
    assert [finding for finding in found["findings"] if not finding["harmless"]] == []
    tars = sum(path.stat().st_size for path in Path(filled.root).glob("trees/*/layer.tar"))
    assert found["bytes"] == tars + sum(map(len, picture.blobs().values()))
    assert filled.ok("check", "--json", "--quick").json["bytes"] == 0
    assert filled.ok("-q", "check").out == b""


def alter(filled, digest):
    path = filled.root / "blobs/sha256" / digest[7:]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_check_finds_altered_content(filled, picture):
    alter(filled, picture.layers[1].digest)
    filled.ok("check", "--quick")
    result = filled("check", "--json")
    assert result.status == 32
    assert result.error["kind"] == "CheckFailed"
    assert result.json["ok"] is False
    [finding] = [finding for finding in result.json["findings"] if not finding["harmless"]]
    assert (finding["kind"], finding["what"]) == ("blob-digest", picture.layers[1].digest)
    result = filled("-q", "check")
    assert result.status == 32
    assert result.text.startswith(f"damage: blob-digest: {picture.layers[1].digest}: ")
    assert "1 finding of damage" in result.err


def test_check_repairs(filled):
    (filled.root / "index.json").write_text("{}")
    assert filled("check").status == 32
    result = filled.ok("check", "--repair", "--json")
    assert result.json["ok"] is True
    assert [finding["repaired"] for finding in result.json["findings"]] == [True]
    assert filled.ok("check", "--json").json["findings"] == []


def test_check_brings_lost_blobs_from_a_source(filled, picture, tmp_path):
    archive = images.write_oci_archive(tmp_path / "source.tar", picture)
    lost = filled.root / "blobs/sha256" / picture.layers[0].digest[7:]
    lost.unlink()
    assert filled("check", "--repair").status == 32
    result = filled.ok("check", "--repair", "--from", archive, "--nice", "--json")
    assert [finding["repaired"] for finding in result.json["findings"]] == [True]
    assert lost.exists()
    assert filled.ok("check", "--json").json["findings"] == []
    assert filled("check", "--from", archive).status == 2
