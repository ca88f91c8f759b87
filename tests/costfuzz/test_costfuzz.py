"""The search for what costs most: genomes keep to their grammar, targets run, and a loop that nobody pays is found."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from reliability import cost as exercise

from arstore.errors import TarError
from costfuzz.confirmation import confirmed, dearest
from costfuzz.engine import SLICE, WRONG, Best, Corpus, Search, features, search, supervised
from costfuzz.genome import BODY, DEEPEST, LONGEST, changed, made, scale
from costfuzz.measuring import ALLOWED, Cost, measured
from costfuzz.targets import TARGETS, Target

if TYPE_CHECKING:
    from pathlib import Path

    from costfuzz.genome import Genome
    from costfuzz.measuring import Run

GRAMMAR = {"one": {"n": 1000, "word": ("a", "b")}, "repeat": {"n": 3, "body": ()}}


def keeps_to(genome: Genome, grammar: Any, depth: int = 0) -> bool:
    return (
        len(genome) <= LONGEST
        and depth <= DEEPEST
        and all(
            values.keys() == grammar[name].keys()
            and all(
                keeps_to(value, grammar, depth + 1)
                if key == BODY
                else (0 <= value <= grammar[name][key] if isinstance(value, int) else value in grammar[name][key])
                for key, value in values.items()
            )
            for name, values in genome
        )
    )


@pytest.mark.parametrize("name", ["layer", "layout"])
def test_genomes_keep_to_their_grammar(name):
    grammar, chance = TARGETS[name].grammar, random.Random(5)
    found = [made(grammar, chance) for _ in range(20)]
    for _ in range(1000):
        found.append(changed(chance.choice(found), found[-3:], grammar, chance))
        scale(found[-1], grammar, 2)
        assert keeps_to(found[-1], grammar), found[-1]
    assert len({str(genome) for genome in found}) > 900


@pytest.mark.root
@pytest.mark.parametrize("name", TARGETS)
def test_targets_take_any_genome(name):
    """Whatever comes of one is an answer of arstore's own, and most are charged something."""
    target, chance = TARGETS[name], random.Random(7)
    charged = 0
    for number in range(60):
        source = target.make(made(target.grammar, chance), 2000)
        found = measured(target.run(source, number), target.size(source), memory=number % 20 == 0)
        charged += any(found.charged.get(one, 0) for one in ("steps", "visits", "parsed", "listing"))
        assert all(value >= 0 for value in features(found, 0.0).values())
    assert charged > 50


def made_up(run: Any, name: str = "made-up") -> Target:
    """A target whose genomes are the sums of their counts."""

    def size(genome: Genome, most: int) -> int:
        return min(most, sum(size(values["body"], most) if BODY in values else values["n"] for _, values in genome))

    return Target(name, GRAMMAR, size, run, lambda count: count)


def paid(count: int, _how: int) -> Run:
    def run(charged: dict[str, int]) -> None:
        charged["steps"] = 1000 * count
        sum(range(20 * count))

    return run


def unpaid(count: int, _how: int) -> Run:
    count = min(count, 500)

    def run(charged: dict[str, int]) -> None:
        charged["steps"] = 100 * count
        for number in range(count):
            sum(range(40 * number))
        raise TarError("x", "is refused in the end")

    return run


@pytest.mark.parametrize(("run", "is_found"), [(paid, False), (unpaid, True)])
def test_a_loop_that_nobody_pays_is_found(run, is_found, tmp_path):
    target, corpus = made_up(run), Corpus("made-up")
    looking = Search(target, corpus, random.Random(3))
    with open(tmp_path / "note", "wb") as note:
        for _ in range(60):
            looking.step(note.fileno())
    found = [one for one in (confirmed(target, each) for each in dearest(corpus, 2)) if one is not None]
    assert (max((one.at_most for one in found), default=99.0) > WRONG) is is_found
    (line, *bars) = exercise.figures(corpus, found)
    assert "60 executions" in line.measured
    assert all(bar.met is not is_found for bar in bars[:1])


def test_a_search_goes_on_where_it_was_and_tells_what_ended_it(tmp_path: Path):
    target, until = made_up(paid), time.time() + 60
    search([target], tmp_path, SLICE, 1, until)
    search([target], tmp_path, 2 * SLICE, 1, until, again=True)
    corpus = Corpus.read(tmp_path / "made-up.json", "made-up")
    assert corpus.executions == 2 * SLICE
    assert corpus.best
    assert all(isinstance(one, Best) for one in corpus.best.values())

    def dies(count: int, _how: int) -> Run:
        return lambda _charged: os._exit(3) if count > 900 else None

    died = supervised([made_up(dies, "dies")], tmp_path, SLICE, 1, time.time() + 3)
    assert died
    assert '["dies", [["' in died[0]
    assert not list(tmp_path.glob("running-*"))


def test_what_was_charged_bounds_how_often_an_input_can_be_had():
    half = Cost(1000, 2.0, {"steps": ALLOWED["steps"] // 2, "visits": 1})
    assert half.share == pytest.approx(0.5, 0.01)
    assert half.at_most(0.5) == pytest.approx(3.0, 0.01)
    assert half.at_most(1.9) == 0
