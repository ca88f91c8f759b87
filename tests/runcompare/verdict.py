"""The verdict on a row: equal, different, explained, or an option that arstore does not have."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from runcompare import known
from runcompare.row import Row
from runcompare.rows import life

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from runcompare.running import Outcome

EQUAL, DIFFERENT, EXPLAINED, MISSING = "equal", "different", "explained", "no such option"


class Difference(NamedTuple):
    """Lines of a section that only one program has."""

    section: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]

    def __str__(self) -> str:
        ours, theirs = (" ⏎ ".join(_short(lines)) or "nothing" for lines in (self.ours, self.theirs))
        return f"{self.section}: ours {ours}; podman's {theirs}"


class Verdict(NamedTuple):
    """A row with its verdict, and why."""

    row: Row
    verdict: str
    why: str = ""


def differences(ours: Outcome, theirs: Outcome) -> list[Difference]:
    """Return the sections that differ. Lines that differ in order alone differ too, where order means something."""
    found = []
    for section in dict.fromkeys([*ours.sections, *theirs.sections]):
        mine, others = ours.sections.get(section, []), theirs.sections.get(section, [])
        if mine == others:
            continue
        left, right = Counter(mine) - Counter(others), Counter(others) - Counter(mine)
        if not left and not right:
            left, right = Counter(["(the same lines in another order)"]), Counter()
        found.append(Difference(section, tuple(left.elements()), tuple(right.elements())))
    return found


def beyond(found: Sequence[Difference], baseline: Sequence[Difference]) -> list[Difference]:
    """Return *found* without the lines that differ without options already."""
    before = {one.section: one for one in baseline}
    rest = []
    for one in found:
        known_one = before.get(one.section, Difference(one.section, (), ()))
        ours = tuple((Counter(one.ours) - Counter(known_one.ours)).elements())
        theirs = tuple((Counter(one.theirs) - Counter(known_one.theirs)).elements())
        if ours or theirs:
            rest.append(Difference(one.section, ours, theirs))
    return rest


def judge(
    row: Row,
    ours: Outcome,
    theirs: Outcome,
    baseline: Sequence[Difference] = (),
    missing: Collection[str] = (),
) -> Verdict:
    """Return the verdict on a row; *missing* are the options, without dashes, that arstore does not have."""
    if lacking := sorted(row.options.intersection(missing)):
        return Verdict(row, MISSING, f"--{lacking[0]}")
    found = beyond(differences(ours, theirs), baseline)
    if not found:
        return Verdict(row, EQUAL)
    reasons = [known.reason(row, one) for one in found]
    if all(reasons):
        return Verdict(row, EXPLAINED, "; ".join(dict.fromkeys(reasons)))
    left = [one for one, reason in zip(found, reasons, strict=True) if not reason]
    return Verdict(row, DIFFERENT, "; ".join(map(str, left)))


def judge_baseline(row: Row, ours: Outcome, theirs: Outcome) -> list[Verdict]:
    """Return a verdict for each section of the row without options."""
    found = {one.section: one for one in differences(ours, theirs)}
    verdicts = []
    for section in dict.fromkeys([*theirs.sections, *ours.sections]):
        part = Row(row.theme, section, row.script)
        one = found.get(section)
        if one is None:
            verdicts.append(Verdict(part, EQUAL))
        elif reason := known.reason(part, one):
            verdicts.append(Verdict(part, EXPLAINED, reason))
        else:
            verdicts.append(Verdict(part, DIFFERENT, str(one)))
    return verdicts


def counted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts that count: those of the rows for each option and theme, without the search for more."""
    apart = {life.LIFE, life.REFUSED, life.FURTHER}
    return [one for one in verdicts if one.row.theme not in apart]


def ratio(verdicts: Sequence[Verdict]) -> float:
    """Return the part of the rows that are equal."""
    return sum(one.verdict == EQUAL for one in verdicts) / len(verdicts) if verdicts else 0.0


def counts(verdicts: Sequence[Verdict]) -> Mapping[str, int]:
    """Return how many rows have each verdict."""
    counted = Counter(one.verdict for one in verdicts)
    return {name: counted[name] for name in (EQUAL, EXPLAINED, DIFFERENT, MISSING)}


def _short(lines: Sequence[str], most: int = 4) -> list[str]:
    shown = [line if len(line) <= 100 else line[:97] + "…" for line in lines[:most]]
    return [*shown, f"({len(lines) - most} more)"] if len(lines) > most else shown
