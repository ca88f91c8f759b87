"""Statements are read as other tools write them, and read back the same after writing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.signing import MANIFEST

from arstore.digest import Digest
from arstore.trust.payload import COSIGN, SIMPLE, Statement, read_statement, statement_now, write_statement

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(
    st.sampled_from([COSIGN, SIMPLE]),
    st.binary(),
    _TEXTS.filter(bool),
    _TEXTS,
    st.none() | st.integers(-(1 << 62), 1 << 62),
)
def test_what_is_written_reads_the_same(kind, manifest, reference, creator, timestamp):
    statement = Statement(Digest.of(manifest), reference, creator, timestamp)
    assert read_statement(write_statement(statement, kind), kind) == statement


def _with(optional):
    document = {
        "critical": {
            "identity": {"docker-reference": "127.0.0.1:5000/app"},
            "image": {"docker-manifest-digest": str(MANIFEST)},
            "type": COSIGN,
        },
        "optional": optional,
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("optional", "expected"),
    [
        (None, ("", None)),
        ({}, ("", None)),
        ({"annotation": "of a user", "nested": {"a": [1]}}, ("", None)),
        ({"creator": "containers/image 5.39.1", "timestamp": 1795934158}, ("containers/image 5.39.1", 1795934158)),
        ({"timestamp": 17.0}, ("", 17)),
    ],
)
def test_what_cosign_and_skopeo_write(optional, expected):
    found = read_statement(_with(optional), COSIGN)
    assert (found.digest, found.reference) == (MANIFEST, "127.0.0.1:5000/app")
    assert (found.creator, found.timestamp) == expected


def test_now():
    found = statement_now(MANIFEST, "example.org/app:1")
    assert found.creator.startswith("arstore ")
    assert found.timestamp is not None
