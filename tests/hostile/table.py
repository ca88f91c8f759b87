"""All cases, and the selection of them that every run of the tests takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostile import containers, documents, exhaustion, hosts, layers, repetition, work

if TYPE_CHECKING:
    from hostile.case import Case

CASES: list[Case] = [
    *layers.cases(),
    *documents.cases(),
    *containers.cases(),
    *hosts.cases(),
    *exhaustion.cases(),
    *repetition.cases(),
    *work.cases(),
]


def spread() -> list[Case]:
    """One case of each class, with alternating tree formats."""
    found: dict[str, Case] = {}
    for case in CASES:
        if case.form == ("erofs", "directory")[len(found) % 2]:
            found.setdefault(case.group, case)
    return list(found.values())
