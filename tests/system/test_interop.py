"""The matrix of docs/interop.md with the tools that this host has, and the page itself."""

from __future__ import annotations

import pytest
from interop.matrix import FAILED, PROGRAMS, run
from interop.reading import DOCKER_ARCHIVE, KINDS, OCI_ARCHIVE
from interop.report import table
from interop.tools import REPOSITORY, Runner
from support import programs

QUICK = {OCI_ARCHIVE, DOCKER_ARCHIVE}


@pytest.mark.root
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.long) for kind in KINDS]
)
def test_the_tools_of_this_host(tmp_path, kind):
    if not any(map(programs.program, ("skopeo", "umoci", "podman"))):
        pytest.skip("not installed: skopeo, umoci, podman")
    if kind in PROGRAMS and programs.program(PROGRAMS[kind]) is None:
        pytest.skip(f"not installed: {PROGRAMS[kind]}")
    cells = list(run(Runner(tmp_path), [kind]))
    assert [cell for cell in cells if cell.outcome == FAILED] == []
    assert "arstore" in {cell.reader for cell in cells}
    assert "**✗**" not in table(cells, {}).partition("## ")[2]


def test_the_page_has_no_failure():
    page = (REPOSITORY / "docs/interop.md").read_text()
    assert "## Several platforms" in page
    assert all(page.count(f"\n| {kind} | arstore |") >= 1 for kind in KINDS)
    assert "✗** " not in page.partition("## One platform")[2]
