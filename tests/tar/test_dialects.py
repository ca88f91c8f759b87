"""Headers as different programs write them, byte by byte, and as the peers read them.

The expected values are those of Go's archive/tar, on which podman, Docker, containerd and umoci are built, and of GNU
tar, where the two agree; `go` alone is marked. umoci serves as a witness of Go where it is installed.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from support import images, peers, programs
from support.tarblocks import END, base256, gnu_long, header, member, padded, pax, record, summed

from arstore.errors import TarError
from arstore.tar.entry import Entry, Kind
from arstore.tar.header import GNU
from arstore.tar.reader import TarReader

if TYPE_CHECKING:
    from pathlib import Path

TIME = b"14726025333\0"
A97 = b"a" * 97


def gnu(prefix: bytes = b"", name: bytes = b"foo", letter: bytes = b"0", uid: bytes = b"0000000\0") -> bytes:
    return header(name, letter, uid=uid, magic=GNU, prefix=prefix, link=b"x" if letter == b"2" else b"")


def star(prefix: bytes, times: bytes = TIME.replace(b"\0", b" ") * 2) -> bytes:
    block = header(b"foo", prefix=prefix.ljust(131, b"\0") + times)
    return summed(block[:508] + b"tar\0")


def raw_pax(data: bytes, letter: bytes = b"x") -> bytes:
    return member(b"PaxHeaders/x", data, letter)


PATHS = {
    "a prefix under GNU magic, as Go wrote it before 1.8": (gnu(A97, uid=base256(1 << 24, 8)), A97 + b"/foo"),
    "a short prefix": (gnu(b"p/q"), b"p/q/foo"),
    "a directory": (gnu(b"p", b"foo/", b"5"), b"p/foo"),
    "a symlink": (gnu(b"p", letter=b"2"), b"p/foo"),
    "a prefix that fills its field": (gnu((b"p" * 50 + b"/") * 3 + b"pp"), (b"p" * 50 + b"/") * 3 + b"pp/foo"),
    "a prefix with a blank": (gnu(b" p"), b" p/foo"),
    "a prefix that begins with digits": (gnu(b"0755/x"), b"0755/x/foo"),
    "a prefix whose second twelve bytes are no number": (gnu(b"012345670123/dir"), b"012345670123/dir/foo"),
    "a prefix that reads as one time": (gnu(b"755"), b"foo"),
    "a prefix that reads as two times": (gnu(b"012345670123012345670123/dir"), b"foo"),
    "a prefix that is not ASCII": (gnu("é/x".encode()), b"foo"),
    "a prefix that ends in what is not ASCII": (gnu(b"dir/\xc3\xa9"), b"foo"),
    "GNU's times": (gnu(TIME + TIME), b"foo"),
    "GNU's times with blanks": (gnu((TIME + TIME).replace(b"\0", b" ")), b"foo"),
    "GNU's atime alone": (gnu(TIME), b"foo"),
    "GNU's ctime alone": (gnu(bytes(12) + TIME), b"foo"),
    "GNU's times in base 256": (gnu(base256(1_700_000_000) + base256(-5)), b"foo"),
    "GNU's atime, then what is no time": (gnu(TIME + b"dirs/x"), b"14726025333/foo"),
    "no atime, then what is no time": (gnu(bytes(12) + b"dirs/x"), b"foo"),
    "a long name before a prefix under GNU magic": (gnu_long(b"long") + gnu(b"p"), b"long"),
    "neither magic": (header(b"foo", magic=b"ustar 00", prefix=b"p"), b"foo"),
    "ustar without a version": (header(b"foo", magic=b"ustar\0\0\0", prefix=b"p"), b"p/foo"),
    "v7": (header(b"foo", magic=b"", prefix=b"p"), b"foo"),
    "star": (star(b"p"), b"p/foo"),
    "star with all of its prefix": (star(b"p" * 60 + b"/" + b"q" * 70), b"p" * 60 + b"/" + b"q" * 70 + b"/foo"),
    "ustar with all of both fields": (
        header(b"n" * 100, prefix=b"p" * 77 + b"/" + b"q" * 77),
        b"p" * 77 + b"/" + b"q" * 77 + b"/" + b"n" * 100,
    ),
    "two long names": (gnu_long(b"one") + gnu_long(b"two") + header(b"x"), b"two"),
    "a long name without a NUL": (member(b"././@LongLink", b"long", b"L") + header(b"x"), b"long"),
    "an empty long name (go)": (gnu_long(b"") + header(b"x"), b"x"),
    "a long name before PAX (go)": (gnu_long(b"gnu") + pax((b"path", b"pax")) + header(b"x"), b"gnu"),
    "a path twice": (pax((b"path", b"one"), (b"path", b"two")) + header(b"x"), b"two"),
    "an empty path after another (go)": (pax((b"path", b"one"), (b"path", b"")) + header(b"x"), b"x"),
    "a length with zeros": (raw_pax(b"0" * 38 + b"50 path=abc\n") + header(b"x"), b"abc"),
    "a length with a plus (go)": (raw_pax(b"+13 path=abc\n") + header(b"x"), b"abc"),
    "bytes that are not UTF-8": (pax((b"hdrcharset", b"BINARY"), (b"path", b"a\xff")) + header(b"x"), b"a\xff"),
    "a global path": (pax((b"path", b"all"), letter=b"g") + header(b"x"), b"x"),
    "a global link target": (pax((b"linkpath", b"all"), letter=b"g") + header(b"x"), b"x"),
    "a global size": (pax((b"size", b"512"), letter=b"g") + header(b"x"), b"x"),
    "a global time that is none": (pax((b"mtime", b"zz"), letter=b"g") + header(b"x"), b"x"),
    "a commit, as git archive writes it": (pax((b"comment", b"c0ffee"), letter=b"g") + header(b"x"), b"x"),
    "a checksum of signed bytes": (header(b"n\xff", signed=True), b"n\xff"),
}


def read(archive: bytes) -> Entry:
    [entry] = TarReader(io.BytesIO(archive + END), "t")
    return entry


@pytest.mark.parametrize("case", PATHS)
def test_where_a_member_is(case: str) -> None:
    archive, path = PATHS[case]
    assert read(archive).path == path


def test_an_incremental_archive_keeps_its_times(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"x")
    peers.need("tar")
    command = ["tar", "--format=gnu", f"--listed-incremental={tmp_path}/state", "-C", tmp_path, "-cf-", "in"]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.next()
        assert archive[345:357].strip(b"\0 ").isdigit(), "GNU tar writes the times"
    assert [entry.path for entry in TarReader(io.BytesIO(archive), "t")] == [b"in", b"in/file"]


VALUES = {
    "a mode between blanks": (header(mode=b"   640 \0"), {"mode": 0o640}),
    "a mode without an end": (header(mode=b"00000640"), {"mode": 0o640}),
    "a mode with the file's type": (header(mode=b"0100640\0"), {"mode": 0o640}),
    "a mode in base 256": (header(mode=base256(0o640, 8)), {"mode": 0o640}),
    "a mode that is empty": (header(mode=bytes(8)), {"mode": 0}),
    "what follows a NUL": (header(mode=b"640\0abc\0"), {"mode": 0o640}),
    "an owner of eight digits": (header(uid=b"77777777"), {"uid": 0o77777777}),
    "an owner in base 256": (header(uid=base256((1 << 32) - 2, 8)), {"uid": (1 << 32) - 2}),
    "a time before 1970": (header(mtime=base256(-1)), {"mtime": -1_000_000_000}),
    "a time of twelve digits": (header(mtime=b"777777777777"), {"mtime": 0o777777777777 * 1_000_000_000}),
    "a time of blanks (go)": (header(mtime=b" " * 12), {"mtime": 0}),
    "a size without an end": (header(b"f", b"0", b"000000000004") + padded(b"data"), {"size": 4}),
    "a size in base 256": (header(b"f", b"0", base256(4)) + padded(b"data"), {"size": 4}),
    "a size that PAX overrides": (pax((b"size", b"00004")) + header(b"f") + padded(b"data"), {"size": 4}),
    "a size of many zeros": (pax((b"size", b"0" * 40 + b"4")) + header(b"f") + padded(b"data"), {"size": 4}),
    "a size that PAX takes back (go)": (pax((b"size", b"")) + member(b"f", b"data"), {"size": 4}),
    "an owner with zeros": (pax((b"uid", b"007")) + header(b"f"), {"uid": 7}),
    "an owner of many zeros": (pax((b"gid", b"0" * 40 + b"7")) + header(b"f"), {"gid": 7}),
    "an owner with a plus (go)": (pax((b"uid", b"+7")) + header(b"f"), {"uid": 7}),
    "no owner in PAX (go)": (pax((b"uid", b"-1"), (b"gid", b"-1")) + header(b"f", uid=b"7\0"), {"uid": 0, "gid": 0}),
    "no owner without a sign (go)": (pax((b"uid", b"4294967295")) + header(b"f"), {"uid": 0}),
    "no owner in base 256 (go)": (header(uid=base256(-1, 8), gid=base256((1 << 32) - 1, 8)), {"uid": 0, "gid": 0}),
    "a negative owner in PAX (go)": (pax((b"uid", b"-2")) + header(b"f", gid=b"7\0"), {"uid": (1 << 32) - 2, "gid": 7}),
    "a negative owner in base 256 (go)": (header(gid=base256(-5, 8)), {"uid": 0, "gid": (1 << 32) - 5}),
    "the lowest owner (go)": (pax((b"gid", b"-2147483648")) + header(b"f"), {"gid": 1 << 31}),
    "minus zero (go)": (pax((b"uid", b"-0"), (b"size", b"-000")) + header(b"f", uid=b"7\0"), {"uid": 0, "size": 0}),
    "no owner for all members": (pax((b"uid", b"-1"), letter=b"g") + header(b"f", uid=b"7\0"), {"uid": 7}),
    "a time with zeros": (pax((b"mtime", b"0001.5")) + header(b"f"), {"mtime": 1_500_000_000}),
    "a time of many digits": (pax((b"mtime", b"0" * 40 + b"1." + b"5" * 999)) + header(b"f"), {"mtime": 1_555_555_555}),
    "a time without a fraction": (pax((b"mtime", b"1.")) + header(b"f"), {"mtime": 1_000_000_000}),
    "a negative fraction": (pax((b"mtime", b"-0.5")) + header(b"f"), {"mtime": -500_000_000}),
    "a device under GNU magic": (
        header(b"f", b"3", magic=GNU, major=b"0000001\0", minor=b"0000003\0"),
        {"major": 1, "minor": 3},
    ),
    "a device in v7": (header(b"f", b"3", magic=b"", major=b"0000001\0", minor=b"0000003\0"), {"major": 0, "minor": 0}),
    "a directory of the oldest type": (header(b"d/", b"\0", magic=b""), {"kind": Kind.DIRECTORY}),
    "a directory by its PAX path": (pax((b"path", b"d/")) + header(b"f", b"\0"), {"kind": Kind.DIRECTORY}),
    "a file with a slash (go)": (header(b"d/", b"0"), {"kind": Kind.FILE}),
    "a contiguous file": (member(b"f", b"data", b"7"), {"kind": Kind.FILE, "size": 4}),
    "a global owner": (pax((b"uid", b"5"), letter=b"g") + header(b"f"), {"uid": 5}),
}


@pytest.mark.parametrize("case", VALUES)
def test_what_a_member_has(case: str) -> None:
    archive, values = VALUES[case]
    entry = read(archive)
    assert {name: getattr(entry, name) for name in values} == values


REFUSED = {
    "a mode that is no number": header(mode=b"abc\0\0\0\0\0"),
    "a mode with more behind a blank": header(mode=b"640 abc\0"),
    "a number in GNU's base 64": header(uid=b"+AAAAAB\0"),
    "a negative size": header(b"f", b"0", base256(-4)),
    "a negative size in PAX": pax((b"size", b"-4")) + member(b"f", b"data"),
    "an owner of 33 bits in PAX": pax((b"uid", b"4294967301")) + header(b"f"),
    "an owner of 33 bits": header(gid=base256((1 << 32) + 5, 8)),
    "an owner below 32 bits in PAX": pax((b"gid", b"-2147483649")) + header(b"f"),
    "an owner that is a minus": pax((b"uid", b"-")) + header(b"f"),
    "an owner with two signs": pax((b"uid", b"-+1")) + header(b"f"),
    "an owner with a fraction": pax((b"uid", b"5.5")) + header(b"f"),
    "an owner with a blank": pax((b"uid", b"7 ")) + header(b"f"),
    "an owner in hexadecimal": pax((b"uid", b"0x7")) + header(b"f"),
    "a time with an exponent": pax((b"mtime", b"1e3")) + header(b"f"),
    "a time without whole seconds": pax((b"mtime", b".5")) + header(b"f"),
    "a path with a NUL": pax((b"path", b"a\0b")) + header(b"f"),
    "NULs after the records": raw_pax(record(b"path", b"a") + bytes(20)) + header(b"f"),
    "a checksum in base 256": header(b"f")[:148] + base256(int(header(b"f")[148:154], 8), 8) + header(b"f")[156:],
    "a sparse file of GNU's in ustar": header(b"f", b"S"),
    "data behind a directory that says its size": member(b"d/", b"data", b"5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_as_go_refuses_it(case: str) -> None:
    with pytest.raises(TarError):
        read(REFUSED[case])


@pytest.mark.tools("umoci")
def test_umoci_unpacks_the_same(tmp_path: Path) -> None:
    # umoci refuses global headers, and a layer of many names that are not UTF-8 is not what is asked here.
    cases = [(archive, path) for archive, path in PATHS.values() if archive[156:157] != b"g" and path.isascii()]
    layer = images.layer(b"".join(archive for archive, _ in cases) + END)
    names = {path for _, path in cases}
    layout = images.write_layout(tmp_path / "layout", images.image(layer, names=["t"]))
    rootless = [] if programs.is_root() else ["--rootless"]
    peers.run("umoci", "raw", "unpack", *rootless, "--image", f"{layout}:t", tmp_path / "out")
    assert {path for path in names if not os.path.lexists(tmp_path / "out" / path.decode())} == set()
    assert {entry.path for entry in TarReader(io.BytesIO(layer.tar), "t")} == names
