"""Mounting and unmounting as library calls: app1, m100 and a stack of 400 layers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.archives import deep_stack
from benchmarks.engine import Arstore
from benchmarks.measure import Bar, Contender, Row, Values

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.ground import Ground

_COUNT = 50
_DEPTH = 400


def app1(ground: Ground) -> Row:
    """app1: five layers."""
    return _row(ground, "app1", "app1", 2, lambda: ground.archive("app1"))


def m100(ground: Ground) -> Row:
    """m100: about a hundred layers."""
    return _row(ground, "m100", "m100", 12, lambda: ground.archive("m100"))


def deep(ground: Ground) -> Row:
    """400 layers, made here."""

    def archive() -> str:
        path = f"{ground.fresh('deep')}/deep.tar"
        deep_stack(path, _DEPTH)
        return path

    return _row(ground, "400", f"{_DEPTH} layers", 40, archive)


def _row(ground: Ground, name: str, what: str, most: float, archive: Callable[[], str]) -> Row:
    engine = Arstore(ground, "arstore")

    def set_up() -> None:
        engine.fresh()
        engine.import_(archive(), "mounted")

    def sample() -> Values:
        found = json.loads(ground.execute(engine.worker("mount", "mounted", str(_COUNT))).stdout)
        return {metric: [float(value) for value in found[metric]] for metric in ("mount", "umount")}

    def tear_down() -> None:
        engine.discard()
        ground.remove(f"{ground.work}/deep")

    bars = [
        Bar(f"mount of {what}, library call", "mount", at_most=most, unit="ms"),
        Bar(f"umount of {what}, library call", "umount", at_most=1, unit="ms"),
    ]
    note = f"Milliseconds; {_COUNT} of each a round, from one process with the store open. See benchmarks/inside.py."
    contender = Contender("arstore", sample, set_up, tear_down=tear_down)
    return Row(f"mount-{name}", f"Mount of {what}", [contender], bars, note)
