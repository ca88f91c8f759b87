"""Genomes: programs of a few operations, each with counts and choices; random making and changing of them.

A genome is a list of operations; an operation is its name and a dict of numbers, words, and perhaps a `body`, which is
a genome too. All of it is JSON. A grammar says which operations there are, and what each value may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

Operation = tuple[str, dict[str, Any]]
Genome = list[Operation]
Domain = int | Sequence[str]
"""The largest number that a value may be, or the words it may be."""
Grammar = Mapping[str, Mapping[str, Domain]]
BODY = "body"
DEEPEST, LONGEST = 2, 8
"""Bodies within bodies, and operations of one list."""


def made(grammar: Grammar, chance: random.Random, depth: int = 0) -> Genome:
    """Make a genome of one to three operations."""
    return [_operation(grammar, chance, depth) for _ in range(chance.randint(1, 3))]


def _operation(grammar: Grammar, chance: random.Random, depth: int) -> Operation:
    names = [name for name, values in grammar.items() if depth < DEEPEST or BODY not in values]
    name = chance.choice(names)
    return name, {key: _value(grammar, key, domain, chance, depth) for key, domain in grammar[name].items()}


def _value(grammar: Grammar, key: str, domain: Domain, chance: random.Random, depth: int) -> Any:
    if key == BODY:
        return made(grammar, chance, depth + 1)
    if isinstance(domain, int):
        return _number(domain, chance)
    return chance.choice(domain)


def _number(most: int, chance: random.Random) -> int:
    """A number of any magnitude."""
    return min(most, chance.randrange(1 << chance.randrange(1 + most.bit_length())))


def changed(genome: Genome, others: Sequence[Genome], grammar: Grammar, chance: random.Random) -> Genome:
    """Return a genome with one to four changes; *others* lend it parts."""
    found = _copy(genome)
    for _ in range(1 << chance.choice((0, 0, 1, 2))):
        lists = list(_lists(found))
        depth, some = chance.choice(lists)
        what = chance.random()
        if what < 0.12 or not some:
            some.insert(chance.randint(0, len(some)), _operation(grammar, chance, depth))
        elif what < 0.2 and len(some) > 1:
            del some[chance.randrange(len(some))]
        elif what < 0.28 and others:
            other = _copy(chance.choice(others))
            some[chance.randrange(len(some))] = chance.choice(_flat(other, depth))
        elif what < 0.34:
            scale(found, grammar, chance.choice((0.5, 2, 2, 4)))
        elif what < 0.4:
            chance.shuffle(some)
        else:
            name, values = chance.choice(some)
            _alter(values, grammar[name], grammar, chance, depth)
        del some[LONGEST:]
    return found


def _copy(genome: Genome) -> Genome:
    return [
        (name, {key: _copy(value) if key == BODY else value for key, value in values.items()})
        for name, values in genome
    ]


def _alter(
    values: dict[str, Any], domains: Mapping[str, Domain], grammar: Grammar, chance: random.Random, depth: int
) -> None:
    keys = [key for key in domains if key != BODY]
    if not keys:
        return
    key = chance.choice(keys)
    domain = domains[key]
    if isinstance(domain, int) and chance.random() < 0.7:
        value = values[key]
        values[key] = max(0, min(domain, chance.choice((value * 2, value // 2, value + 1, value - 1, value * 4))))
    else:
        values[key] = _value(grammar, key, domain, chance, depth)


def scale(genome: Genome, grammar: Grammar, factor: float) -> None:
    """Multiply all counts, the values named `n`, as far as the grammar allows."""
    for _, some in _lists(genome):
        for name, values in some:
            if "n" in values:
                most = grammar[name]["n"]
                assert isinstance(most, int)
                values["n"] = min(most, max(1, int(values["n"] * factor)))


def _lists(genome: Genome, depth: int = 0) -> Iterator[tuple[int, Genome]]:
    yield depth, genome
    for _, values in genome:
        if BODY in values:
            yield from _lists(values[BODY], depth + 1)


def _flat(genome: Genome, depth: int) -> Genome:
    """The operations of *genome* that are allowed at this depth."""
    found = [one for _, some in _lists(genome) for one in some]
    return [one for one in found if depth < DEEPEST and not _nests(one)] or [found[-1]] if depth else found


def _nests(operation: Operation) -> bool:
    return BODY in operation[1]
