"""Patterns of names: whole names, ends after a slash, with or without the tag; digests only by their algorithm."""

from __future__ import annotations

import pytest

from arstore.oci.name_pattern import NamePatterns, split

NAME = "registry.example.com:5000/team/base:1"


@pytest.mark.parametrize(
    "pattern",
    ["base", "base:1", "base:*", "team/base", "*/base:1", NAME, "*", "b?se:[0-9]", "registry.example.com:5000/*"],
)
def test_a_pattern_matches_an_end_of_the_name(pattern):
    assert NamePatterns(["no", pattern]).match(NAME)


@pytest.mark.parametrize("pattern", ["bas", "ase:1", "base:2", "eam/base", "BASE", "base:1 ", "sha256:*"])
def test_others_do_not(pattern):
    assert not NamePatterns([pattern]).match(NAME)


def test_without_patterns_nothing_matches():
    assert not NamePatterns([]).match(NAME)
    assert not NamePatterns([]).match("")


def test_digests_are_matched_only_by_patterns_of_digests():
    digest = f"sha256:{'ab' * 32}"
    assert NamePatterns(["sha256:abab*"]).match_digest(digest)
    assert not NamePatterns(["*", "*:*", "sha256:ac*", "abab*"]).match_digest(digest)


def test_a_port_is_not_a_tag():
    assert split("localhost:5000/x") == ("localhost:5000/x", "")
    assert split(NAME) == ("registry.example.com:5000/team/base", "1")
