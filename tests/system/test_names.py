"""Reading images and naming them: images, layers, inspect, history, tag, untag, rm."""

from __future__ import annotations

import json
import os

import pytest
from support import images
from support.cli import Arstore

EXAMPLE = images.example()


def names(store):
    """All names in the store, with their digests."""
    return {name: one["digest"] for one in store.json("images") for name in one["names"]}


def test_an_empty_store(store):
    assert store.json("images") == []
    assert store.json("layers") == []
    assert store.json("mounts") == []


def test_tables_are_for_people(filled):
    table = filled.ok("images").text
    assert "example:1" in table
    assert EXAMPLE.digest[7:19] in table
    assert EXAMPLE.chain_ids[-1][7:19] in filled.ok("layers").text


def test_layers(filled):
    layers = {one["chain_id"]: one for one in filled.json("layers")}
    assert set(layers) == set(EXAMPLE.chain_ids)
    assert [layers[chain]["diff_id"] for chain in EXAMPLE.chain_ids] == EXAMPLE.diff_ids


def test_inspect(filled):
    for reference in ("example:1", EXAMPLE.digest, EXAMPLE.digest[7:15], f"example:1@{EXAMPLE.digest}"):
        assert filled.json("inspect", reference)["digest"] == EXAMPLE.digest
    assert filled.ok("inspect", "--raw", "example:1").out == EXAMPLE.manifest
    assert json.loads(filled.ok("inspect", "--config", "example:1").out) == json.loads(EXAMPLE.config)


def test_history(filled):
    said = filled.json("history", "example:1")
    assert {one["created_by"] for one in said} == {"layer 0", "layer 1", "layer 2"}
    assert "layer 1" in filled.ok("history", "example:1").text


@pytest.mark.parametrize("spelling", ["example:1", "localhost/example:1", "docker.io/library/example:1"])
def test_short_and_long_names_mean_the_same(filled, spelling):
    assert filled.json("inspect", spelling)["digest"] == EXAMPLE.digest


def test_tag_and_untag(filled):
    filled.ok("tag", "example:1", "registry.invalid/other")
    assert names(filled) == {"example:1": EXAMPLE.digest, "registry.invalid/other:latest": EXAMPLE.digest}
    filled.ok("untag", "example:1")
    assert names(filled) == {"registry.invalid/other:latest": EXAMPLE.digest}
    filled.ok("untag", "registry.invalid/other")
    assert names(filled) == {}
    assert filled.json("inspect", EXAMPLE.digest)["names"] == []


def test_tag_moves_a_name(filled, tmp_path):
    other = images.image(images.layer([images.file("other")]), names=["other:1"])
    filled.ok("import", images.write_oci_archive(tmp_path / "other.tar", other))
    filled.ok("tag", "other:1", "example:1")
    assert names(filled) == {"example:1": other.digest, "other:1": other.digest}


def test_rm_frees_what_nothing_else_holds(filled, tmp_path):
    other = images.image(EXAMPLE.layers[0], images.layer([images.file("other")]), names=["other:1"])
    filled.ok("import", images.write_oci_archive(tmp_path / "other.tar", other))
    filled.ok("rm", "example:1")
    assert set(names(filled)) == {"other:1"}
    assert {one["chain_id"] for one in filled.json("layers")} == set(other.chain_ids)
    blobs = {path.name for path in (filled.root / "blobs" / "sha256").iterdir()}
    assert blobs == {digest[7:] for digest in other.blobs()}
    filled.ok("check")
    filled.ok("rm", other.digest)
    assert list((filled.root / "blobs" / "sha256").iterdir()) == []
    filled.ok("check")


def test_rm_of_several(filled, tmp_path):
    other = images.image(images.layer([images.file("other")]), names=["other:1"])
    filled.ok("import", images.write_oci_archive(tmp_path / "other.tar", other))
    filled.ok("rm", "example:1", "other:1")
    assert filled.json("images") == []


def test_what_is_not_there(filled):
    for command in ("inspect", "history", "rm", "untag"):
        assert "nothing:1" in filled.fails("NotFound", command, "nothing:1")
    filled.fails("NotFound", "tag", "nothing:1", "new:1")
    filled.fails("NotFound", "inspect", "sha256:" + "0" * 64)
    assert names(filled) == {"example:1": EXAMPLE.digest}


@pytest.mark.parametrize("name", ["UPPER", "a b", "../x", "a:" + "t" * 129, "流水线", "x" * 300])
def test_names_that_are_none(filled, name):
    filled.fails("InvalidReference", "tag", "example:1", name)


def test_an_ambiguous_prefix(store, tmp_path):
    """Images are made until the digests of two share a prefix of four digits; a longer prefix is unique again."""
    found = {}
    for number in range(5000):
        one = images.image(config={"Labels": {"n": str(number)}}, names=[f"n{number}:1"])
        twin = found.setdefault(one.digest[7:11], one)
        if twin is not one:
            break
    store.ok("import", images.write_oci_archive(tmp_path / "x.tar", one, twin))
    store.fails("Ambiguous", "inspect", one.digest[7:11])
    assert store.json("inspect", one.digest[7:27])["digest"] == one.digest


def test_errors_as_json(filled):
    outcome = filled.run("inspect", "--json", "nothing:1")
    assert (outcome.status, outcome.out) == (3, b"")
    error = json.loads(outcome.err)["error"]
    assert (error["kind"], error["what"], error["exit_code"]) == ("NotFound", "nothing:1", 3)
    assert error["why"]


def test_wrong_usage(store):
    for arguments in (["nonsense"], ["import"], ["images", "--nonsense"], ["tag", "one"]):
        outcome = store.run(*arguments)
        assert (outcome.status, outcome.out) == (2, b"")
        assert "Traceback" not in outcome.err


COMMANDS = """import images layers inspect history tag untag rm mount umount mounts unpack run load du gc check"""


@pytest.mark.parametrize("command", COMMANDS.split())
def test_help_lists_exit_statuses(tmp_path, command):
    nowhere = Arstore(tmp_path / "none", tmp_path / "none-run")
    text = nowhere.ok(command, "--help").text
    assert "Exit status" in text
    assert os.listdir(tmp_path) == []
