"""Challenges as registries and proxies write them, and invalid ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.registry.auth.challenge import challenges


def read(*lines):
    return [(one.scheme, dict(one.parameters)) for one in challenges(lines)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('BASIC Realm="x"', [("basic", {"realm": "x"})]),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ("Negotiate", [("negotiate", {})]),
        ("Negotiate abc==, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        (
            'Newauth realm="a, b", x=1 , Basic realm="c"',
            [("newauth", {"realm": "a, b", "x": "1"}), ("basic", {"realm": "c"})],
        ),
        (r'Bearer realm="a\"b\\c"', [("bearer", {"realm": 'a"b\\c'})]),
        ("Basic, Bearer realm=r", [("basic", {}), ("bearer", {"realm": "r"})]),
        ('Bearer realm = "r" , service= s', [("bearer", {"realm": "r", "service": "s"})]),
        ('Bearer realm="r" service="s"', [("bearer", {"realm": "r", "service": "s"})]),
        ('Bearer realm="r",realm="other"', [("bearer", {"realm": "r"})]),
        (", ,Basic realm=x,,", [("basic", {"realm": "x"})]),
        ('Bearer realm="unfinished', [("bearer", {})]),
        ('realm="nobody"', []),
        ("", []),
        ('Bearer scope=""', [("bearer", {"scope": ""})]),
    ],
)
def test_challenges(line, expected):
    assert read(line) == expected


def test_several_lines_are_one_list():
    assert read('Bearer realm="r"', 'Basic realm="b"') == [("bearer", {"realm": "r"}), ("basic", {"realm": "b"})]


def test_a_line_without_end_is_passed_over():
    assert read("Bearer realm=" + "x" * 20_000, "Basic realm=b") == [("basic", {"realm": "b"})]


@given(st.lists(st.text(max_size=200), max_size=3))
def test_anything_can_be_read(lines):
    challenges(lines)
