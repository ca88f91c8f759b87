"""The three result files: their content, and what they must never contain."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.measure import Bar, Row, Series
from benchmarks.report import Measured, Report, quantity, scrub


def measured() -> list[Measured]:
    """Rows with bars that are met, missed, not measured, and about quantities."""
    bars = [
        Bar("import, against podman load", against=("podman load",), at_least=10),
        Bar("import, against skopeo & co <copy>", against=("skopeo",), at_least=5),
        Bar("import, against the floor", against=("floor",), at_most=1.5),
    ]
    series = [
        Series("arstore", [{"seconds": [2.0], "cpu": [3.0]}, {"seconds": [2.2], "cpu": [3.0]}, {"seconds": [9.0]}]),
        Series("podman load", [{"seconds": [20.0]}, {"seconds": [24.0]}, {"seconds": [22.0]}]),
        Series("skopeo", [], "skopeo is not installed\nin /secret/peers | at all"),
        Series("floor", [{"seconds": [1.1]}]),
    ]
    return [
        Measured(Row("import-x", "Import of x", [], bars, "a note"), series),
        Measured(
            Row("mount-x", "Mount of x", [], [Bar("mount", "mount", at_most=2, unit="ms")]),
            [Series("arstore", [{"mount": [1.0, 5.0, 1.5]}])],
        ),
        Measured(
            Row("space", "Space", [], [Bar("outside", "outside", at_most=0, unit="MiB")]),
            [Series("arstore", [{"outside": [0.0]}])],
        ),
    ]


@pytest.fixture
def report() -> Report:
    found = Report("2030-01-01 00:00 UTC", 3, {"processor": "a processor"}, {"podman": "5.8.0"})
    found.rows.extend(measured())
    return found


def test_the_document_has_every_sample(report: Report) -> None:
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert document["format"] == 1
    assert document["versions"] == {"podman": "5.8.0"}
    row = document["rows"][0]
    assert row["contenders"][0] == {
        "label": "arstore",
        "failure": None,
        "samples": [{"seconds": [2.0], "cpu": [3.0]}, {"seconds": [2.2], "cpu": [3.0]}, {"seconds": [9.0]}],
    }
    assert [(bar["met"], bar["value"]) for bar in row["bars"]] == [(True, 10.0), (None, None), (False, 2.0)]
    assert row["bars"][1]["why"].startswith("skopeo: skopeo is not installed")


def test_the_table_has_a_line_a_bar(report: Report) -> None:
    lines = report.markdown().splitlines()
    assert "5 bars: 3 met, 1 not met, 1 not measured." in lines
    assert "| import, against podman load | ≥ 10× | 2.20 s | 22.0 s | 10.00× | met |" in lines
    assert "| import, against the floor | ≤ 1.5× | 2.20 s | 1.10 s | 2.00× | **not met** |" in lines
    assert "| mount | ≤ 2 ms | 1.50 ms |  |  | met |" in lines
    assert "| outside | ≤ 0 MiB | 0.00 MiB |  |  | met |" in lines


def test_text_from_elsewhere_does_not_break_the_table(report: Report) -> None:
    (line,) = [line for line in report.markdown().splitlines() if line.startswith("| import, against skopeo")]
    assert line.endswith("skopeo: skopeo is not installed in /secret/peers \\| at all |")
    assert "| import-x | skopeo | 0 | skopeo is not installed in /secret/peers \\| at all |" in report.markdown()


def test_the_picture_is_well_formed_and_has_a_bar_for_each_that_was_measured(report: Report, tmp_path: Path) -> None:
    report.write(str(tmp_path), {})
    root = ET.parse(tmp_path / "results.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert [rect.get("class") for rect in root.iter(f"{space}rect")] == ["met", "missed", "met", "met"]
    words = {text.text for text in root.iter(f"{space}text")}
    assert {"import, against skopeo & co <copy>", "not measured", "1.5 ms (≤ 2 ms)", "2× (≤ 1.5×)"} <= words
    width, height = (float(root.get(name) or 0) for name in ("width", "height"))
    for rect in root.iter(f"{space}rect"):
        x, y, w, h = (float(rect.get(name) or 0) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert x + w <= width
        assert y + h <= height


def test_every_figure_has_its_own_unit(report: Report) -> None:
    bars = [Bar("pull", against=("skopeo",), at_most=2), Bar("peak", "pss", at_most=150, unit="MiB")]
    more = Bar("requests of a pull", "requests", against=("skopeo",), at_most=1, unit="requests")
    sample = {"seconds": [7.0], "cpu": [8.55], "requests": [3.0], "pss": [78.0]}
    series = [Series("arstore", [sample]), Series("skopeo", [{**sample, "requests": [31.0]}])]
    report.rows.append(Measured(Row("pull", "Pull", [], [*bars, more]), series))
    report.rows.append(Measured(Row("memory", "Memory", [], bars[1:]), series))
    text = report.markdown()
    assert "| requests of a pull | ≤ 1× | 3 requests | 31 requests | 0.10× | met |" in text
    for name in ("pull", "memory"):
        assert f"| {name} | arstore | 1 | seconds 7.00 s, cpu 8.55 s, requests 3 requests, pss 78.0 MiB |" in text


def test_no_file_tells_where_it_was_measured(report: Report, tmp_path: Path) -> None:
    report.write(str(tmp_path / "out"), {"/secret/peers": "PEERS", "": "EMPTY"})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results.json", "results.md", "results.svg"]
    for path in (tmp_path / "out").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "/secret" not in text
        assert "EMPTY" not in text
    assert "in PEERS" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


def test_scrubbing_takes_the_longest_and_only_whole_words() -> None:
    replaced = {"/a": "A", "/a/b": "B", "host": "HOST"}
    assert scrub("/a/b/c /a/d x/a/b ghost host-1 (host) /ab", replaced) == "B/c A/d x/a/b ghost host-1 (HOST) /ab"


def test_a_report_without_rows_can_be_written(tmp_path: Path) -> None:
    Report("now", 1, {}, {}).write(str(tmp_path), {})
    ET.parse(tmp_path / "results.svg")


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00 s"), (0.0123, "0.012 s"), (1.234, "1.23 s"), (12.34, "12.3 s"), (1234.5, "1234 s")]
)
def test_quantities_have_about_three_digits(value: float, text: str) -> None:
    assert quantity(value, "s") == text
