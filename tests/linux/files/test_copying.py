import errno
import fcntl
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arstore.linux.files import copying
from arstore.linux.files.copying import copy_range, reflink


@pytest.fixture
def files(tmp_path):
    source = os.open(tmp_path / "source", os.O_RDWR | os.O_CREAT)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


def refuse(code):
    def function(*_arguments):
        raise OSError(code, os.strerror(code))

    return function


WAYS = ["all", "no reflink", "no copy_file_range", "by hand"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    if request.param in {"no reflink", "by hand"}:
        monkeypatch.setattr(fcntl, "ioctl", refuse(errno.EOPNOTSUPP))
    if request.param in {"no copy_file_range", "by hand"}:
        monkeypatch.setattr(os, "copy_file_range", refuse(errno.EXDEV))
    return request.param


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    size=st.integers(0, 20_000),
    offset=st.integers(0, 9_000),
    length=st.integers(0, 20_000),
    place=st.integers(0, 5_000),
)
def test_the_range_arrives_and_nothing_else(files, way, size, offset, length, place):
    source, target = files
    data = os.urandom(size)
    os.ftruncate(source, 0)
    os.ftruncate(target, 0)
    os.pwrite(source, data, 0)
    wanted = data[offset : offset + length]
    assert copy_range(source, offset, target, length, place) == len(wanted)
    expected = b"\0" * place + wanted if wanted else b""
    assert os.pread(target, 1 << 20, 0) == expected


def test_whole_blocks_too(files, way):
    source, target = files
    data = os.urandom(5 * 4096)
    os.pwrite(source, data, 0)
    assert copy_range(source, 4096, target, 3 * 4096) == 3 * 4096
    assert os.pread(target, 1 << 20, 0) == data[4096 : 4 * 4096]


def test_the_positions_stay(files, way):
    source, target = files
    os.write(source, b"0123456789")
    os.write(target, b"ab")
    copy_range(source, 2, target, 4, 2)
    assert os.lseek(source, 0, os.SEEK_CUR) == 10
    assert os.lseek(target, 0, os.SEEK_CUR) == 2
    assert os.pread(target, 99, 0) == b"ab2345"


def test_several_steps(files, monkeypatch):
    monkeypatch.setattr(copying, "_STEP", 1000)
    monkeypatch.setattr(copying, "_BUFFER", 700)
    source, target = files
    data = os.urandom(5001)
    os.pwrite(source, data, 0)
    assert copy_range(source, 0, target, 5001) == 5001
    assert os.pread(target, 9999, 0) == data
    monkeypatch.setattr(os, "copy_file_range", refuse(errno.EXDEV))
    assert copy_range(source, 0, target, 5001, 5001) == 5001
    assert os.pread(target, 99999, 0) == data + data


def test_a_way_that_gives_up_in_the_middle_is_followed_by_the_next(files, monkeypatch):
    source, target = files
    data = os.urandom(3000)
    os.pwrite(source, data, 0)
    monkeypatch.setattr(copying, "_STEP", 1000)
    real, calls = os.copy_file_range, []

    def once(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            return 0
        return real(*arguments)

    monkeypatch.setattr(os, "copy_file_range", once)
    assert copy_range(source, 0, target, 3000) == 3000
    assert len(calls) == 2
    assert os.pread(target, 9999, 0) == data


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_real_failures_are_raised(files, monkeypatch, code):
    source, target = files
    os.pwrite(source, b"x" * 8192, 0)
    monkeypatch.setattr(os, "copy_file_range", refuse(code))
    with pytest.raises(OSError, match=os.strerror(code)):
        copy_range(source, 0, target, 100)
    monkeypatch.setattr(fcntl, "ioctl", refuse(code))
    with pytest.raises(OSError, match=os.strerror(code)):
        copy_range(source, 0, target, 4096)
    with pytest.raises(OSError, match=os.strerror(code)):
        reflink(source, target)


def test_a_source_that_cannot_be_copied_in_the_kernel(files):
    _, target = files
    fd = os.open("/proc/self/cmdline", os.O_RDONLY)
    try:
        expected = os.pread(fd, 1 << 16, 0)
        assert copy_range(fd, 0, target, 1 << 16) == len(expected)
        assert os.pread(target, 1 << 17, 0) == expected
    finally:
        os.close(fd)


def test_reflink_shares_or_says_no(files):
    source, target = files
    data = os.urandom(10_000)
    os.pwrite(source, data, 0)
    shared = reflink(source, target)
    assert os.pread(target, 1 << 20, 0) == (data if shared else b"")


def test_a_descriptor_that_is_not_open_for_writing_raises(files, tmp_path):
    source, _ = files
    os.pwrite(source, b"x" * 4096, 0)
    read_only = os.open(tmp_path / "target", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file"):
            copy_range(source, 0, read_only, 4096)
    finally:
        os.close(read_only)
