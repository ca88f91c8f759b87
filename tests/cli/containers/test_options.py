"""Files of the host that options of `run` and `load` read."""

from __future__ import annotations

import pytest

from arstore.cli.containers.options.env import env_file
from arstore.errors import UsageError


def test_files_that_are_no_files_of_variables(tmp_path):
    """A wrong path is refused without reading it into memory."""
    path = tmp_path / "env"
    path.write_bytes(b"A=b\n# comment\n\n")
    assert env_file(str(path)) == ("A=b",)
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        env_file(str(path))
