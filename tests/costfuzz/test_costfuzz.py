"""The search for the highest cost: genomes keep to their grammar, targets run, and a loop without charge is found."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from reliability import cost as exercise

from arstore.errors import TarError
from costfuzz.confirmation import confirmed, dearest
from costfuzz.engine import SLICE, Best, Bounds, Corpus, Search, features, granted, search, supervised
from costfuzz.genome import BODY, DEEPEST, LONGEST, changed, made, scale
from costfuzz.measuring import ALLOWED, Cost, measured
from costfuzz.news import MEMORY, TIMES, WRONG, Quiet, floor, may_be_new
from costfuzz.targets import KINDS, TARGETS, Target

if TYPE_CHECKING:
    from pathlib import Path

    from arstore.tar.limits import Limits
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
    """Every genome must end with an error of arstore or none, and most must be charged something."""
    target, chance = TARGETS[name], random.Random(7)
    charged = 0
    for number in range(60):
        source = target.make(made(target.grammar, chance), 2000)
        found = measured(target.run(source, number, granted(2000)), target.size(source), memory=number % 20 == 0)
        charged += any(found.charged.get(one, 0) for one in ("steps", "visits", "parsed", "listing"))
        assert all(value >= 0 for value in features(found, 0.0).values())
    assert charged > 50


def made_up(run: Any, name: str = "made-up") -> Target:
    """A target whose genomes are the sums of their counts."""

    def size(genome: Genome, most: int) -> int:
        return min(most, sum(size(values["body"], most) if BODY in values else values["n"] for _, values in genome))

    return Target(name, "made-up", GRAMMAR, size, run, lambda count: count)


def paid(count: int, _how: int, _limits: Limits) -> Run:
    def run(charged: dict[str, int]) -> None:
        charged["steps"] = 1000 * count
        sum(range(20 * count))

    return run


def unpaid(count: int, _how: int, _limits: Limits) -> Run:
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
    search([target], tmp_path, Bounds(10**9, SLICE, until), 1)
    search([target], tmp_path, Bounds(10**9, 2 * SLICE, until), 1, again=True)
    corpus = Corpus.read(tmp_path / "made-up.json", "made-up")
    assert corpus.executions == 2 * SLICE
    assert corpus.best
    assert all(isinstance(one, Best) for one in corpus.best.values())

    def dies(count: int, _how: int, _limits: Limits) -> Run:
        return lambda _charged: os._exit(3) if count > 900 else None

    (tmp_path / "dies").mkdir()
    died = supervised([made_up(dies, "dies")], tmp_path / "dies", Bounds(10**9, SLICE, time.time() + 3), 1)
    assert died
    assert '["dies", [["' in died[0]
    assert not list(tmp_path.rglob("running-*"))


def test_what_was_charged_bounds_how_often_an_input_can_be_had():
    half = Cost(1000, 2.0, {"steps": ALLOWED["steps"] // 2, "visits": 1})
    assert half.share == pytest.approx(0.5, 0.01)
    assert half.at_most(0.5) == pytest.approx(3.0, 0.01)
    assert half.at_most(1.9) == pytest.approx(0.2, 0.01)
    assert half.at_most(2.1) == 0


def test_what_doubles_is_new_and_what_is_there_for_the_first_time():
    marks = {"whole steps 5": 1.0, "seconds 5": 1e-6, "memory whole 5": 4e6}
    assert may_be_new({"whole steps 5": 1.9, "seconds 5": 1.9e-6, "memory whole 5": 7e6}, marks) == {}
    doubled = {"whole steps 5": 2.0, "seconds 5": 2e-6, "memory whole 5": 8e6}
    assert TIMES == 2
    assert may_be_new(doubled, marks) == doubled
    assert may_be_new({"made 5": 1e-9}, marks) == {"made 5": 1e-9}
    # A hundredth of a bar is not new yet.
    assert (floor("whole visits 3"), floor("memory whole 3"), floor("memory 3")) == (WRONG / 100, MEMORY / 100, 0)
    assert may_be_new({"whole visits 3": 0.1, "memory whole 3": 3e6}, marks) == {}
    assert may_be_new({"whole visits 3": 0.11}, marks) == {"whole visits 3": 0.11}


def test_a_search_ends_when_nothing_is_new_any_more(tmp_path: Path):
    """Quiet executions are counted over all targets of a kind; with other code the count starts again."""
    targets = [made_up(paid, "one"), made_up(paid, "two")]
    search(targets, tmp_path, Bounds(3000, 10**6, time.time() + 100), 1)
    found = Quiet.read(tmp_path, "made-up")
    assert found.count >= 3000
    assert (
        found.executions
        == found.last + found.count
        == sum(Corpus.read(tmp_path / f"{target.name}.json", target.name).executions for target in targets)
    )
    lines = (tmp_path / "news").read_text().splitlines()
    assert found.news <= len(lines)
    assert {line.split()[0] for line in lines} == {"one", "two"}
    assert exercise.quiet(found, 3000).met
    assert not exercise.quiet(found, 10**6).met
    found.code = "other"
    found.write(tmp_path)
    assert Quiet.read(tmp_path, "made-up").count == 0


def test_a_slow_moment_is_not_new(tmp_path: Path):
    """A genome that becomes slower is not new if the mark's genome, run in turns with it, is slow too."""
    slow = [False]

    def run(count: int, _how: int, _limits: Limits) -> Run:
        def read(charged: dict[str, int]) -> None:
            charged["steps"] = 1000 * count
            sum(range(200 * count * (5 if slow[0] else 1)))

        return read

    corpus = Corpus("made-up")
    looking = Search(made_up(run), corpus, random.Random(3))
    genome = [("one", {"n": 900, "word": "a"})]
    assert looking.judge(genome, 0, 1000)
    slow[0] = True
    # The whole machine is slower: the mark's genome is, too.
    assert [line for line in looking.judge(genome, 0, 1000) if "whole" in line or "seconds" in line] == []


def test_each_target_is_of_one_of_the_four_kinds():
    assert set(KINDS) == {"layers", "archives", "layouts", "docker-archives"}
    assert sorted(target.name for some in KINDS.values() for target in some) == sorted(TARGETS)
