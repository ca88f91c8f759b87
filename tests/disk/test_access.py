"""Permission to use a store: in another user's store, root gives new files to that user."""

from __future__ import annotations

import os

import pytest

from arstore.disk.access import give_to_owner
from arstore.disk.paths import Directories
from arstore.errors import PermissionDeniedError

pytestmark = pytest.mark.root

OTHER = 1234


def test_a_file_is_given_to_the_owner_of_its_directory(tmp_path):
    for owner in (OTHER, 0):
        os.chown(tmp_path, owner, owner)
        fd = os.open(tmp_path / f"new{owner}", os.O_RDWR | os.O_CREAT, 0o600)
        give_to_owner(fd, str(tmp_path))
        status = os.fstat(fd)
        os.close(fd)
        assert (status.st_uid, status.st_gid) == (owner, owner)


def test_a_directory_of_another_user_is_not_made_a_store(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, OTHER, OTHER)
    with pytest.raises(PermissionDeniedError):
        Directories(str(root), str(tmp_path / "run")).create()
    assert os.listdir(root) == []
    assert not (tmp_path / "run").exists()
