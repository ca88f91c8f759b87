"""Flipped bits: two places of each kind of file, all found and repaired; 500 with `tools/reliability bitflips`."""

from __future__ import annotations

import pytest
from reliability.bitflips import KINDS, run

from arstore.mounts.probe import can_mount
from arstore.store.store import Store

pytestmark = [pytest.mark.root, pytest.mark.mounts]


def test_a_place_of_each_kind(tmp_path):
    with Store(str(tmp_path / "probe"), str(tmp_path / "probe-run")) as store:
        if not can_mount(store.directories, store.forms["erofs"]):
            pytest.skip("this host does not mount EROFS from files or loop devices")
    place = tmp_path / "place"
    place.mkdir()
    told = []
    tally = run(place, len(KINDS), 5, told.append)
    assert told == []
    assert tally.tried == dict.fromkeys(KINDS, 1)
    assert tally.found == tally.mended == tally.tried
