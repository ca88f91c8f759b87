"""Archives that are compressed as a whole: a separate process, which can do nothing else, inflates them."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import os
import signal
import time

import pytest

from arstore.errors import CompressionError, HostError, LimitError, TruncatedError
from arstore.linux.isolation import seccomp
from arstore.tar.codec import HEAD, Compression
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.media import inflating as module
from arstore.transport.media.inflating import inflating

CONTENT = os.urandom(3 << 20) + bytes(5 << 20)
COMPRESSORS = {
    Compression.GZIP: lambda: gzip.compress(CONTENT, 1),
    Compression.XZ: lambda: lzma.compress(CONTENT, preset=0),
    Compression.BZIP2: lambda: bz2.compress(CONTENT, 1),
}


@functools.cache
def packed(compression=Compression.GZIP):
    """CONTENT, compressed: when a test asks for it, since each worker reads this file."""
    return COMPRESSORS[compression]()


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


@pytest.fixture(autouse=True)
def nothing_left():
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert children() == []
    assert sorted(os.listdir("/proc/self/fd")) == before


def inflated(data, compression=Compression.GZIP, limits=DEFAULT_LIMITS):
    return inflating(io.BytesIO(data), data[:HEAD], "the archive", compression, limits)


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_all_of_it_arrives(compression):
    with inflated(packed(compression), compression) as reader:
        assert reader.read(0) == b""
        found = b"".join(iter(lambda: reader.read(100_000), b""))
        assert reader.read(1) == b""
    assert found == CONTENT
    with inflated(packed(compression), compression) as reader:
        assert reader.read() == CONTENT


@pytest.mark.parametrize(
    ("change", "limits", "error"),
    [
        (lambda data: data[:-5], DEFAULT_LIMITS, TruncatedError),
        (lambda data: data[:10] + b"\xff" * 2000, DEFAULT_LIMITS, CompressionError),
        (lambda data: data + b"more", DEFAULT_LIMITS, CompressionError),
        (lambda data: data, Limits(inflated=1 << 20), LimitError),
    ],
    ids=["cut", "damaged", "followed", "large"],
)
def test_what_is_wrong_is_told_as_ever(change, limits, error):
    with inflated(change(packed()), limits=limits) as reader, pytest.raises(error) as caught:
        reader.read()
    assert caught.value.what == "the archive"


class Failing(io.BytesIO):
    def read(self, size=-1, /):
        if self.tell() > HEAD:
            raise OSError(5, "Input/output error")
        return super().read(min(size, HEAD + 1))


def test_a_source_that_fails():
    data = packed()
    with (
        inflating(Failing(data), data[:HEAD], "x", Compression.GZIP, DEFAULT_LIMITS) as reader,
        pytest.raises(OSError, match="Input/output"),
    ):
        reader.read()


def test_who_has_enough_waits_for_nobody():
    with inflated(packed()) as reader:
        assert reader.read(10) == CONTENT[:10]
    with pytest.raises(KeyError), inflated(packed()):
        raise KeyError


def test_a_process_that_is_killed_is_no_end():
    with inflated(packed()) as reader:
        reader.read(10)
        (child,) = children()
        os.kill(int(child), signal.SIGKILL)
        time.sleep(0.01)
        with pytest.raises(HostError):
            reader.read()


def does(action):
    def decompressed(*_words, **_more):
        action()
        return io.BytesIO(b"done")

    return decompressed


@pytest.mark.skipif(not seccomp.supported(), reason="no seccomp filters for this machine")
@pytest.mark.parametrize(
    "action",
    [
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.fork(),
        lambda: os.kill(os.getppid(), 0),
        lambda: os.mkdir("/tmp/inflating"),
        lambda: os.chmod("/", 0o777),
    ],
    ids=["exec", "fork", "kill", "mkdir", "chmod"],
)
def test_it_can_do_nothing_else(monkeypatch, action):
    monkeypatch.setattr(module, "decompressed", does(action))
    with inflated(b"x" * HEAD) as reader, pytest.raises(HostError, match="never needs"):
        reader.read()


@pytest.mark.skipif(not seccomp.supported(), reason="no seccomp filters for this machine")
def test_it_opens_no_files(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("x")

    def read():
        for path in (tmp_path / "secret", "/etc/passwd", "/proc/self/environ"):
            with pytest.raises(PermissionError):
                open(path, "rb").close()
        with pytest.raises(PermissionError):
            (tmp_path / "new").write_text("x")

    monkeypatch.setattr(module, "decompressed", does(read))
    with inflated(b"x" * HEAD) as reader:
        assert reader.read() == b"done"
    assert os.listdir(tmp_path) == ["secret"]
