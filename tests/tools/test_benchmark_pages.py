"""The pages quote the last results, and only what is generated in them is replaced."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TOOL = CHECKOUT / "tools" / "benchmark_pages.py"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("benchmark_pages", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_current():
    done = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), "run tools/benchmark_pages.py --write"


def test_only_the_generated_part_is_replaced(pages):
    before = f"a\n{pages.BEGIN}old\n{pages.END}b\n"
    after = f"a\n{pages.BEGIN}new\n{pages.END}b\n"
    assert pages.replaced(before, "new\n") == after
    assert pages.replaced(after, "new\n") == after
    for text in ("a\n", f"a\n{pages.BEGIN}", f"a\n{pages.END}"):
        with pytest.raises(ValueError, match="no generated part"):
            pages.replaced(text, "new\n")


def test_the_rows_are_those_of_the_results(pages):
    document = json.loads((pages.RESULTS / "results.json").read_text())
    bars = {bar["what"]: bar for row in document["rows"] for bar in row["bars"]}
    for words in (pages.ENGLISH, pages.CHINESE):
        rows = pages.readme(document, words).splitlines()[2:7]
        assert [f"{bars[line.bar]['value']:.2f}×" for line in pages.LINES] == [
            row.split(" | ")[-1][:-2] for row in rows
        ]


def test_a_bar_that_is_missing_or_was_not_measured_is_an_error(pages):
    document = json.loads((pages.RESULTS / "results.json").read_text())
    with pytest.raises(LookupError, match="do not have the bar import app1"):
        pages.readme({**document, "rows": []}, pages.ENGLISH)
    bars = {bar["what"]: bar for row in document["rows"] for bar in row["bars"]}
    bars[pages.LINES[0].bar].update(value=None, why="podman is not installed")
    with pytest.raises(LookupError, match="was not measured: podman is not installed"):
        pages.readme(document, pages.ENGLISH)


def test_the_table_of_bars_is_that_of_the_results(pages):
    results = (pages.RESULTS / "results.md").read_text()
    text = pages.bars(results)
    assert text.splitlines()[0].endswith("not measured.")
    assert "## " not in text
    lines = results.splitlines()
    assert [line for line in text.splitlines() if line and line not in lines] == []
    rows = json.loads((pages.RESULTS / "results.json").read_text())["rows"]
    assert text.count("\n| ") == 1 + sum(len(row["bars"]) for row in rows)
