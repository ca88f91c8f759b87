"""`du`, `gc` and `check`: their reports are correct, measured from outside."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from support import images

EXAMPLE = images.example()


def measured(store):
    """The allocated bytes of the root that the system's `du` reports."""
    return int(subprocess.run(["du", "-sB1", store.root], capture_output=True, text=True, check=True).stdout.split()[0])


def parts(bill):
    return sum(bill[name] for name in ("blobs", "trees", "containers", "metadata", "ingest", "orphans"))


def test_the_bill_is_what_the_system_measures(filled):
    bill = filled.json("du")
    assert bill["total"] == measured(filled)
    assert parts(bill) <= bill["total"]
    assert bill["blobs"] > 0
    assert bill["orphans"] == bill["ingest"] == 0
    (image,) = bill["images"]
    assert (image["digest"], image["names"]) == (EXAMPLE.digest, ["example:1"])
    assert image["size"] == image["unique"] + image["shared"]


def test_shared_bytes_are_told_apart(filled, tmp_path):
    big = images.layer([images.file("big", bytes(range(256)) * 4096)], "none")
    for number in (1, 2):
        own = images.layer([images.file(f"own{number}", b"x" * 100_000)], "none")
        one = images.image(big, own, names=[f"n{number}:1"])
        filled.ok("import", images.write_oci_archive(tmp_path / f"{number}.tar", one))
    bill = filled.json("du")
    found = {one["names"][0]: one for one in bill["images"]}
    assert found["n1:1"]["shared"] == found["n2:1"]["shared"] >= 1 << 20
    assert 100_000 <= found["n1:1"]["unique"] < 1 << 20
    assert found["example:1"]["shared"] == 0
    before = filled.total()
    filled.ok("rm", "n1:1")
    freed = before - filled.total()
    assert abs(freed - found["n1:1"]["unique"]) < 64 * 1024
    assert filled.total() == measured(filled)


def test_an_unnamed_image_stays_until_it_is_removed(filled):
    filled.ok("untag", "example:1")
    filled.ok("gc")
    listed = filled.json("images")
    if listed:
        filled.ok("rm", EXAMPLE.digest)
    assert filled.json("images") == []
    assert list((filled.root / "blobs" / "sha256").iterdir()) == []


def test_gc_of_a_clean_store_does_nothing(filled):
    before = filled.bill(), filled.files()
    filled.ok("gc", "--dry-run")
    filled.ok("gc")
    assert (filled.bill(), filled.files()) == before
    filled.ok("check")


def test_gc_takes_what_a_killed_import_left(filled):
    orphan = filled.root / "blobs" / "sha256" / ("0" * 64)
    orphan.write_bytes(b"x" * 100_000)
    assert filled.json("du")["orphans"] >= 100_000
    planned = filled.json("gc", "--dry-run")
    assert orphan.exists()
    assert planned
    filled.ok("gc")
    assert not orphan.exists()
    assert filled.json("du")["orphans"] == 0


def damage_blob(store):
    path = store.root / "blobs" / "sha256" / EXAMPLE.layers[1].digest[7:]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def remove_blob(store):
    (store.root / "blobs" / "sha256" / EXAMPLE.layers[1].digest[7:]).unlink()


def cut_blob(store):
    path = store.root / "blobs" / "sha256" / EXAMPLE.config_digest[7:]
    path.chmod(0o600)
    path.write_bytes(EXAMPLE.config[:-1])


def remove_tree(store):
    trees = [path for path in (store.root / "trees").iterdir() if EXAMPLE.diff_ids[0][7:] in path.name]
    if not trees:
        pytest.skip("this host makes no trees")
    shutil.rmtree(trees[0])


@pytest.mark.parametrize("damage", [damage_blob, remove_blob, cut_blob, remove_tree])
def test_damage_is_found(filled, damage):
    filled.ok("check")
    damage(filled)
    outcome = filled.run("-q", "check", "--json")
    assert outcome.status == 32
    assert outcome.json
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("damage", [damage_blob, remove_blob, cut_blob, remove_tree])
def test_an_import_after_a_repair_mends_it(filled, archive, damage):
    damage(filled)
    filled.run("check", "--repair")
    filled.ok("import", archive)
    filled.ok("check")
    assert filled.ok("inspect", "--raw", "example:1").out == EXAMPLE.manifest


def test_a_newer_store_is_refused(filled, archive):
    import lmdb

    with lmdb.open(str(filled.root / "graph"), map_size=1 << 30) as graph, graph.begin(write=True) as change:
        assert change.replace(b"meta/format", b"999") is not None
    for command in (["images"], ["import", archive], ["gc"], ["rm", "example:1"]):
        assert "999" in filled.fails("StoreVersion", *command)
