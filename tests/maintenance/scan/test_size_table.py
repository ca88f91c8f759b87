"""Bytes by key: a mapping; operations on all keys at once give the same as key by key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.graph.key_numbers import Numbers
from arstore.maintenance.scan.size_table import Sizes
from arstore.workers.wire import packed, unpacked

TABLES = st.dictionaries(st.text("abc", max_size=2), st.integers(-(1 << 40), 1 << 40), max_size=6)
KEYS = st.sets(st.text("abc", max_size=2))


def made(table):
    return Sizes(table, table.values())


@given(TABLES)
def test_it_is_a_mapping(table):
    sizes = made(table)
    assert sizes == table
    assert list(sizes) == list(table)
    assert sizes.total == sum(table.values())
    assert unpacked(packed(sizes)) == table
    for key, size in table.items():
        assert sizes[key] == size
    assert "no key" not in sizes


@given(TABLES, TABLES)
def test_it_is_filled_and_sorted(one, other):
    sizes = Sizes()
    for key, size in one.items():
        sizes.put(key, size)
    assert sizes == one
    more = {key: size for key, size in other.items() if key not in one}
    sizes.extend(made(more))
    assert sizes == {**one, **more}
    sizes.sort()
    assert list(sizes.items()) == sorted({**one, **more}.items())
    for key in one:
        sizes.lessen(key, 3)
    assert sizes == {**{key: size - 3 for key, size in one.items()}, **more}


@given(TABLES, KEYS)
def test_what_is_besides_others(table, known):
    for keys in (known, dict.fromkeys(sorted(known)).keys(), frozenset(known), list(table)):
        assert made(table).besides(keys) == sorted(table.keys() - set(keys))


@given(TABLES, TABLES)
def test_what_others_have_otherwise(table, others):
    assert made(table).differing(others) == [key for key in table if key in others and others[key] != table[key]]
    assert made(table).differing(table) == []


@given(TABLES, KEYS, KEYS)
def test_the_bytes_of_each_number(table, recorded, needed):
    for keys in (recorded, table):
        numbers = Numbers(sorted(keys))
        numbers.all_of(sorted(needed))
        for sizes in (made(table), made(dict(sorted(table.items())))):
            assert sizes.by_number(numbers) == [table.get(key, 0) for key in numbers.keys]


def test_as_many_keys_as_values():
    with pytest.raises(ValueError, match="as many"):
        Sizes(["a"], [])
