import errno
import os

import pytest

from arstore.linux.files import openat2 as module
from arstore.linux.files.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (root / "up").symlink_to("../secret")
    (root / "abs").symlink_to("/etc/passwd")
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(openat2(fd, "etc", os.O_PATH, 0))
    except OSError as error:
        os.close(fd)
        if error.errno in {errno.ENOSYS, errno.EPERM}:
            pytest.skip("this kernel has no openat2, or a filter hides it")
        raise
    yield fd
    os.close(fd)


def content(fd):
    with open(fd, "rb") as file:
        return file.read()


def test_in_root_takes_absolute_links_from_the_directory(tree):
    assert content(openat2(tree, "abs", os.O_RDONLY, RESOLVE_IN_ROOT)) == b"inside"
    assert content(openat2(tree, "/../../etc/passwd", os.O_RDONLY, RESOLVE_IN_ROOT)) == b"inside"


@pytest.mark.parametrize("path", ["up", "../secret", "/etc/passwd", "abs", "etc/../../secret"])
def test_beneath_refuses_what_leaves(tree, path):
    with pytest.raises(OSError, match="cross-device") as caught:
        openat2(tree, path, os.O_RDONLY, RESOLVE_BENEATH)
    assert caught.value.errno == errno.EXDEV
    assert caught.value.filename == path


def test_no_symlinks_refuses_links_anywhere(tree):
    with pytest.raises(OSError, match="symbolic links") as caught:
        openat2(tree, "abs", os.O_RDONLY, RESOLVE_NO_SYMLINKS | RESOLVE_IN_ROOT)
    assert caught.value.errno == errno.ELOOP


def test_no_magic_links():
    fd = os.open("/proc/self/fd", os.O_PATH)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            openat2(fd, str(fd), os.O_PATH, RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(fd)


def test_creation_takes_a_mode(tree, tmp_path):
    fd = openat2(tree, b"new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, RESOLVE_BENEATH, 0o600)
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert (tmp_path / "root" / "new").stat().st_mode & 0o777 == 0o600


def test_a_race_is_tried_again_but_not_for_ever(tree, monkeypatch):
    tries = []

    def unsettled(*_arguments, what):
        tries.append(what)
        raise BlockingIOError(errno.EAGAIN, "again", what)

    monkeypatch.setattr(module, "syscall", unsettled)
    with pytest.raises(OSError, match="etc") as caught:
        openat2(tree, "etc", os.O_PATH, RESOLVE_BENEATH)
    assert caught.value.errno == errno.EAGAIN
    assert 1 < len(tries) < 1000
    tries.clear()
    with pytest.raises(BlockingIOError):
        openat2(tree, "etc", os.O_PATH, RESOLVE_CACHED)
    assert len(tries) == 1


def test_nul_in_a_name_is_einval(tree):
    with pytest.raises(OSError, match="Invalid argument") as caught:
        openat2(tree, "etc\0/passwd", os.O_PATH, RESOLVE_BENEATH)
    assert caught.value.errno == errno.EINVAL
