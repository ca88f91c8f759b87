"""Extended attributes that a tree accepts: the rule is compared with the kernel's."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import peers, programs

from arstore.errors import TarError
from arstore.linux.files.xattr import set_xattr
from arstore.tar.entry import Entry, Kind
from arstore.tar.reader import TarReader
from arstore.trees.attributes import Attributes, Dropped, unfit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_ID = (1 << 32) - 1
CAPABILITY = b"\x01\x00\x00\x02\x00\x04" + bytes(14)
OBJ = [(1, 6, NO_ID), (4, 4, NO_ID), (32, 0, NO_ID)]
NAMED = [(1, 6, NO_ID), (2, 7, 1000), (2, 4, 1001), (4, 4, NO_ID), (8, 1, 50), (16, 5, NO_ID), (32, 0, NO_ID)]
KINDS = {"file": Kind.FILE, "directory": Kind.DIRECTORY, "symlink": Kind.SYMLINK, "fifo": Kind.FIFO}


def acl(entries: list[tuple[int, int, int]], version: int = 2) -> bytes:
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *one) for one in entries)


VALUES = [
    (b"user.a", b""),
    (b"user." + b"n" * 250, b"v"),
    (b"user." + b"n" * 251, b""),
    (b"user.", b""),
    (b"user", b""),
    (b"trusted.a", b"v"),
    (b"trusted.", b"x"),
    (b"security.note", b"v"),
    (b"security.", b"v"),
    (b"user.v", b"v" * 65_537),
    (b"system.nfs4_acl", b"x"),
    (b"system.posix_acl_access.more", acl(NAMED)),
    (b"com.apple.provenance", b"x"),
    (b"SCHILY.acl.access", b"user:1000:r--"),
    (b"", b"x"),
    (b"security.capability", CAPABILITY),
    (b"security.capability", CAPABILITY[:12]),
    (b"security.capability", bytes(20)),
    (b"security.capability", CAPABILITY + bytes(4)),
    (b"security.capability", b"\x01\x00\x00\x03" + CAPABILITY[4:] + b"\xe8\x03\x00\x00"),
    *(
        (name, value)
        for name in (b"system.posix_acl_access", b"system.posix_acl_default")
        for value in (
            acl(OBJ),
            acl(NAMED),
            acl(NAMED, version=1),
            acl(NAMED)[:-1],
            b"x",
            acl([*NAMED[:5], NAMED[6]]),
            acl([NAMED[1], NAMED[0], *NAMED[2:]]),
            acl([NAMED[0], NAMED[2], NAMED[1], *NAMED[3:]]),
            acl([*NAMED[:5], (16, 8, NO_ID), NAMED[6]]),
            acl([(1, 6, 0), *NAMED[1:]]),
            acl([NAMED[0], (2, 7, NO_ID), *NAMED[2:]]),
            acl([*NAMED[:6], (64, 0, NO_ID)]),
            acl([OBJ[0], OBJ[1], (16, 7, NO_ID), OBJ[2]]),
            acl([*OBJ, OBJ[2]]),
            acl(OBJ[:2]),
        )
    ),
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[int]:
    """A directory with one of each kind, on a file system that keeps attributes of every class."""
    if not programs.is_root():
        pytest.skip("only root can set every attribute")
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "symlink").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        set_xattr(fd, b"directory", b"system.posix_acl_default", acl(NAMED))
    except OSError as error:
        pytest.skip(f"the temporary directory keeps no access control lists: {error}")
    yield fd
    os.close(fd)


def taken_by_kernel(fd: int, name: str, attribute: bytes, value: bytes) -> bool:
    try:
        set_xattr(fd, name.encode(), attribute, value)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("attribute", "value"), VALUES, ids=lambda one: str(one[:35]))
def test_the_rule_is_the_kernels(place: int, kind: str, attribute: bytes, value: bytes) -> None:
    assert taken_by_kernel(place, kind, attribute, value) is not bool(unfit(KINDS[kind], attribute, value))


ENTRIES = st.lists(
    st.tuples(st.sampled_from([1, 2, 2, 4, 8, 16, 32, 64]), st.integers(0, 9), st.sampled_from([0, 1000, NO_ID])),
    min_size=1,
    max_size=7,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(ENTRIES, st.booleans())
def test_lists_are_valid_where_the_kernel_takes_them(
    place: int, entries: list[tuple[int, int, int]], sorted_: bool
) -> None:
    value = acl(sorted(entries) if sorted_ else entries)
    name = b"system.posix_acl_default"
    assert taken_by_kernel(place, "directory", name, value) is not bool(unfit(Kind.DIRECTORY, name, value))


def test_what_says_nothing_or_orders_overlayfs_is_left_out_though_the_kernel_takes_it() -> None:
    for name in (b"trusted.overlay.opaque", b"user.overlay.redirect"):
        assert "overlayfs" in unfit(Kind.DIRECTORY, name, b"y")
    assert unfit(Kind.DIRECTORY, b"system.posix_acl_default", acl([])) == "its value is not valid"
    assert unfit(Kind.FILE, b"security.capability", b"") == "its value is not valid"


def test_what_is_left_out_is_counted() -> None:
    attributes = Attributes()
    for number in range(5):
        xattrs = {b"user.a": b"1", b"trusted.overlay.opaque": b"y", b"trusted.a": b"1"}
        entry = Entry(b"l%d" % number, Kind.SYMLINK, xattrs=xattrs)
        attributes.sift(entry)
        assert entry.xattrs == {b"trusted.a": b"1"}
    dropped = attributes.dropped
    assert (dropped.count, dropped.members, len(dropped.examples)) == (10, 5, 3)
    assert str(dropped).startswith("10 extended attributes were left out: user.a of l0, because only files and")
    total = Dropped(1, 1, [(b"", b"user.\n", "why")])
    total.add(dropped)
    assert (total.count, total.members, len(total.examples)) == (11, 6, 3)
    assert str(Dropped(1, 1, total.examples)) == "1 extended attribute was left out: user.\\n of /, because why"


def test_a_hard_link_has_none_of_its_own() -> None:
    attributes = Attributes(strict=True)
    attributes.sift(Entry(b"h", Kind.HARDLINK, link=b"f", xattrs={b"user.a": b"1", b"com.apple.a": b""}))
    assert attributes.dropped == Dropped()


def test_names_that_cannot_be_listed_together() -> None:
    entry = Entry(b"f", Kind.FILE, xattrs={b"user.%0200d" % number: b"" for number in range(400)})
    attributes = Attributes()
    attributes.sift(entry)
    assert sum(len(name) + 1 for name in entry.xattrs) <= 65_536
    assert (len(entry.xattrs), attributes.dropped.count) == (318, 82)


def test_strict_attributes_refuse_the_first() -> None:
    entry = Entry(b"a\xff", Kind.FILE, xattrs={b"user.a": b"", b"system.nfs4_acl": b"x"})
    with pytest.raises(TarError) as caught:
        Attributes(strict=True).sift(entry)
    assert str(caught.value) == (
        "a\\xff: cannot keep its extended attribute system.nfs4_acl, because it belongs to another file system; "
        "without --strict-xattrs it is left out"
    )


def test_what_an_archive_says_in_another_form_is_applied_or_counted() -> None:
    info = tarfile.TarInfo("f")
    info.pax_headers = {
        "LIBARCHIVE.xattr.user%2Eread": "aGk",
        "LIBARCHIVE.xattr.user.garbled": "not base64!",
        "SCHILY.acl.access": "user::rw-,user:1234:r--,group::r--,mask::r--,other::r--",
    }
    archive = io.BytesIO(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    (entry,) = TarReader(archive)
    attributes = Attributes()
    attributes.sift(entry)
    assert entry.xattrs == {b"user.read": b"hi"}
    assert attributes.dropped.count == 2
    assert "a form that cannot be read" in str(attributes.dropped)


def test_what_bsdtar_writes_of_a_file(place: int, tmp_path: Path) -> None:
    peers.need("bsdtar", "setfacl")
    set_xattr(place, b"file", b"user.a", b"\0value")
    subprocess.run(["setfacl", "-m", "u:1234:r", tmp_path / "file"], check=True)
    command = ["bsdtar", "--format", "pax", "--xattrs", "--acls", "-C", tmp_path, "-cf-", "file"]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert b"LIBARCHIVE.xattr.user.a=" in archive
    (entry,) = TarReader(io.BytesIO(archive))
    attributes = Attributes()
    attributes.sift(entry)
    assert entry.xattrs[b"user.a"] == b"\0value"
    assert [name for _, name, _ in attributes.dropped.examples] == [b"SCHILY.acl.access"]
