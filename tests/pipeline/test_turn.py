"""One load of a pipeline at a time: which process holds the lock, what the others print, and what releases it."""

from __future__ import annotations

import os
import signal

import pytest

from arstore.errors import InUseError
from arstore.pipeline.turn import NAME, only_load


@pytest.fixture
def place(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def holding(place):
    """A process that works in *place*, and has forked a worker; return its pid."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with only_load(place, "builder:1"):
                os.write(writer, b"x")
                signal.pause()
        finally:
            os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid


def test_nothing_is_left_behind(place, tmp_path):
    with only_load(place, "builder:1"):
        assert os.listdir(tmp_path) == [NAME]
        assert os.stat(tmp_path / NAME).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == []


def test_the_second_is_told_who_is_at_work(place, tmp_path):
    pid = holding(place)
    try:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(InUseError) as caught, only_load(place, "builder:1"):
            pass
        assert str(caught.value).startswith(f"pipeline builder:1: is being loaded by process {pid} since ")
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert os.listdir(tmp_path) == [NAME]
    with only_load(place, "builder:1"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff" * 5000])
def test_a_file_that_says_nothing(place, tmp_path, content):
    pid = holding(place)
    (tmp_path / NAME).write_bytes(content)
    try:
        with pytest.raises(InUseError, match="by another process"), only_load(place, "x"):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_symlink_is_not_followed(place, tmp_path):
    (tmp_path / NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"), only_load(place, "x"):
        pass
    assert not (tmp_path / "victim").exists()
