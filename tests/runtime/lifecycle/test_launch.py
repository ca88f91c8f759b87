"""The launcher's work for a container before it starts."""

from __future__ import annotations

import os
import stat

import pytest

from arstore.runtime.lifecycle import launch


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o700, 0o777, 0])
def test_a_directory_that_is_handed_over_is_the_users_to_write_and_everybodys_to_read(tmp_path, mode):
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(mode)
    launch._hand_over(str(place), (1234, 5678))
    status = place.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o755)


@pytest.mark.root
def test_what_a_symlink_leads_to_is_not_handed_over(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    with pytest.raises(OSError, match="Not a directory"):
        launch._hand_over(str(tmp_path / "link"), (1234, 5678))
    assert os.stat(tmp_path / "kept").st_uid == os.geteuid()
