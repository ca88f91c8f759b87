"""The record of a store's subordinate ids: which other ids still mean the same."""

from __future__ import annotations

import pytest

from arstore.disk import granted_ids
from arstore.errors import HostError, StoreDamagedError
from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.user_namespace import IdMaps, IdRange, maps_for

MAPS = maps_for(1000, 1000, [(100_000, 65_536)], [(100_000, 65_536)])
ONE = maps_for(1000, 1000, [], [])


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    def record(maps):
        monkeypatch.setattr(user_namespace, "is_initial", lambda: maps is None)
        monkeypatch.setattr(user_namespace, "current", lambda: maps)
        granted_ids.record(str(tmp_path))
        return str(tmp_path)

    return record


def test_ids_are_recorded_once(recorded):
    root = recorded(MAPS)
    assert granted_ids.recorded(root) == MAPS
    assert recorded(MAPS) == root


def test_nothing_is_recorded_on_the_host(recorded):
    root = recorded(None)
    assert not granted_ids.are_recorded(root)
    granted_ids.require_same(root, MAPS)


def test_a_single_id_never_replaces_others(recorded):
    recorded(ONE)
    recorded(MAPS)
    assert granted_ids.recorded(recorded(ONE)) == MAPS


def test_the_layout_of_maps():
    maps = maps_for(1000, 1001, [(5, 2), (50, 3)], [(7, 1)])
    assert maps.uids == (IdRange(0, 1000, 1), IdRange(1, 5, 2), IdRange(3, 50, 3))
    assert maps.gids == (IdRange(0, 1001, 1), IdRange(1, 7, 1))
    assert (maps.has_uid(5), maps.has_uid(6), maps.has_gid(1), maps.has_gid(2)) == (True, False, True, False)
    assert (maps.is_single, ONE.is_single) == (False, True)


@pytest.mark.parametrize(
    "uids",
    [
        [(100_000, 65_536)],
        [(100_000, 65_536), (300_000, 10)],
        [(100_000, 70_000)],
    ],
)
def test_ids_that_go_on(recorded, uids):
    granted_ids.require_same(recorded(MAPS), maps_for(1000, 1000, uids, uids))


@pytest.mark.parametrize("uids", [[(200_000, 65_536)], [(100_000, 65_535)], [(300_000, 10), (100_000, 65_536)]])
def test_ids_that_mean_something_else(recorded, uids):
    root = recorded(MAPS)
    with pytest.raises(HostError, match="100000-165535"):
        granted_ids.require_same(root, maps_for(1000, 1000, uids, uids))
    with pytest.raises(HostError):
        granted_ids.require_same(root, IdMaps(MAPS.uids, maps_for(1000, 1000, uids, uids).gids))


def test_one_id_is_no_conflict(recorded):
    granted_ids.require_same(recorded(MAPS), ONE)
    granted_ids.require_same(recorded(ONE), MAPS)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"uids": 1, "gids": 2}', '{"uids": [["a"]], "gids": []}'])
def test_a_damaged_record(tmp_path, text):
    (tmp_path / "ids.json").write_text(text)
    with pytest.raises(StoreDamagedError):
        granted_ids.recorded(str(tmp_path))
