"""Invalid configuration files."""

import os

import pytest

from arstore.errors import RegistryConfigError
from arstore.registry.configuration.places import read_file


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(RegistryConfigError, match=r"is not a file|is a directory"):
        read_file(str(tmp_path / "x"))


def test_files_and_absent_ones(tmp_path):
    (tmp_path / "x").write_bytes(b"content")
    assert read_file(str(tmp_path / "x")) == b"content"
    assert read_file(str(tmp_path / "y")) is None
    assert read_file(str(tmp_path / "x" / "y")) is None
    assert read_file("/dev/null") == b""
