import errno
import os

import pytest

from arstore.linux.files import xattr


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    fd = os.open(tmp_path, os.O_PATH)
    try:
        os.setxattr(tmp_path / "file", "user.probe", b"1")
        os.removexattr(tmp_path / "file", "user.probe")
    except OSError as error:
        os.close(fd)
        pytest.skip(f"the temporary directory has no user attributes: {error.strerror}")
    yield fd
    os.close(fd)


def test_set_get_list_remove(directory, tmp_path):
    xattr.set_xattr(directory, b"file", b"user.one", b"\x00\xff")
    xattr.set_xattr(directory, b"file", b"user.two", b"")
    assert xattr.get_xattr(directory, b"file", b"user.one") == b"\x00\xff"
    assert os.getxattr(tmp_path / "file", "user.one") == b"\x00\xff"
    found = xattr.read_xattrs(directory, b"file")
    assert {k: v for k, v in found.items() if k.startswith(b"user.")} == {b"user.one": b"\x00\xff", b"user.two": b""}
    os.removexattr(tmp_path / "file", "user.one")
    assert b"user.one" not in xattr.list_xattrs(directory, b"file")


def test_names_are_bytes_of_any_kind(directory, tmp_path):
    name = b"\xff \n\xe6\xb5\x81"
    os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    xattr.set_xattr(directory, name, b"user.\xfe", b"v")
    assert xattr.read_xattrs(directory, name)[b"user.\xfe"] == b"v"


def test_a_final_symlink_is_not_followed(directory, tmp_path):
    os.setxattr(tmp_path / "file", "user.seen", b"1")
    assert b"user.seen" not in xattr.list_xattrs(directory, b"link")
    with pytest.raises(PermissionError):
        xattr.set_xattr(directory, b"link", b"user.through", b"1")
    assert "user.through" not in os.listxattr(tmp_path / "file")


@pytest.mark.root
def test_a_symlink_has_attributes_of_its_own(directory, tmp_path):
    xattr.set_xattr(directory, b"link", b"trusted.mine", b"1")
    assert xattr.read_xattrs(directory, b"link")[b"trusted.mine"] == b"1"
    assert "trusted.mine" not in os.listxattr(tmp_path / "file")


def test_the_descriptor_itself_has_the_empty_name(directory, tmp_path):
    xattr.set_xattr(directory, b"", b"user.dir", b"1")
    assert os.getxattr(tmp_path, "user.dir") == b"1"
    link = os.open(tmp_path / "link", os.O_PATH | os.O_NOFOLLOW)
    os.setxattr(tmp_path / "file", "user.seen", b"1")
    try:
        assert b"user.seen" not in xattr.list_xattrs(link, b"")
    finally:
        os.close(link)


@pytest.mark.parametrize("name", [b".", b"..", b"a/b", b"../x", b"/etc", b"a\0b"])
def test_only_one_component_is_taken(directory, name):
    with pytest.raises(OSError, match="Invalid argument") as caught:
        xattr.list_xattrs(directory, name)
    assert caught.value.errno == errno.EINVAL


def test_an_attribute_that_vanishes_is_left_out(directory, monkeypatch):
    xattr.set_xattr(directory, b"file", b"user.a", b"1")
    monkeypatch.setattr(xattr, "list_xattrs", lambda *_: [b"user.gone", b"user.a"])
    assert xattr.read_xattrs(directory, b"file") == {b"user.a": b"1"}
