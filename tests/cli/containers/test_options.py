"""Files of the host that options of `run` and `load` read."""

from __future__ import annotations

import pytest

from arstore.cli.containers.options.env import env_file
from arstore.cli.containers.options.mount import with_mounts
from arstore.errors import UsageError
from arstore.runtime.spec.options import RunOptions


def test_files_that_are_no_files_of_variables(tmp_path):
    """A wrong path is refused without reading it into memory."""
    path = tmp_path / "env"
    path.write_bytes(b"A=b\n# comment\n\n")
    assert env_file(str(path)) == ("A=b",)
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        env_file(str(path))


NO_MOUNTS = {"volume": (), "tmpfs": (), "mount": (), "volumes_from": (), "image_volume": "anonymous"}


@pytest.mark.parametrize(
    ("option", "text", "other"),
    [
        ("volume", "data:/mnt", "data:/mnt:ro"),
        ("tmpfs", "/mnt", "/mnt:size=1m"),
        ("mount", "type=tmpfs,dst=/mnt", "type=tmpfs,dst=/mnt,ro"),
    ],
)
def test_a_mount_that_is_given_twice(option, text, other):
    """The same words count once, as in podman; others for the same place are refused."""
    once = with_mounts(RunOptions(), {**NO_MOUNTS, option: (text,)})
    assert with_mounts(RunOptions(), {**NO_MOUNTS, option: (text, text)}) == once
    with pytest.raises(UsageError, match="two things are to be mounted there"):
        with_mounts(RunOptions(), {**NO_MOUNTS, option: (text, other)})
