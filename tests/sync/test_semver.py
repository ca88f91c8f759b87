"""Ranges of versions, as Masterminds/semver reads them."""

from __future__ import annotations

import pytest

from arstore.errors import UsageError
from arstore.sync.semver import Version, parse_range
from arstore.sync.wishes import in_range


@pytest.mark.parametrize(
    ("text", "within", "without"),
    [
        (">= 3.12.0", "3.12 v3.12.1 4", "3.11.9 3.12.0-rc1 4.0.0-rc1"),
        (">= 1.2, < 2", "1.2 1.9.9", "2 2.0.0 1.1"),
        (">=1.2 <2", "1.2 1.9.9", "2 2.0.0 1.1"),
        ("^1.2.3", "1.2.3 1.9", "2.0.0 1.2.2 2.0.0-rc1"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0 1"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
        ("^0.0", "0.0.1", "0.1.0"),
        ("^0", "0.5", "1"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0"),
        ("~1", "1.0 1.9", "2.0"),
        ("~>1.2", "1.2.0 1.2.9", "1.3"),
        ("1.2 - 1.4.5", "1.2 1.4.5", "1.4.6 1.1.9"),
        ("1.2.x", "1.2.0 1.2.9", "1.3.0"),
        ("*", "0.0.1 9", "1.0.0-rc1"),
        ("1.*", "1.3", "2"),
        ("1.2 || >=3", "1.2.5 3.4", "1.3 2"),
        ("!=1.2.3", "1.2.4", "1.2.3"),
        ("> 1.2", "1.3.0", "1.2.5 1.2.0"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<= 1.2", "1.2.9 1.1", "1.3"),
        ("=1.2.3", "1.2.3 v1.2.3+build", "1.2.4"),
        (">=1.0.0-rc1", "1.0.0-rc1 1.0.0-rc2 1.0.0", "1.0.0-beta"),
        ("1.2.3-rc.1", "1.2.3-rc.1", "1.2.3 1.2.3-rc.2"),
    ],
)
def test_ranges(text, within, without):
    chooses = in_range(parse_range(text))
    assert [tag for tag in within.split() if not chooses(tag)] == []
    assert [tag for tag in without.split() if chooses(tag)] == []


def test_what_is_no_version_is_in_no_range():
    chooses = in_range(parse_range("*"))
    assert [tag for tag in ("latest", "1.2.3.4", "v", "1.x", "1.2-", "²") if chooses(tag)] == []


def test_the_order_is_that_of_semver_org():
    words = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1"
    versions = [Version.parse(word) for word in words.split()]
    assert versions == sorted(versions)


@pytest.mark.parametrize("text", ["", "abc", ">= ", "1.2.3.4", ">> 1", "1 -", "||", "1,,2", "1 | 2"])
def test_what_is_no_range(text):
    with pytest.raises(UsageError):
        parse_range(text)
