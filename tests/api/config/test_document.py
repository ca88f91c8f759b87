"""The content of a configuration file: what is accepted, and what is refused with the key or the line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.api.config import document
from arstore.cli.session import LEVELS
from arstore.errors import ConfigFileError, UsageError
from arstore.tar.limits import Limits, changed, limit_names
from arstore.trees.forms import AUTO, FORMS

PATH = "/etc/arstore/config.toml"

EVERYTHING = """
root = "/srv/images"
runroot = "~/run"
runtime = "crun"
tree = "erofs"
policy = "/etc/images.json"
log-level = "debug"
max-size = "20g"
high-water = 1000
low-water = 0
protect = ["base:*", "sha256:ab*"]

[limits]
inflated = "2t"
ratio = 1000
reserve = 0

[load]
require-label = true

[[additional-store]]
path = "/media/images/store"

[[additional-store]]
path = "~/store"
owner = "builder"
"""


def parsed(text):
    return document.parse(PATH, text.encode())


def refused(text):
    with pytest.raises(ConfigFileError) as caught:
        document.parse(PATH, text if isinstance(text, bytes) else text.encode())
    assert caught.value.what == PATH
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


def test_every_key_is_read():
    assert parsed(EVERYTHING) == {
        "root": "/srv/images",
        "runroot": "~/run",
        "runtime": "crun",
        "tree": "erofs",
        "policy": "/etc/images.json",
        "log-level": "debug",
        "max-size": 20 << 30,
        "high-water": 1000,
        "low-water": 0,
        "protect": ["base:*", "sha256:ab*"],
        "limits.inflated": 2 << 40,
        "limits.ratio": 1000,
        "limits.reserve": 0,
        "load.require-label": True,
        "additional-store": [["/media/images/store", ""], ["~/store", "builder"]],
    }


def test_an_empty_file_says_nothing():
    assert parsed("") == parsed("# nothing\n") == parsed("[limits]\n[load]\n") == {}
    assert parsed("additional-store = []") == {"additional-store": []}


def test_the_parsed_form_survives_json():
    assert json.loads(json.dumps(parsed(EVERYTHING))) == parsed(EVERYTHING)


def test_the_keys_are_those_of_the_options():
    limits = {key.removeprefix("limits.") for key in document.every_key() if key.startswith("limits.")}
    assert limits == set(limit_names())
    assert document.LEVELS == LEVELS
    for form in (AUTO, *FORMS):
        assert parsed(f'tree = "{form}"') == {"tree": form}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("root = 1", "root is not a text in quotes, but a whole number"),
        ("root = true", "root is not a text in quotes, but true or false"),
        ("root = 1979-05-27", "root is not a text in quotes, but a date or time"),
        ('root = ["/a"]', "root is not a text in quotes, but a list"),
        ('root = ""', "root is empty"),
        ('root = "a/b"', "root is not a path that begins with / or ~/: 'a/b'"),
        ('root = "~builder/x"', "root is not a path that begins with / or ~/"),
        ('root = "/a\\u0000b"', "root has characters that cannot be printed"),
        ('root = "/a\\nb"', "root has characters that cannot be printed"),
        ('runtime = "bin/crun"', "runtime is not a path that begins with / or ~/"),
        ('tree = "zfs"', "tree cannot be 'zfs'"),
        ('log-level = "loud"', "log-level cannot be 'loud'"),
        ('max-size = "20"\nhigh-water = "much"', "high-water = 'much': its value is not a whole number"),
        ("max-size = -1", "max-size = '-1': its value is not a whole number"),
        ("max-size = 1.5", "max-size is not a size, but a fraction"),
        ("max-size = true", "max-size is not a size, but true or false"),
        ('protect = "base:*"', "protect is not a list of texts, but a text"),
        ("protect = [1]", "protect is not a text in quotes, but a whole number"),
        ('protect = [""]', "protect is empty"),
        (f"protect = {['x'] * 1001}", "protect has more than 1000 patterns"),
        ('rot = "/a"', "unknown key 'rot'"),
        ('Root = "/a"', "unknown key 'Root'"),
        ('limits.root = "/a"', "unknown key 'limits.root'"),
        ("limits = 3", "limits is not a table, but a whole number"),
        ("load = []", "load is not a table, but a list"),
        ('[load]\nrequire-label = "yes"', "load.require-label is not true or false, but a text"),
        ("[load]\nrequire-label = 1", "load.require-label is not true or false, but a whole number"),
        ("[load]\nlabel = true", "unknown key 'load.label'"),
        ("[limits]\ninflatd = 1", "unknown key 'limits.inflatd'"),
        ("[limits]\nindex_memory = 1", "unknown key 'limits.index_memory'"),
        ("[limits]\nstrict-xattrs = 1", "unknown key 'limits.strict-xattrs'"),
        ("[limits]\nratio = 1.5", "limits.ratio is not a number, but a fraction"),
        ("[limits]\nratio = true", "limits.ratio is not a number, but true or false"),
        ("[limits]\nratio = -1", "limits.ratio = '-1': its value is not a whole number"),
        ("[limits]\nratio = 0", "limits.ratio = '0': a limit must be at least 1"),
        ('[limits]\nratio = "1x"', "limits.ratio = '1x': its value is not a whole number"),
        ('[limits]\nratio = "1 g"', "limits.ratio = '1 g': its value is not a whole number"),
        ('[limits]\nratio = "1gg"', "limits.ratio = '1gg': its value is not a whole number"),
        ("[limits]\nratio = 9999999999999999999999", "its value is not a whole number"),
        ('additional-store = ["/a"]', "additional-store is not a list of tables"),
        ('[additional-store]\npath = "/a"', "additional-store is not a list of tables"),
        ('[[additional-store]]\nowner = "x"', "an additional-store has no path"),
        ('[[additional-store]]\npath = "a"', "additional-store.path is not a path"),
        ('[[additional-store]]\npath = "/a"\nowner = 7', "additional-store.owner is not a text"),
        ('[[additional-store]]\npath = "/a"\nowners = "x"', "unknown key 'additional-store.owners'"),
        ("root = ", "is not TOML: invalid value (at the end, line 1)"),
        ('root = "/a"\nroot = "/b"', "line 2)"),
        ('root = "/a"\n\n[limits', "line 3"),
        (b'root = "\xff"', "is not UTF-8 (line 1)"),
        (b"# a\n# b\n\xff", "is not UTF-8 (line 3)"),
        (b"\0" * 10, "is not TOML"),
        ("a = " + "[" * 10_000, "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(text, why):
    assert why in refused(text).why


def test_a_misspelt_key_has_a_suggestion():
    assert refused('runrot = "/a"').hint == "did you mean runroot?"
    assert refused("[limits]\ninflatd = 1").hint == "did you mean limits.inflated?"
    assert "root, runroot, runtime" in refused("zzz = 1").hint


@given(st.sampled_from(sorted(limit_names())), st.text(max_size=12) | st.integers())
def test_a_limit_means_what_the_option_means(name, value):
    try:
        expected = changed([f"{name}={value}"])
    except UsageError:
        expected = None
    text = value if isinstance(value, int) else json.dumps(value)
    try:
        found = parsed(f"[limits]\n{name} = {text}")
    except ConfigFileError:
        found = None
    assert (found is None) == (expected is None)
    if found is not None:
        assert found == {f"limits.{name}": getattr(expected, limit_names()[name])}


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_one_error(data):
    try:
        document.parse(PATH, data)
    except ConfigFileError:
        refused(data)


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8).filter(str.isprintable),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from([*document.top_keys(), "load.require-label", "limits.ratio"]), VALUES)
def test_any_value_is_a_setting_or_names_its_key(key, value):
    text = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    try:
        found = parsed(text)
    except ConfigFileError:
        assert key.partition(".")[0] in refused(text).why
    else:
        assert set(found) <= {key}


def test_the_fields_of_limits_are_numbers():
    for name, field in limit_names().items():
        assert isinstance(getattr(Limits(**{field: 5}), field), int), name
