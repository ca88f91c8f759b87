"""Comparing samples with bars."""

from __future__ import annotations

import pytest

from benchmarks.measure import Bar, Series, judge


def series(label: str, *values: float, metric: str = "seconds") -> Series:
    return Series(label, [{metric: [value]} for value in values])


def test_a_median_is_that_of_all_values_of_all_samples() -> None:
    one = Series("arstore", [{"mount": [1.0, 9.0, 2.0]}, {"mount": [3.0, 4.0]}, {"umount": [100.0]}])
    assert one.median("mount") == 3.0
    assert one.median("nothing") is None


def test_faster_is_theirs_by_ours() -> None:
    bar = Bar("import", against=("podman load",), at_least=10)
    found = judge(bar, [series("arstore", 2, 1, 3), series("podman load", 30, 20, 10)])
    assert (found.measured, found.reference, found.value, found.score, found.met) == (2, 20, 10, 1, True)
    assert judge(bar, [series("arstore", 2), series("podman load", 19)]).met is False


def test_at_most_is_ours_by_the_sum_of_theirs() -> None:
    bar = Bar("import", against=("floor", "again"), at_most=1.5)
    found = judge(bar, [series("arstore", 3), series("floor", 1.5), series("again", 0.5)])
    assert (found.reference, found.value, found.score, found.met) == (2, 1.5, 1, True)
    assert judge(bar, [series("arstore", 3.1), series("floor", 1.5), series("again", 0.5)]).met is False


@pytest.mark.parametrize(
    ("most", "measured", "met"),
    [(2, 1.9, True), (2, 2, True), (2, 2.1, False), (0, 0, True), (0, 0.004, False), (64, 0, True)],
)
def test_a_quantity_may_be_at_most_so_much(most: float, measured: float, met: bool) -> None:
    found = judge(Bar("space", "outside", at_most=most, unit="MiB"), [series("arstore", measured, metric="outside")])
    assert found.met is met
    assert found.value == measured


def test_what_is_not_measured_is_neither_met_nor_missed_and_says_why() -> None:
    bar = Bar("import", against=("podman load", "skopeo copy"), at_least=2)
    found = judge(bar, [series("arstore", 2), Series("podman load", [], "podman is not installed")])
    assert found.met is None
    assert found.measured == 2
    assert found.why == "podman load: podman is not installed; skopeo copy: not measured"
    assert judge(bar, []).met is None


def test_a_median_of_zero_gives_no_ratio() -> None:
    bar = Bar("import", against=("floor",), at_most=1.5)
    assert judge(bar, [series("arstore", 2), series("floor", 0)]).met is None


@pytest.mark.parametrize(
    ("bar", "words"),
    [
        (Bar("x", against=("a",), at_least=10), "≥ 10×"),
        (Bar("x", against=("a",), at_least=1.7), "≥ 1.7×"),
        (Bar("x", against=("a",), at_least=1), "no slower"),
        (Bar("x", against=("a",), at_most=1.5), "≤ 1.5×"),
        (Bar("x", at_most=250, unit="MiB"), "≤ 250 MiB"),
        (Bar("x"), ""),
    ],
)
def test_a_bar_in_words(bar: Bar, words: str) -> None:
    assert bar.required == words
