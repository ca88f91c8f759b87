"""Which tree formats can be mounted: tried once for each boot and file system, and each result is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import stores

from arstore.mounts import probe
from arstore.mounts.probe import can_mount
from arstore.trees.forms import EROFS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.store import Store
    from arstore.trees.format import TreeFormat


class Named:
    """A format that has only a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.properties = EROFS._replace(name=name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stores.opened(tmp_path) as made:
        yield made


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tried formats; those that can be mounted begin with "yes"."""
    names: list[str] = []

    def attempt(_directories: object, form: TreeFormat) -> bool:
        names.append(form.name)
        return form.name.startswith("yes")

    monkeypatch.setattr(probe, "_try", attempt)
    return names


def file_of(store: Store) -> Path:
    return Path(store.directories.runroot, "forms.json")


def test_each_form_is_tried_once_and_all_answers_are_kept(store, tried):
    names = ["yes-1", "no-1", "yes-2", "no-2"]
    for _ in range(3):
        assert [can_mount(store.directories, Named(name)) for name in names] == [True, False, True, False]
    assert tried == names
    known = json.loads(file_of(store).read_text())
    assert {name: known[name] for name in names} == {"yes-1": True, "no-1": False, "yes-2": True, "no-2": False}
    assert known.keys() == {"boot", "device", *names}


@pytest.mark.parametrize("field", ["boot", "device"])
def test_answers_of_another_boot_or_file_system_are_forgotten(store, tried, field):
    assert can_mount(store.directories, Named("yes-1"))
    known = json.loads(file_of(store).read_text())
    file_of(store).write_text(json.dumps({**known, field: "another", "yes-2": False}))
    assert can_mount(store.directories, Named("yes-2"))
    assert tried == ["yes-1", "yes-2"]
    assert "yes-1" not in json.loads(file_of(store).read_text())


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 10_000, '{"yes-1": true}', "\xe9"])
def test_a_file_that_makes_no_sense_is_made_again(store, tried, content):
    file_of(store).write_text(content)
    assert can_mount(store.directories, Named("yes-1"))
    assert tried == ["yes-1"]
    assert can_mount(store.directories, Named("yes-1"))
    assert tried == ["yes-1"]


def test_an_answer_that_is_none_is_asked_for_again(store, tried):
    assert can_mount(store.directories, Named("yes-1"))
    known = json.loads(file_of(store).read_text())
    file_of(store).write_text(json.dumps({**known, "yes-1": "false", "yes-2": True}))
    assert can_mount(store.directories, Named("yes-1"))
    assert json.loads(file_of(store).read_text())["yes-2"] is True


def test_an_answer_that_another_process_gave_meanwhile_is_kept(store, monkeypatch):
    def attempt(directories: object, form: TreeFormat) -> bool:
        if form.name == "outer":
            assert not can_mount(store.directories, Named("inner"))
        return form.name == "outer"

    monkeypatch.setattr(probe, "_try", attempt)
    assert can_mount(store.directories, Named("outer"))
    known = json.loads(file_of(store).read_text())
    assert (known["inner"], known["outer"]) == (False, True)
