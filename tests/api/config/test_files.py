"""Which files are read: none that another user could have written."""

from __future__ import annotations

import os
import stat

import pytest
from support import stores

from arstore.api.config import files
from arstore.errors import ConfigFileError

NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "config.toml"
    found.write_text('root = "/a"\n')
    found.chmod(0o644)
    return found


def why(path, **words):
    with pytest.raises(ConfigFileError) as caught:
        files.read(str(path), **words)
    with pytest.raises(ConfigFileError) as looked:
        files.look(str(path), **words)
    assert looked.value.why == caught.value.why
    return caught.value.why


def test_a_file_of_ones_own_is_read(path):
    data, status = files.read(str(path))
    assert data == b'root = "/a"\n'
    assert status.st_ino == files.look(str(path)).st_ino == path.stat().st_ino


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o777])
def test_a_file_that_others_can_write_is_refused(path, mode):
    path.chmod(mode)
    assert why(path) == "can be written to by users other than its owner"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o444, 0o755])
def test_a_file_that_others_can_only_read_is_read(path, mode):
    path.chmod(mode)
    assert files.read(str(path))[0]


@pytest.mark.root
def test_another_users_file_does_not_steer_root(path):
    os.chown(path, NOBODY, NOBODY)
    assert why(path) == "belongs to nobody, and root reads only files of root"


@pytest.mark.root
def test_a_symlink_is_judged_by_its_file(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    assert files.read(str(link))[0]
    os.chown(path, NOBODY, NOBODY)
    assert "belongs to nobody" in why(link)


@pytest.mark.root
def test_an_ordinary_user_reads_own_files_and_roots(tmp_path):
    for name, owner in (("own", NOBODY), ("roots", 0), ("other", 1)):
        (tmp_path / name).write_text("")
        os.chown(tmp_path / name, owner, owner)
    import arstore.disk.access  # noqa: F401 - an ordinary user may lack access to this Python's library

    os.chmod(tmp_path, 0o755)
    directory = os.open(tmp_path, os.O_PATH)

    def work():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.fchdir(directory)
        assert files.read("own")[0] == files.read("roots")[0] == b""
        with pytest.raises(ConfigFileError, match="only files of this user and of root are read"):
            files.read("other")

    stores.forked(work)
    os.close(directory)


def test_what_is_not_a_file_is_refused(tmp_path):
    assert why(tmp_path) == "is a directory"
    os.mkfifo(tmp_path / "fifo", 0o644)
    assert why(tmp_path / "fifo") == "is not a regular file"
    assert why(tmp_path / "none") == "does not exist"
    assert why(tmp_path / "none" / "below") == "does not exist"
    assert why("a\0b") == "is not a path"
    (tmp_path / "circle").symlink_to("circle")
    assert "too many levels of symbolic links" in why(tmp_path / "circle")


def test_a_huge_file_is_refused(path):
    os.truncate(path, files.LARGEST + 1)
    with pytest.raises(ConfigFileError, match="has more than 1 MiB"):
        files.read(str(path))


def test_an_unmapped_owner_is_accepted_only_in_the_hosts_place(path, monkeypatch):
    status = os.stat(path)
    foreign = os.stat_result([stat.S_IFREG | 0o644, *status[1:4], NOBODY, *status[5:]])
    with pytest.raises(ConfigFileError):
        files.require_trusted(str(path), foreign)
    monkeypatch.setattr(files, "_is_unmapped", lambda uid: uid == NOBODY)
    files.require_trusted(str(path), foreign, is_system=True)
    with pytest.raises(ConfigFileError):
        files.require_trusted(str(path), foreign)


def test_in_the_first_user_namespace_every_owner_is_mapped():
    with open("/proc/self/uid_map") as file:
        if file.read().split() != ["0", "0", "4294967295"]:
            pytest.skip("these tests run in a user namespace")
    assert not files._is_unmapped(NOBODY)
