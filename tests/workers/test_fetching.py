"""Streams through a pipe: their bytes, ends and errors arrive, and nothing else is believed."""

from __future__ import annotations

import os
import struct
import threading
from io import BytesIO

import pytest

from arstore.digest import CHUNK
from arstore.errors import HostError, MissingBlobError
from arstore.workers.fetching import Fetched, Wanted, fetch
from arstore.workers.wire import packed


class Pipe:
    """A pipe that *write* fills in a thread; it gets the writing end, which is closed afterwards."""

    def __init__(self, write):
        self.reading, writing = os.pipe()

        def work():
            try:
                write(writing)
            except BrokenPipeError:
                self.broken = True
            finally:
                os.close(writing)

        self.broken = False
        self._thread = threading.Thread(target=work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.close(self.reading)
        self._thread.join()


def wanted(data, size=None, opened=None):
    def opener():
        if opened is not None:
            opened.append(data[:4])
        return BytesIO(data)

    return Wanted("blob x", len(data) if size is None else size, opener)


def frame(kind, data=b"", length=None):
    return struct.pack("<cI", kind, len(data) if length is None else length) + data


def read(stream, size=CHUNK):
    return b"".join(iter(lambda: stream.read(size), b""))


CONTENTS = [b"", b"a", b"b" * (CHUNK - 1), b"c" * CHUNK, b"d" * (3 * CHUNK + 7), b"", b"e"]


@pytest.mark.parametrize("size", [CHUNK, 100_003])
def test_streams_arrive_in_order(size):
    with Pipe(lambda fd: fetch(map(wanted, CONTENTS), fd)) as pipe:
        streams = Fetched(pipe.reading)
        opened = [streams.next() for _ in CONTENTS]
        assert [read(stream, size) == content for stream, content in zip(opened, CONTENTS, strict=True)] == [True] * 7
        assert [stream.read(10) for stream in opened] == [b""] * 7


def test_reads_are_bounded_and_may_ask_for_all():
    with Pipe(lambda fd: fetch([wanted(b"abc" * 100)], fd)) as pipe:
        stream = Fetched(pipe.reading).next()
        assert stream.read(0) == b""
        assert 0 < len(stream.read(7)) <= 7
        assert stream.read() == (b"abc" * 100)[7:]


def test_what_is_left_of_a_stream_is_passed_over():
    with Pipe(lambda fd: fetch([wanted(b"x" * (2 * CHUNK)), wanted(b"y")], fd)) as pipe:
        streams = Fetched(pipe.reading)
        first, second = streams.next(), streams.next()
        assert first.read(5) == b"xxxxx"
        assert read(second) == b"y"
        assert first.read(5) == b""


def test_one_is_open_at_a_time():
    events = []

    class Watched(BytesIO):
        def __init__(self, data):
            events.append("open")
            super().__init__(data)

        def close(self):
            events.append("close")
            super().close()

    all_wanted = [Wanted("x", 3, lambda: Watched(b"abc")) for _ in range(5)]
    with Pipe(lambda fd: fetch(all_wanted, fd)) as pipe:
        streams = Fetched(pipe.reading)
        for stream in [streams.next() for _ in range(5)]:
            read(stream)
    assert events == ["open", "close"] * 5


def test_one_byte_too_many_is_enough():
    class Endless:
        given = 0

        def read(self, size=-1, /):
            Endless.given += size
            return bytes(size)

        def close(self):
            pass

    with Pipe(lambda fd: fetch([Wanted("x", 1000, Endless)], fd)) as pipe:
        assert len(read(Fetched(pipe.reading).next())) == 1001
    assert Endless.given == 1001


def failing(error, after=b""):
    class Failing(BytesIO):
        def read(self, size=-1, /):
            data = super().read(size)
            if not data:
                raise error
            return data

    return Wanted("blob x", 100, lambda: Failing(after))


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (MissingBlobError("x", "is not there", "look elsewhere"), MissingBlobError, "x: is not there; look elsewhere"),
        (ConnectionResetError(104, "Connection reset by peer"), ConnectionResetError, "blob x"),
        (BrokenPipeError(32, "Broken pipe"), BrokenPipeError, "blob x"),
        (TimeoutError(), HostError, "blob x: cannot be fetched: unexpected TimeoutError"),
        (ValueError("odd"), HostError, "blob x: cannot be fetched: unexpected ValueError: odd"),
        (MemoryError(), HostError, "blob x: cannot be fetched: out of memory"),
    ],
)
@pytest.mark.parametrize("after", [b"", b"some"])
def test_an_error_is_raised_where_the_bytes_are_read(error, kind, text, after):
    opened = []
    with Pipe(lambda fd: fetch([wanted(b"good"), failing(error, after), wanted(b"z", opened=opened)], fd)) as pipe:
        streams = Fetched(pipe.reading)
        first, second = streams.next(), streams.next()
        assert read(first) == b"good"
        with pytest.raises(kind, match=text):
            read(second)
        assert not pipe.broken
    assert opened == []


def test_nobody_reads():
    pipe = Pipe(lambda fd: fetch([wanted(bytes(20 * CHUNK))], fd))
    with pipe:
        Fetched(pipe.reading).next().read(10)
    assert pipe.broken


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"D",
        frame(b"D", b"ab"),
        frame(b"D", b"ab", 10),
        frame(b"F", b"{}", 10),
        frame(b"D"),
        frame(b"X", b"a"),
        frame(b"D", length=CHUNK + 1),
        frame(b"F", length=(1 << 32) - 1),
        frame(b"F", b"no json"),
        frame(b"F", packed("no error")),
        frame(b"F", packed({"o": [1]})),
    ],
)
def test_what_no_fetching_process_sends_is_one_error(data):
    with Pipe(lambda fd: os.write(fd, data) if data else None) as pipe, pytest.raises(HostError) as caught:
        read(Fetched(pipe.reading).next())
    assert len(str(caught.value).splitlines()) == 1
