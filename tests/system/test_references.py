"""The exercise about references, on a small store: each of its commands succeeds, and has a figure."""

from __future__ import annotations

import json

import pytest
from reliability import references as exercise

pytestmark = pytest.mark.root


def test_each_command_is_measured(tmp_path, capsys):
    status = exercise.main(["--images", "4", "--depth", "30", "--on", str(tmp_path), "--json"])
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [figure for figure in figures if not figure["met"]] == []
    assert status == 0
    given = [figure["what"].split()[0] for figure in figures]
    assert given[:3] == ["import", "import", "images"]
    assert {"layers", "inspect", "du", "gc", "check", "tag", "rm", "convert", "backup", "save"} <= set(given)
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_or_takes_too_much_is_no_success(tmp_path, monkeypatch):
    store = exercise._Store(tmp_path)
    store.run("du")
    assert store.figures[-1].met is False
    monkeypatch.setattr(exercise, "MEMORY", 1)
    store.run("--version")
    assert store.figures[-1].met is False
