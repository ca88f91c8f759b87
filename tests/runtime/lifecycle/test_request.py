"""The recorded request: each field of RunOptions is read as it was written; damage and newer versions are refused."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import NotFoundError, StoreDamagedError, StoreVersionError
from arstore.graph.records import ContainerRecord
from arstore.runtime import spec
from arstore.runtime.lifecycle.request import Request, decoded, encoded, record_request, recorded_request
from arstore.runtime.spec.options import RunOptions, Volume
from arstore.runtime.stdio import log_options
from arstore.store import container_document
from arstore.store.container_document import RUN_NAME, has_readers, reading_end, take_launch_lock
from arstore.store.containers import Container

TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
"""Surrogates too: names of files that are not UTF-8 have them."""


def spec_classes():
    """All names of all modules of `runtime.spec`, by which annotations are resolved."""
    found = dict(vars(log_options))
    for module in pkgutil.walk_packages(spec.__path__, f"{spec.__name__}."):
        found |= vars(importlib.import_module(module.name))
    # Defined for type checkers alone.
    networks = Literal["none", "host", "private", "pasta", "slirp4netns", "ns"]
    return found | {"Mapping": Mapping, "Literal": Literal, "Network": networks}


def hints(kind):
    return get_type_hints(kind, spec_classes())


def values(annotation):
    """A strategy for an annotation of a field; fails for a kind of annotation that the codec may not know."""
    plain = {str: TEXT, int: st.integers(), bool: st.booleans(), type(None): st.none()}
    plain[float] = st.floats(allow_nan=False, allow_infinity=False)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in plain:
        return plain[annotation]
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        if arguments[-1] is ...:
            return st.lists(values(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, arguments))
    if origin is Mapping:
        return st.dictionaries(TEXT, values(arguments[1]), max_size=3).map(MappingProxyType)
    if arguments:
        return st.one_of(*map(values, arguments))
    assert issubclass(annotation, tuple), annotation
    return instances(annotation)


def instances(kind):
    return st.builds(kind, **{name: values(annotation) for name, annotation in hints(kind).items()})


REQUESTS = st.deferred(lambda: instances(Request))


@given(REQUESTS)
def test_what_is_written_is_read(request):
    text = json.dumps(encoded(request))
    found = decoded(json.loads(text))
    assert found == request
    assert repr(found) == repr(request)


@pytest.mark.parametrize("field", RunOptions._fields)
def test_each_field(field):
    @given(values(hints(RunOptions)[field]))
    def holds(value):
        request = Request("sha256:0", RunOptions(**{field: value}))
        assert decoded(json.loads(json.dumps(encoded(request)))) == request

    holds()


def test_names_of_classes_are_unique():
    """The codec finds a class by its name alone."""
    homes = {}
    for name, value in spec_classes().items():
        if isinstance(value, type) and hasattr(value, "_fields"):
            homes.setdefault(value.__name__, set()).add(value.__module__)
            assert name == value.__name__
    assert all(len(modules) == 1 for modules in homes.values())


def test_defaults_are_not_written():
    assert encoded(Request("sha256:0", RunOptions())) == {
        "Request": {"image": "sha256:0", "options": {"RunOptions": {}}}
    }
    assert decoded({"Request": {"image": "x", "options": {"RunOptions": {}}}}) == Request("x", RunOptions())


@pytest.mark.parametrize(
    "fields",
    [
        {"Request": {"image": "x", "options": {"RunOptions": {"later": 1}}}},
        {"Request": {"image": "x", "options": {"RunOptions": {"volumes": [{"Later": {}}]}}}},
        {"Request": {"image": "x", "options": {"RunOptions": {}}, "later": 1}},
    ],
)
def test_what_a_newer_version_wrote_is_refused(container, fields):
    container_document.write_request(container.path, fields, durable=False)
    with pytest.raises(StoreVersionError, match="newer"):
        recorded_request(container)


@pytest.fixture
def container(tmp_path):
    return Container("box", ContainerRecord("sha256:0", 0.0), str(tmp_path), str(tmp_path))


REQUEST = Request("sha256:0", RunOptions(args=("a",), volumes=(Volume("/a", "/b"),)), timeout=3.0)


def test_a_file_of_its_owner(container):
    record_request(container, REQUEST)
    path = Path(container.path, RUN_NAME)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert recorded_request(container) == REQUEST
    assert [one.name for one in Path(container.path).iterdir()] == [RUN_NAME]


def test_without_one(container):
    with pytest.raises(NotFoundError, match="mount --rw"):
        recorded_request(container)


def test_every_flipped_bit_is_found(container):
    record_request(container, REQUEST)
    path = Path(container.path, RUN_NAME)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            with contextlib.suppress(StoreDamagedError):
                assert recorded_request(container) == REQUEST


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"version":1,"crc32":"0"}'])
def test_anything_else_is_damage(container, data):
    Path(container.path, RUN_NAME).write_bytes(data)
    with pytest.raises(StoreDamagedError):
        recorded_request(container)


def test_the_launchers_lock(container):
    assert take_launch_lock(container.path) == -1
    record_request(container, REQUEST)
    with open(take_launch_lock(container.path), "rb"):
        assert take_launch_lock(container.path) is None
    with open(take_launch_lock(container.path), "rb"):
        pass


def test_readers(container):
    record_request(container, REQUEST)
    assert not has_readers(container.path)
    with reading_end(container.path):
        assert has_readers(container.path)
    assert not has_readers(container.path)
