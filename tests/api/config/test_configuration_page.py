"""docs/configuration.md has the keys that are accepted, their defaults, and an example that can be used."""

from __future__ import annotations

import re

from support.cli import REPOSITORY

from arstore.api.config import document
from arstore.cli.main import cli
from arstore.cli.parameter import Option
from arstore.tar.limits import Limits, limit_names, parse_limit

PAGE = (REPOSITORY / "docs" / "configuration.md").read_text()
ROWS = re.findall(r"^\| `([a-z.-]+)` \|(.*)\|$", PAGE, re.MULTILINE)
DESCRIBED = {"limits.reserve", "limits.inodes"}
"""Limits whose default depends on the file system, and is given in words."""


def test_the_keys_are_those_that_are_accepted():
    assert [key for key, _ in ROWS] == sorted([key for key, _ in ROWS], key=order)
    assert {key for key, _ in ROWS} == set(document.every_key())
    assert len(ROWS) == len(document.every_key())


def order(key):
    """The tables come in two parts: the limits are the second."""
    return key.startswith("limits.")


def test_the_defaults_of_limits():
    for key, rest in ROWS:
        if key.startswith("limits.") and key not in DESCRIBED:
            name = key.removeprefix("limits.")
            default = getattr(Limits(), limit_names()[name])
            assert parse_limit(name, rest.split("|")[0].strip(), key) == default, key


def test_the_example_is_right_and_has_every_key():
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    found = document.parse("example.toml", example.encode())
    wanted = {key for key in document.every_key() if not key.startswith(("limits.", document.ADDITIONAL))}
    assert wanted <= set(found)
    assert any(key.startswith("limits.") for key in found)
    assert [bool(owner) for _, owner in found[document.ADDITIONAL]] == [False, True]


def test_the_options_exist():
    known = {name for one in cli.parameters if isinstance(one, Option) for name in one.names}
    for command in ("import", "load", "run", "convert"):
        known |= {name for one in cli.find(command).parameters if isinstance(one, Option) for name in one.names}
    named = {name for _, rest in ROWS for name in re.findall(r"`(--[a-z-]+)`", rest)}
    assert named
    assert named <= known
