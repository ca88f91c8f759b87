import os

import pytest

from arstore.errors import LimitError, UnsafePathError
from arstore.oci.document import Bounds
from arstore.tar.entry import Kind
from arstore.transport.media.blob import OpenFile
from arstore.transport.media.members import MAX_LINKS, Member, Members


@pytest.fixture
def members(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    members = Members("archive.tar")
    file = members.own(OpenFile(os.open(tmp_path / "file", os.O_RDONLY)))
    members.add(b"a/file", Member(Kind.FILE, file, 2, 3))
    yield members
    members.close()
    assert file.fd == -1


def test_open_and_read(members):
    assert members.open("a/file").read() == b"234"
    assert members.read("a/file", Bounds(document=3)) == b"234"
    assert members.open("a") is None
    assert members.read("nothing") is None
    with pytest.raises(LimitError, match=r"archive\.tar: a/file"):
        members.read("a/file", Bounds(document=2))


def test_the_later_of_two_members_counts(members):
    members.add(b"a/file", Member(Kind.FILE, members.open("a/file")._file, 0, 1))
    assert members.read("a/file") == b"0"
    assert len(members) == 1


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Kind.SYMLINK, "a symbolic link"),
        (Kind.HARDLINK, "a hard link"),
        (Kind.FIFO, "a FIFO"),
        (Kind.CHARACTER, "a device"),
        (Kind.BLOCK, "a device"),
        (Kind.DIRECTORY, "a directory"),
    ],
)
def test_only_regular_files_are_opened(members, kind, said):
    members.add(b"x", Member(kind, link=b"a/file"))
    with pytest.raises(UnsafePathError, match=said):
        members.open("x")


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        (b"b/link", Kind.SYMLINK, b"../a/file"),
        (b"b/link", Kind.SYMLINK, b"./../b/../a//file"),
        (b"link", Kind.SYMLINK, b"a/file"),
        (b"a/link", Kind.SYMLINK, b"file"),
        (b"b/c/link", Kind.HARDLINK, b"a/file"),
    ],
)
def test_links_are_followed_within_the_archive(members, name, kind, link):
    members.add(name, Member(kind, link=link))
    members.add(b"again", Member(Kind.SYMLINK, link=name))
    assert members.resolve("again") == b"a/file"
    assert members.resolve("./" + name.decode()) == b"a/file"


def test_what_is_not_there_resolves_to_itself(members):
    members.add(b"dangling", Member(Kind.SYMLINK, link=b"nowhere"))
    assert members.resolve("dangling") == b"nowhere"
    assert members.resolve("\ud800 half a pair") not in members.names()
    assert members.open(members.resolve("\ud800")) is None


@pytest.mark.parametrize("link", [b"../../a/file", b"../../../etc/passwd", b"/a/file", b"/etc/passwd"])
def test_links_out_of_the_archive_are_refused(members, link):
    members.add(b"b/link", Member(Kind.SYMLINK, link=link))
    with pytest.raises(UnsafePathError, match="leads out of the archive"):
        members.resolve("b/link")


@pytest.mark.parametrize("name", ["/a/file", "../a/file", "b/../../a/file"])
def test_names_out_of_the_archive_are_refused(members, name):
    with pytest.raises(UnsafePathError):
        members.resolve(name)


def test_circles_and_endless_chains_of_links_end(members):
    members.add(b"x", Member(Kind.SYMLINK, link=b"y"))
    members.add(b"y", Member(Kind.HARDLINK, link=b"x"))
    with pytest.raises(LimitError, match="links to be followed"):
        members.resolve("x")
    for place in range(MAX_LINKS + 1):
        members.add(b"%d" % place, Member(Kind.SYMLINK, link=b"%d" % (place + 1)))
    assert members.resolve("2") == b"%d" % (MAX_LINKS + 1)
    with pytest.raises(LimitError):
        members.resolve("0")
