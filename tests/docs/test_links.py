"""Every link of every page leads to a file of the checkout, and to a heading if it names one."""

from __future__ import annotations

import pytest
from support import markdown
from support.cli import REPOSITORY

PAGES = {str(path.relative_to(REPOSITORY)): path for path in markdown.pages()}
OUTSIDE = ("http://", "https://", "mailto:")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    path = PAGES[name]
    wrong = []
    for link in markdown.linked(path.read_text(encoding="utf-8")):
        if link.startswith(OUTSIDE):
            continue
        file, _, fragment = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.is_relative_to(REPOSITORY) or not target.exists():
            wrong.append(f"{link}: no such file")
        elif fragment and fragment not in markdown.anchors(target.read_text(encoding="utf-8")):
            wrong.append(f"{link}: no such heading")
    assert wrong == []


def test_all_pages_are_read():
    assert {"README.md", "CHANGELOG.md", "docs/README.md", "docs/cli.md", "docs/design/style.md"} <= PAGES.keys()
    assert sum(len(markdown.linked(path.read_text(encoding="utf-8"))) for path in PAGES.values()) > 200


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](b.md) ![c](d.svg)", ["b.md", "d.svg"]),
        ("[`a`](b.md#c) and `[x](y)`", ["b.md#c"]),
        ("```sh\n[a](b)\n```\n[c](d)\n", ["d"]),
        ("text\n\n    [a](b)\n\n[c](d)\n", ["d"]),
        ("- [a [b]](c)\n- [x](https://h/e(f))\n", ["c", "https://h/e(f)"]),
    ],
)
def test_what_is_a_link(text, found):
    assert markdown.linked(text) == found


def test_anchors_are_those_of_github():
    text = "# The `x --y` way\n\n```sh\n# no heading\n```\n\n## It's 100%: a, b\n\n## Same\n\n## Same\n\n## 使用 it\n"
    assert {"the-x---y-way", "its-100-a-b", "same", "same-1", "使用-it"} <= markdown.anchors(text)
    assert "no-heading" not in markdown.anchors(text)
