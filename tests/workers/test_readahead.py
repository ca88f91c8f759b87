"""A stage of a pass in a separate thread: all data in order, errors at their place, and no thread left."""

from __future__ import annotations

import io
import threading

import pytest

from arstore.digest import CHUNK
from arstore.workers.readahead import ReadAhead


class Source:
    """A source that counts its reads, and raises *error* after them."""

    def __init__(self, data, error=None):
        self._file = io.BytesIO(data)
        self._error = error
        self.reads = 0

    def read(self, size=-1):
        self.reads += 1
        data = self._file.read(size)
        if not data and self._error is not None:
            raise self._error
        return data


def content(chunks):
    return b"".join(bytes([number % 251]) * CHUNK for number in range(chunks)) + b"end"


def everything(reader):
    return b"".join(iter(lambda: reader.read(CHUNK), b""))


def test_what_is_read_is_what_the_source_has():
    with ReadAhead(Source(content(10))) as reader:
        assert everything(reader) == content(10)
        assert reader.read(CHUNK) == b""


def test_one_stage_after_the_other():
    with ReadAhead(Source(content(6))) as first, ReadAhead(first) as second, ReadAhead(second) as third:
        assert everything(third) == content(6)


def test_an_error_comes_after_what_was_read_before_it():
    with ReadAhead(Source(content(2), OSError(5, "Input/output error"))) as first, ReadAhead(first) as second:
        assert second.read(CHUNK) == content(2)[:CHUNK]
        with pytest.raises(OSError, match="Input/output"):
            everything(second)
        assert second.read(CHUNK) == b""


def test_no_more_than_a_few_chunks_wait():
    source = Source(content(100))
    with ReadAhead(source) as reader:
        reader.read(CHUNK)
        thread = next(one for one in threading.enumerate() if one.name == "read-ahead")
        thread.join(0.2)
        assert source.reads < 10


def test_who_goes_early_leaves_no_thread():
    before = threading.active_count()
    with ReadAhead(Source(content(50))) as first, ReadAhead(first) as second:
        second.read(CHUNK)
        assert threading.active_count() == before + 2
    assert threading.active_count() == before
