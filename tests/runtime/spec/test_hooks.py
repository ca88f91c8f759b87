"""OCI hooks: how they are chosen, and files that are not hooks."""

import json

import pytest

from arstore.errors import UsageError
from arstore.runtime.spec.hooks import Occasion, hooks

HOOK = {"path": "/bin/true", "args": ["true"], "timeout": 3}
OCCASION = Occasion("/bin/sh", {"org.example": "yes"}, True)


def write(directory, name="a.json", **changes):
    document = {"version": "1.0.0", "hook": HOOK, "when": {"always": True}, "stages": ["prestart"]} | changes
    (directory / name).write_text(json.dumps(document))


def test_hooks_by_stage_and_file_name(tmp_path):
    write(tmp_path, "b.json", hook=HOOK | {"args": ["second"]})
    write(tmp_path, "a.json", stages=["prestart", "poststop"])
    (tmp_path / "not-json.txt").write_text("x")
    found = hooks([str(tmp_path)], OCCASION)
    assert [one["args"] for one in found["prestart"]] == [["true"], ["second"]]
    assert found["poststop"] == [HOOK]


def test_a_later_directory_wins(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, hook=HOOK | {"args": [name]})
    found = hooks([str(tmp_path / "one"), str(tmp_path / "two")], OCCASION)
    assert [one["args"] for one in found["prestart"]] == [["two"]]


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"always": True}, True),
        ({"always": False}, False),
        ({}, False),
        ({"commands": ["^/bin/(sh|bash)$"]}, True),
        ({"commands": ["^/usr"]}, False),
        ({"annotations": {"^org\\.example$": "^yes$"}}, True),
        ({"annotations": {"^org\\.example$": "^no$"}}, False),
        ({"hasBindMounts": True}, True),
        ({"hasBindMounts": False}, False),
        ({"always": True, "commands": ["^/usr"]}, False),
    ],
)
def test_conditions(tmp_path, when, fits):
    write(tmp_path, when=when)
    assert bool(hooks([str(tmp_path)], OCCASION)) is fits


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "0.1.0"},
        {"hook": {"path": "relative"}},
        {"hook": {"path": "/x", "args": "text"}},
        {"hook": {"path": "/x", "other": 1}},
        {"hook": []},
        {"when": {"sometimes": True}},
        {"when": {"commands": ["("]}},
        {"when": {"always": "yes"}},
        {"stages": []},
        {"stages": ["never"]},
    ],
)
def test_what_is_refused(tmp_path, changes):
    write(tmp_path, **changes)
    with pytest.raises(UsageError):
        hooks([str(tmp_path)], OCCASION)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_no_documents(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError):
        hooks([str(tmp_path)], OCCASION)
