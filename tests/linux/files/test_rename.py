"""Names that change places."""

from __future__ import annotations

import errno
import os

import pytest

from arstore.linux.files import rename
from arstore.linux.files.rename import exchange


def test_directories_and_files_change_places(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "in").write_text("directory")
    (tmp_path / "other").write_text("file")
    if not exchange(str(tmp_path / "one"), str(tmp_path / "other")):
        pytest.skip("this file system cannot exchange names")
    assert (tmp_path / "one").read_text() == "file"
    assert (tmp_path / "other" / "in").read_text() == "directory"


def test_both_have_to_be_there(tmp_path):
    (tmp_path / "one").write_text("file")
    with pytest.raises(FileNotFoundError):
        exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert os.listdir(tmp_path) == ["one"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_hosts_that_cannot(tmp_path, monkeypatch, number):
    def refuse(*_arguments, **_more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(rename, "libc", refuse)
    assert exchange("one", "other") is False
