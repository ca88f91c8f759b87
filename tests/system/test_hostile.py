"""Hostile images: a selection of the cases, all of them with --long; `tools/reliability hostile` counts them."""

from __future__ import annotations

import pytest
from hostile.table import CASES, spread
from hostile.trial import Faults
from reliability import hostile

pytestmark = [pytest.mark.root, pytest.mark.mounts]

SHORT = {case.title for case in spread()}


def marks(case):
    """Marks of a case: what it needs of the machine, and whether it is in the short run."""
    return [*([pytest.mark.runtime] if case.runs else []), *([] if case.title in SHORT else [pytest.mark.long])]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.title, marks=marks(case)) for case in CASES])
def test_a_case(tmp_path, case):
    assert case.tried(tmp_path).all() == []


def test_cases_are_told_apart():
    assert len({case.title for case in CASES}) == len(CASES)


def test_what_an_input_costs_goes_by_its_size():
    faults = Faults(processor=8.0, disk=1_000_000_000, input=500_000)
    assert faults.share() == 0.8
    assert Faults(processor=8.0, disk=3_000_000_000, input=500_000).share() == 1.5
    assert Faults(processor=30.0, input=3_000_000).share() == 1.0
    assert faults.all() == []
    assert Faults(processor=21.0, input=1000).all() == ["21.0 s and 0 MiB on disk for 1000 bytes"]


def test_faults_are_counted():
    """A run that finds something must not look like one that finds nothing."""
    clean = hostile.Result("paths", "paths: a", {}, 10 << 20)
    assert all(figure.met is not False for figure in hostile.figures([clean] * 150))
    for kind in ("escapes", "hangs", "tracebacks", "wrong"):
        bad = hostile.Result("links", "links: b", {kind: ["it"]}, 10 << 20)
        assert [figure.what for figure in hostile.figures([clean] * 150 + [bad]) if figure.met is False]
    dear = hostile.Result("a", "b", {}, 1 << 20, processor=11.0, input=1_000_000, share=1.1)
    assert [figure.what for figure in hostile.figures([clean] * 150 + [dear]) if figure.met is False]
    for large in hostile.Result("a", "b", {}, 301 << 20), hostile.Result("a", "b", {}, 200 << 20, 301 << 20):
        assert [figure.what for figure in hostile.figures([clean] * 150 + [large]) if figure.met is False]
