"""A short run of `tools/reliability pulls`, and a test that it finds faults."""

from reliability import pulls
from reliability.pulls import CHUNK, Kill, figures


def test_a_few_kills():
    kills = pulls.run(3, seed=1, size=6)
    assert [kill.faults for kill in kills] == [()] * 3
    assert {kill.image for kill in kills} == {"one", "several", "many"}
    for kill in kills:
        assert kill.before >= kill.place
        assert kill.open >= 1
        assert kill.twice <= kill.open * CHUNK


def test_what_would_be_wrong_is_found():
    good = Kill("one", 5, 6, 9 + CHUNK, 15, 1, ())
    assert [figure.met for figure in figures([good], 1)] == [None, None, None, True, True]
    too_much, damaged = good._replace(after=10 + CHUNK), good._replace(faults=("left",))
    assert [figure.met for figure in figures([good, too_much], 1)][3:] == [False, True]
    assert [figure.met for figure in figures([good, damaged], 1)][3:] == [True, False]
