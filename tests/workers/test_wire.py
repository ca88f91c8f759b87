"""Answers of workers: values arrive unchanged, and other bytes are refused."""

from __future__ import annotations

import contextlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import DigestMismatchError, HostError, LimitError
from arstore.maintenance.check.findings import Damage, Finding
from arstore.maintenance.check.quick_scan import Glance
from arstore.maintenance.scan.size_table import Sizes
from arstore.maintenance.scan.totals import Survey
from arstore.store.ingest.layer_jobs import Again
from arstore.store.ingest.layer_pass import LayerOutcome
from arstore.trees.attributes import Dropped
from arstore.trees.directory.unpacker import UnpackReport
from arstore.trees.format import Needs, TreeStat
from arstore.trees.metadata import SkippedEntries
from arstore.workers.wire import packed, unpacked

DIGEST = Digest("sha256:" + "a" * 64)

HASHABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.just(DIGEST) | st.just("\udc80\0\n"),
    lambda one: st.tuples(one, one) | st.frozensets(one, max_size=3),
    max_leaves=8,
)
VALUES = st.recursive(
    HASHABLE,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(HASHABLE, one, max_size=3) | st.sets(HASHABLE, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_values_come_back_with_their_types(value):
    found = unpacked(packed(value))
    assert repr(found) == repr(value) or found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        LayerOutcome(5, Needs([b"\xff"], [(b"a", b"b")], [b""]), TreeStat(1, 2, ("listing:00",)), "erofs", ""),
        LayerOutcome(5, Needs(), None, denied="chown: no"),
        [Again.ALONE, Again.OTHER_FORM],
        UnpackReport(1, 2, 3, SkippedEntries(), SkippedEntries(), Dropped(2, 1, [(b"a", b"user.b", "why")])),
        (Finding(Damage.BLOB_SIZE, "what", "why", True), Damage.ORPHAN),
        Glance(frozenset({b"blobs/x"}), suspects=(DIGEST,), tars=Sizes(["a", "b"], [1, -1])),
        Survey(1, Sizes(["a"], [2]), containers=Sizes(["\udcff"], [3]), exchange=4, linked={7: ("blobs", "a", 2)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_types_that_workers_answer_with(value):
    found = unpacked(packed(value))
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    "error",
    [
        DigestMismatchError("what", "why", "hint"),
        LimitError("", "why"),
        OSError(28, "No space left on device", "name"),
        FileNotFoundError(2, "gone", b"name", None, "other"),
        PermissionError(1, "x"),
        OSError("without a number"),
    ],
    ids=repr,
)
def test_errors(error):
    found = unpacked(packed(error))
    assert (type(found), found.args, str(found)) == (type(error), error.args, str(error))
    assert getattr(found, "filename", None) == getattr(error, "filename", None)


@pytest.mark.parametrize("value", [object(), print, ValueError("x"), Exception, 1j], ids=lambda one: type(one).__name__)
def test_what_is_no_answer_cannot_be_given(value):
    with pytest.raises(TypeError):
        packed(value)


class Gadget:
    """An object whose pickle would run a program."""

    def __reduce__(self):
        import os

        return os.system, ("false",)


HOSTILE = {
    "a pickle": pickle.dumps(Gadget()),
    "a type that was not registered": json.dumps({"k": ["subprocess.Popen", "false"]}).encode(),
    "a function": json.dumps({"k": ["os.system", "false"]}).encode(),
    "an error that is none": json.dumps({"e": ["os.system", "false"]}).encode(),
    "what errors imports": json.dumps({"e": ["arstore.errors.errno", "false"]}).encode(),
    "an error of no module of ours": json.dumps({"e": ["builtins.SystemExit", 0]}).encode(),
    "too many fields": json.dumps({"k": ["arstore.trees.format.TreeStat", 1, 2, 3, 4, 5]}).encode(),
    "a digest that is none": json.dumps({"k": ["arstore.digest.Digest", "../../etc"]}).encode(),
    "another mark": b'{"x":1}',
    "two marks": b'{"t":[],"s":[]}',
    "no mark": b"{}",
    "a key that cannot be one": b'{"s":[[]]}',
    "not base64": b'{"b":"?"}',
    "not base64 of bytes": b'{"b":5}',
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "a long number": b"1" * 100_000,
    "no JSON": b"\xff\xfe\0",
    "nothing": b"",
    "an enumeration without this value": json.dumps({"k": ["arstore.store.ingest.layer_jobs.Again", 77]}).encode(),
    "an array that is cut short": json.dumps(
        {"k": ["arstore.maintenance.scan.size_table.Sizes", "a", {"b": "AAAA"}]}
    ).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_one_line(name):
    with pytest.raises(HostError) as caught:
        unpacked(HOSTILE[name])
    assert "\n" not in str(caught.value)


@given(st.binary())
def test_any_bytes(data):
    with contextlib.suppress(HostError):
        unpacked(data)
