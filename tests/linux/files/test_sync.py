import errno
import os

import pytest

from arstore.linux.files.sync import sync_directory, syncfs


def test_syncfs_takes_any_open_file(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    syncfs(fd)
    os.close(fd)


def test_an_o_path_descriptor_will_not_do(tmp_path):
    fd = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(OSError, match="Bad file") as caught:
            syncfs(fd)
        assert caught.value.errno == errno.EBADF
    finally:
        os.close(fd)


def test_syncing_needs_a_directory(tmp_path):
    sync_directory(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(str(tmp_path / "file"))
