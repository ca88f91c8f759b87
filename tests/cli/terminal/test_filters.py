"""`--filter`: keys, patterns, labels, times."""

from __future__ import annotations

import time

import pytest

from arstore.cli.terminal.filters import Filter, label_matches, moment, parse_filters, pattern_matches, truth
from arstore.errors import UsageError


def test_filters_by_key():
    found = parse_filters(["label=a", "label=b=c", "label!=d", "id=1"], ("id", "label", "label!"))
    assert {key: [one.value for one in each] for key, each in found.items()} == {
        "label": ["a", "b=c"],
        "label!": ["d"],
        "id": ["1"],
    }


@pytest.mark.parametrize("text", ["nope=1", "id", "id!=1", "=1", ""])
def test_an_unknown_one_lists_the_known_ones(text):
    with pytest.raises(UsageError, match="the filters are id, label, label!"):
        parse_filters([text], ("id", "label", "label!"))


def test_labels():
    labels = {"a": "1", "b.c": "xyz"}
    assert label_matches(labels, "a")
    assert label_matches(labels, "b.c=x*")
    assert label_matches(labels, "b.*")
    assert not label_matches(labels, "a=")
    assert not label_matches(labels, "z")


def test_moments():
    assert moment(Filter("until", "2026-01-02T03:04:05Z")) == moment(Filter("until", "2026-01-02T04:04:05+01:00"))
    assert moment(Filter("until", "1000")) == 1000
    assert abs(time.time() - 5400 - moment(Filter("until", "1h30m"))) < 5
    with pytest.raises(UsageError, match="--filter until=soon: is not a time"):
        moment(Filter("until", "soon"))


def test_truth_and_patterns():
    assert truth(Filter("dangling", "True"))
    assert not truth(Filter("dangling", "0"))
    with pytest.raises(UsageError):
        truth(Filter("dangling", "maybe"))
    assert pattern_matches(Filter("name", "^w.b$"), "x", "web")
    with pytest.raises(UsageError, match="regular expression"):
        pattern_matches(Filter("name", "("), "x")
