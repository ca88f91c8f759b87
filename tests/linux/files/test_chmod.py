import os
import stat

import pytest

from arstore.linux.files import chmod


@pytest.fixture
def directory(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("old_kernel", [False, True])
def test_modes_of_nodes(directory, tmp_path, monkeypatch, old_kernel):
    if old_kernel:
        monkeypatch.setattr(chmod, "_FCHMODAT2", 9999)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "file").touch()
    chmod.chmod_node(directory, b"pipe", 0o640)
    chmod.chmod_node(directory, b"file", 0o4711)
    assert stat.S_IMODE(os.stat(tmp_path / "pipe").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(tmp_path / "file").st_mode) == 0o4711


def test_a_symlink_is_not_followed(directory, tmp_path):
    (tmp_path / "file").touch(0o600)
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="not supported"):
        chmod.chmod_node(directory, b"link", 0o777)
    assert stat.S_IMODE(os.stat(tmp_path / "file").st_mode) == 0o600
