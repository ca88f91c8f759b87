"""README: its commands, typed as they are there; its figures; and that it stays short."""

from __future__ import annotations

import re

import pytest
from support import markdown
from support.cli import REPOSITORY, Arstore
from support.programs import program
from support.typing_pages import typed

FIGURE = r"\d[\d.,]* (?:s|ms|MB|MiB)\b|\d[\d.]*×"


def section(name: str) -> markdown.Section:
    (found,) = [one for one in markdown.sections(markdown.page("README.md")) if one.heading == name]
    return found


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
def test_the_lines_of_use(tmp_path, store_root, runroot, busybox):
    store = Arstore(store_root, runroot)
    use, others = [code for _, code in section("Use").fences]
    place = tmp_path / "clone"
    place.mkdir()
    (place / "tools").symlink_to(REPOSITORY / "tools")
    said = typed(store, use, place, timeout=300)
    assert "Hello from an image that a container built." in said
    assert (place / "rootfs/bin/busybox").exists()
    names = {name for image in store.json("images") for name in image["names"]}
    assert {"greeter:1", "counter:1"} <= names
    for line in others.splitlines():
        if program(line.split()[0]) is not None:
            typed(store, line.replace("/var/lib/ar", str(store.root)), place)
    assert not program("umoci") or (place / "bundle/rootfs/greeting").exists()


def test_the_figures_are_those_of_the_benchmarks():
    figures = re.findall(FIGURE, section("How fast").text)
    measured = markdown.page("docs/benchmarks.md")
    assert len(figures) > 10
    assert [figure for figure in figures if figure not in measured] == []


def test_power_cuts_are_those_of_the_exercise():
    page = markdown.page("docs/design/reliability.md")
    (row,) = re.findall(r"^\| cuts with any fault \|.*\| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    (ours,) = re.findall(
        r"^\| of these (?:not whole|incomplete) .*?\| \*\*(\d+)\*\* \| \*\*(\d+)\*\* \|", page, re.MULTILINE
    )
    (line,) = [line for line in section("Compared with other tools").text.splitlines() if "#power-cuts" in line]
    assert f"| {', '.join(ours)} | {', '.join(row)} (podman) |" in line


def test_it_can_be_read_in_three_minutes():
    lines = markdown.page("README.md").splitlines()
    assert len(lines) <= 150
    assert all(len(line) <= 120 for line in lines if not line.startswith("|"))
