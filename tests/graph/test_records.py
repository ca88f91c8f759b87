"""Records as bytes: written records read the same, and anything else is refused."""

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
    st.builds(ContainerRecord, TEXT, TIME, st.booleans(), WHOLE, WHOLE, TEXT, TEXT),
    st.builds(LeaseRecord, TEXTS, TEXT, WHOLE, WHOLE, TEXT, TIME),
)


@given(RECORDS)
def test_what_is_written_is_read(record):
    data = RecordCodec.encode(record)
    assert RecordCodec.decode(type(record), data) == record
    left_out = {"name"} if isinstance(record, ContainerRecord) and not record.name else set()
    assert list(json.loads(data)) == [field for field in record._fields if field not in left_out]
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


@pytest.mark.parametrize(
    "texts",
    [
        [b'{"size":1},{"size":2}', b'{"size":3}'],
        [b'{"size":1}', b"1"],
        [b'["size","diff_id","tar_size"]', b'["size","diff_id","tar_size"]'],
        [b'{"size":1}', b'{"size":1'],
        [b"{}"],
    ],
)
def test_columns_of_anything_else_are_refused(texts):
    with pytest.raises((ValueError, TypeError)):
        RecordCodec.decode_columns(BlobRecord, ["size"], texts)


@given(st.lists(st.builds(BlobRecord, WHOLE, TEXT, WHOLE), max_size=5))
def test_columns_are_the_fields_of_all(records):
    found = RecordCodec.decode_columns(BlobRecord, ["size", "diff_id"], list(map(RecordCodec.encode, records)))
    assert found == [[record.size for record in records], [record.diff_id for record in records]]
