"""`prune`, `protect` and `unprotect`."""

from __future__ import annotations


def test_an_image_is_protected_and_shown(filled, picture):
    assert filled.ok("protect", "example:1").text == f"{picture.digest}\n"
    assert filled.ok("images", "--json").json[0]["protected"] is True
    assert filled.ok("images").text.splitlines()[1].split()[-1] == "protected"
    assert filled.ok("prune", "--unused-for", "0s", "--json").json["removed"] == []
    assert filled.ok("unprotect", "example:latest", "--json").json == {"unprotected": [picture.digest]}
    assert filled.ok("images", "--json").json[0]["protected"] is False
    assert "STATE" not in filled.ok("images").text


def test_images_go_by_their_last_use(filled, picture):
    assert filled.ok("prune", "--unused-for", "1d", "--json").json["removed"] == []
    plan = filled.ok("prune", "--unused-for", "0s", "--dry-run", "--json").json
    assert plan["removed"] == [{"digest": picture.digest, "names": ["example:1", "example:latest"]}]
    assert sum(plan["parts"].values()) == plan["freed"] > 0
    out = filled.ok("prune", "--unused-for", "0s").text.splitlines()
    assert out[0] == f"removed {picture.digest} example:1 example:latest"
    assert filled.ok("images", "--json").json == []


def test_without_an_age_it_names_gc(filled):
    result = filled("prune")
    assert result.status == 2
    assert "`arstore gc` removes images without a name" in result.err


def test_an_unknown_image_is_not_protected(filled):
    assert filled("protect", "nothing:1").status == 3
    assert filled("unprotect", "nothing:1").status == 3
