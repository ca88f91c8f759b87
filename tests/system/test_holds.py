"""The writer's lock on a store of some images: every command is timed, and none that only reads takes the lock."""

from __future__ import annotations

import pytest
from reliability import holds, kills
from support.largestore import Shape

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.long]


def test_every_command_is_watched(tmp_path):
    kills.import_everything()
    found = holds.measured(tmp_path, Shape(30))
    assert all(hold.seconds > 0 <= hold.processor for held in found.values() for hold in held)
    none = {name for name, held in found.items() if not held}
    assert none == {"umount", "check --repair of nothing"}
