"""Records as bytes: what is written is what is read, and anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.graph.records import (
    BlobRecord,
    ContainerRecord,
    ImageRecord,
    LayerRecord,
    LeaseRecord,
    RecordCodec,
    TreeRecord,
)

TEXT = st.text(max_size=40)
WHOLE = st.integers(0, 1 << 63)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
TIME = st.floats(0, 4e9)

RECORDS = st.one_of(
    st.builds(BlobRecord, WHOLE, TEXT, WHOLE),
    st.builds(LayerRecord, TEXT, TEXT, TEXTS, WHOLE, TEXT),
    st.builds(TreeRecord, TEXT, TEXT, st.booleans(), WHOLE, WHOLE, st.booleans()),
    st.builds(ImageRecord, TEXT, WHOLE, TEXT, TEXT, TIME, TEXT, TEXTS, TEXT, st.none() | TEXT, TEXTS),
    st.builds(ContainerRecord, TEXT, TIME, st.booleans(), WHOLE, WHOLE, TEXT),
    st.builds(LeaseRecord, TEXTS, TEXT, WHOLE, WHOLE, TEXT, TIME),
)


@given(RECORDS)
def test_what_is_written_is_read(record):
    data = RecordCodec.encode(record)
    assert RecordCodec.decode(type(record), data) == record
    assert list(json.loads(data)) == list(record._fields)
    assert b"\n" not in data


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", b'{"size":1,"other":2}', b'{"size":1'])
def test_anything_else_is_refused(data):
    with pytest.raises((ValueError, TypeError)):
        RecordCodec.decode(LayerRecord, data)


def test_an_older_record_may_lack_what_has_a_default():
    assert RecordCodec.decode(BlobRecord, b'{"size":7}') == BlobRecord(7, "", 0)


def test_what_is_an_index():
    assert ImageRecord("t", 1, "", "", 0.0, manifests=("a",)).is_index
    assert not ImageRecord("t", 1, "", "", 0.0, config="c").is_index
