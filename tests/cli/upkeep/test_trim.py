"""`trim`, and what plans of removals print."""

from __future__ import annotations

import pytest
from support import images


def test_trees_are_given_up_and_come_back(filled):
    before = filled.ok("du", "--json").json
    plan = filled.ok("trim", "--dry-run", "--json").json
    assert plan["dry_run"] is True
    done = filled.ok("trim", "--json").json
    assert {**done, "dry_run": True} == plan
    after = filled.ok("du", "--json").json
    assert after["trees"] == before["trees"] - done["freed"]
    assert after["blobs"] == before["blobs"]
    assert filled.ok("trim").text == "0 B were freed\n"
    target = filled.ok("mount", "example:1")
    assert "layer " in target.err
    filled.ok("umount", "--all")
    assert filled.ok("du", "--json").json["trees"] == before["trees"]


def test_for_people_the_names_are_listed(filled):
    out = filled.ok("trim", "-n").text.splitlines()
    assert out[0] == "image example:1 example:latest"
    assert out[-1].endswith("can be freed")


def test_a_size_that_cannot_be_reached_is_status_36(filled):
    result = filled("trim", "--to", "1k", "--json")
    assert result.status == 36
    assert '"kind": "Budget"' in result.err
    assert result.json["short"] > 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--to", "many"), "many"),
        (("--free", "-1"), "-1"),
        (("--unused-for", "soon"), "write for example 30s, 1m30s, 12h or 2w"),
        (("--unused-for", "5"), "is not a duration"),
        (("--to", "1g", "--free", "1g"), "exclude each other"),
    ],
)
def test_bad_limits_are_usage_errors(filled, words, text):
    result = filled("trim", *words)
    assert result.status == 2
    assert text in result.err


def test_what_a_removal_would_free_is_what_it_frees(filled, tmp_path):
    shared = images.layer([images.file("s", b"s" * 50_000)], "none")
    for name in ("a", "b"):
        other = images.image(shared, images.layer([images.file(name, name.encode() * 90_000)]), names=[f"{name}:1"])
        filled.ok("-q", "import", images.write_oci_archive(tmp_path / f"{name}.tar", other))
    one = filled.ok("du", "--if-removed", "a:1", "--json").json
    both = filled.ok("du", "--if-removed", "--json", "a:1", "b:1").json
    assert both["freed"] == sum(both["parts"].values()) > 2 * one["freed"] - 50_000
    assert filled.ok("rm", "--dry-run", "--json", "a:1", "b:1").json["parts"] == both["parts"]
    table = filled.ok("du", "--if-removed", "a:1").text.splitlines()
    assert table[-1].split()[0] == "freed"
    assert filled.ok("rm", "a:1", "b:1", "--json").json["freed"] == both["freed"]


def test_a_name_of_several_frees_nothing(filled):
    assert filled.ok("du", "--if-removed", "example:1", "--json").json["freed"] == 0


def test_what_is_in_use_would_be_refused(filled):
    filled.ok("mount", "example:1")
    assert filled("du", "--if-removed", "example:1", "example:latest").status == 7
    filled.ok("umount", "--all")


def test_it_needs_an_image(filled):
    assert "needs at least one image" in filled("du", "--if-removed").err
