"""Numbers for keys: recorded keys get their positions, and each unrecorded key gets another one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arstore.graph.key_numbers import UNKNOWN, Numbers

KEYS = st.text("abc", max_size=2)


@given(st.sets(KEYS), st.lists(st.lists(KEYS)), st.sets(st.integers(0, 12)))
def test_each_key_has_one_number_and_each_number_its_key(recorded, asked, some):
    numbers = Numbers(sorted(recorded))
    given_out = {}
    for keys in asked:
        for key, number, known in zip(keys, numbers.all_of(keys), numbers.known(keys), strict=True):
            assert given_out.setdefault(key, number) == number == numbers.of(key)
            assert numbers.keys[number] == key
            assert known == (number if key in recorded else UNKNOWN)
    assert len(set(given_out.values())) == len(given_out)
    assert list(numbers.recorded) == sorted(recorded) == numbers.keys[: len(recorded)]
    assert numbers.besides(some) == [key for place, key in enumerate(sorted(recorded)) if place not in some]
