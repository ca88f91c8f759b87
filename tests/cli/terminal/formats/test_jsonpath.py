"""JSON paths: kubectl's syntax for naming values."""

from __future__ import annotations

import pytest

from arstore.cli.terminal.formats.jsonpath import JsonPath
from arstore.errors import UsageError

DOCUMENT = {
    "id": "x",
    "n": 5,
    "env": ["A=1", "B=2", "C=3"],
    "labels": {"a.b": "c", "d": "e"},
    "mounts": [{"s": 1}, {"s": 2}],
    "none": None,
}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("{.id}", "x"),
        ("{$.id}{@.id}", "xx"),
        ("{.n} {.none} {.mounts[0]}", '5 null {"s":1}'),
        ("{.env[0]},{.env[-1]},{.env[0:2]},{.env[1:]}", "A=1,C=3,A=1 B=2,B=2 C=3"),
        ("{.env[*]}", "A=1 B=2 C=3"),
        ("{.labels['a.b']}{.labels[\"d\"]}{.labels.a\\.b}", "cec"),
        ("{.labels.*}", "c e"),
        ('{range .mounts[*]}<{.s}>{"\\n"}{end}', "<1>\n<2>\n"),
        ("{.nope}{.nope.more}{.env[9]}{.id.x}", ""),
        ("{ .id }", "x"),
        ("{.}", None),
    ],
)
def test_output(text, output):
    found = JsonPath(text).render(DOCUMENT)
    assert output is None or found == output


@pytest.mark.parametrize(
    ("text", "place"),
    [("{.a", 4), ("{..a}", 2), ("x{a}", 3), ("{.a[?(@.x)]}", 4), ("{end}", 1), ("{range .a}", 1), ("{.a[x]}", 4)],
)
def test_an_error_names_its_place(text, place):
    with pytest.raises(UsageError, match=f"character {place}:"):
        JsonPath(text)


def test_nesting_is_bounded():
    with pytest.raises(UsageError, match="nested"):
        JsonPath("{range .a}" * 30 + "{end}" * 30)
