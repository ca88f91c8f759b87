import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from arstore.errors import LimitError, TruncatedError
from arstore.oci.document import Bounds
from arstore.transport.media.blob import Bytes, Extent, OpenFile, read_all


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40)
    file = OpenFile(os.open(path, os.O_RDWR))
    yield file
    file.close()


def test_an_extent_is_its_bytes_and_no_others(file):
    blob = Extent(file, 10, 20, "x")
    assert blob.read(5) == bytes(range(10, 15))
    assert blob.tell() == 5
    assert blob.read(100) == bytes(range(15, 30))
    assert blob.read(1) == b""
    assert blob.read() == b""
    assert blob.window() == (file.fd, 10, 20)


def test_an_extent_seeks_within_itself(file):
    blob = Extent(file, 100, 50, "x")
    assert blob.seek(-10, os.SEEK_END) == 40
    assert blob.read() == bytes(range(140, 150))
    assert blob.seek(0) == 0
    assert blob.seek(3, os.SEEK_CUR) == 3
    assert blob.read(1) == bytes([103])
    assert blob.seek(70) == 70
    assert blob.read(1) == b""


def test_reading_all_crosses_what_one_call_gives(file, monkeypatch):
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 7), offset))
    assert Extent(file, 0, 1000, "x").read() == (bytes(range(256)) * 4)[:1000]


def test_a_file_that_shrinks_under_the_reader_is_truncated(file):
    blob = Extent(file, 0, 10_000, "the file")
    blob.read(100)
    os.ftruncate(file.fd, 100)
    with pytest.raises(TruncatedError, match="the file: ends after 100 of 10000 bytes"):
        blob.read(1)


def test_extents_of_one_file_are_read_at_once(file):
    def read(start):
        blob = Extent(file, start, 256, "x")
        return b"".join(iter(lambda: blob.read(3), b""))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, range(200)))
    assert found == [(bytes(range(256)) * 2)[start : start + 256] for start in range(200)]


def test_a_late_read_fails_instead_of_reaching_another_file(file, tmp_path):
    blob = Extent(file, 0, 10, "x", owned=True)
    blob.close()
    blob.close()
    (tmp_path / "other").write_bytes(b"secret")
    with open(tmp_path / "other", "rb"), pytest.raises(OSError, match="Bad file descriptor"):
        blob.read(1)


def test_an_extent_that_does_not_own_its_file_leaves_it_open(file):
    Extent(file, 0, 10, "x").close()
    assert os.fstat(file.fd).st_size


def test_bytes():
    blob = Bytes(b"abcdef")
    assert (blob.read(2), blob.read(0), blob.read(), blob.read(), blob.window()) == (b"ab", b"", b"cdef", b"", None)
    blob.close()


def test_documents_have_a_limit(file):
    assert read_all(Extent(file, 0, 10, "x"), "x", Bounds(document=10)) == bytes(range(10))
    with pytest.raises(LimitError, match="has 11 bytes"):
        read_all(Extent(file, 0, 11, "x"), "x", Bounds(document=10))
