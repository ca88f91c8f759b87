from __future__ import annotations

import io
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.tarblocks import END, base256, header, member, padded, pax, summed

from arstore.errors import LimitError, TarError, TruncatedError
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.tar.reader import TarReader

if TYPE_CHECKING:
    from pathlib import Path


def expanded(archive: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[bytes, bytes]:
    """Every file's content with its holes filled, by path."""
    reader = TarReader(io.BytesIO(archive), "t", limits)
    files = {}
    for entry in reader:
        content = bytearray(entry.size)
        stored = b"".join(reader.chunks())
        for offset, length in [(0, entry.size)] if entry.sparse is None else entry.sparse:
            content[offset : offset + length], stored = stored[:length], stored[length:]
        assert not stored
        files[entry.path] = bytes(content)
    return files


def old_gnu(runs: list[tuple[bytes, bytes]], real: bytes, size: int, *, extended: bool = False) -> bytes:
    block = bytearray(header(b"s", b"S", size, magic=b"ustar  \0"))
    block[386 : 386 + 24 * len(runs)] = b"".join(offset + length for offset, length in runs)
    block[482] = extended
    block[483:495] = real
    return summed(bytes(block))


def octal(value: int) -> bytes:
    return b"%011o\0" % value


RUNS = [(octal(512), octal(3)), (octal(1024), octal(2))]
GOOD = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"s")]
REAL = (b"GNU.sparse.realsize", b"2000")


@pytest.mark.tools("tar")
@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
@pytest.mark.parametrize("runs", [0, 1, 3, 60])
def test_what_gnu_tar_writes(tmp_path: Path, form: str, runs: int) -> None:
    with (tmp_path / "holes").open("wb") as file:
        for run in range(runs):
            file.seek(run * 65536 + 32768)
            file.write(b"%06d" % run * 300)
        file.truncate(runs * 65536 + 100_000)
    (tmp_path / "after").write_bytes(b"after")
    options = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    command = ["tar", "--sparse", "--hole-detection=raw", *options, "-cf-", "holes", "after"]
    archive = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout
    files = expanded(archive)
    assert files == {b"holes": (tmp_path / "holes").read_bytes(), b"after": b"after"}
    assert len(archive) < runs * 65536 + 100_000 or runs == 0
    entry = next(iter(TarReader(io.BytesIO(archive))))
    assert entry.sparse is not None
    assert len(entry.sparse) == runs


def test_old_gnu_with_an_extension_block_and_base_256() -> None:
    extension = (octal(1900) + octal(4)) + bytes(24 * 20) + bytes(8)
    block = old_gnu(RUNS, base256(2000), 9, extended=True)
    files = expanded(block + extension + padded(b"aaabbcccc") + member(b"after", b"x") + END)
    assert files[b"after"] == b"x"
    content = files[b"s"]
    assert (len(content), content[512:515], content[1024:1026], content[1900:1904]) == (2000, b"aaa", b"bb", b"cccc")
    assert content.count(0) == 2000 - 9


@pytest.mark.parametrize(
    "archive",
    [
        old_gnu(RUNS[::-1], octal(2000), 5) + padded(b"aaabb"),
        old_gnu([RUNS[0], RUNS[0]], octal(2000), 6) + padded(b"aaabbb"),
        old_gnu(RUNS, octal(1025), 5) + padded(b"aaabb"),
        old_gnu(RUNS, octal(2000), 4) + padded(b"aaab"),
        old_gnu(RUNS, octal(2000), 6) + padded(b"aaabbb"),
        old_gnu([(octal(0), base256(-1))], octal(2000), 0),
        old_gnu([(base256(-5), octal(5))], octal(2000), 5) + padded(b"aaaaa"),
        old_gnu([(octal(1), base256(1 << 80))], octal(2000), 5) + padded(b"aaaaa"),
        old_gnu([], base256(-1), 0),
        old_gnu([], base256(1 << 70), 0),
        old_gnu([(b"junk".ljust(12), octal(1))], octal(9), 1) + padded(b"a"),
        pax(*GOOD) + member(b"x", padded(b"0\n")),
        pax(*GOOD, REAL) + member(b"x", padded(b"1\n0\n5\n")),
        pax(*GOOD, REAL) + member(b"x", padded(b"2\n0\n1\n") + b"a"),
        pax(*GOOD, REAL) + member(b"x", padded(b"\n")),
        pax(*GOOD, REAL) + member(b"x", padded(b"x\n")),
        pax(*GOOD, REAL) + member(b"x", padded(b"-1\n")),
        pax(*GOOD, REAL) + member(b"x", padded(b"1\n-1\n1\n") + b"a"),
        pax(*GOOD, REAL) + member(b"x", b"1\n" + b"0" * 600 + b"\n1\n"),
        pax(*GOOD, REAL) + member(b"x", b"1\n0\n1\n"),
        pax(*GOOD, REAL) + member(b"x", b""),
        pax(*GOOD, REAL) + member(b"x", b"9" * 512 + b"\n"),
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,1,5")) + member(b"x", b"a"),
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,,5,1")) + member(b"x", b"a"),
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,1")) + member(b"x", b"ab"),
        pax((b"GNU.sparse.major", b"2"), (b"GNU.sparse.realsize", b"9")) + member(b"x", b"ab"),
        pax(*GOOD, (b"GNU.sparse.realsize", b"9" * 20)) + member(b"x", padded(b"0\n")),
    ],
)
def test_maps_that_lie(archive: bytes) -> None:
    with pytest.raises(TarError):
        expanded(archive + END)


def test_limits() -> None:
    few = Limits(sparse_runs=1)
    with pytest.raises(LimitError):
        expanded(old_gnu(RUNS, octal(2000), 5, extended=True) + bytes(512) + padded(b"aaabb"), few)
    with pytest.raises(LimitError):
        expanded(pax(*GOOD, REAL) + member(b"x", padded(b"2\n0\n1\n5\n1\n") + b"ab"), few)
    with pytest.raises(LimitError):
        expanded(pax(*GOOD, REAL) + member(b"x", padded(b"99999999999999\n")))


def test_holes_count_as_what_they_read_as() -> None:
    archive = pax(*GOOD, REAL) + member(b"x", padded(b"1\n0\n1\n") + b"a") + END
    entry = next(TarReader(io.BytesIO(archive)))
    assert entry.sparse == [(0, 1)]
    with pytest.raises(LimitError, match="--limit inflated="):
        next(TarReader(io.BytesIO(archive), limits=Limits(inflated=entry.size - 1)))


def test_the_holes_of_all_sparse_files_count_together() -> None:
    one = pax(*GOOD, REAL) + member(b"x", padded(b"1\n0\n1\n") + b"a")
    size = next(TarReader(io.BytesIO(one + END))).size
    assert len(expanded(one * 3 + END, Limits(inflated=3 * size))) == 1
    with pytest.raises(LimitError, match="--limit inflated="):
        expanded(one * 3 + END, Limits(inflated=3 * size - 1))


def test_cut_in_an_extension_block() -> None:
    with pytest.raises(TruncatedError):
        expanded(old_gnu(RUNS, octal(2000), 5, extended=True))
    with pytest.raises(TruncatedError):
        expanded(old_gnu(RUNS, octal(2000), 5, extended=True) + bytes(100))


def test_the_name_of_a_pax_sparse_file_is_checked_too() -> None:
    archive = pax(GOOD[0], GOOD[1], (b"GNU.sparse.name", b"./a//b/"), REAL) + member(b"x", padded(b"1\n1\n1\n") + b"a")
    assert list(expanded(archive)) == [b"a/b"]
    assert os.path.basename(next(iter(expanded(archive)))) == b"b"
