"""Differences in JSON, and the output of `diff --sizes`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from arstore.cli.terminal.output import human_size, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.cli.session import Session
    from arstore.rootfs.diff import Difference


def document(difference: Difference) -> dict[str, Any]:
    """Return a difference for JSON."""
    path = "/" + os.fsdecode(difference.path)
    return {"path": path, "kind": difference.change.value, "what": list(difference.what)}


def show_sizes(session: Session, found: Sequence[Difference]) -> None:
    """Print differences with their bytes, and the totals."""
    from arstore.rootfs.diff import DiffKind

    totals = {
        kind.name.lower(): {
            "paths": sum(one.change is kind for one in found),
            "before": sum(one.before for one in found if one.change is kind),
            "after": sum(one.after for one in found if one.change is kind),
        }
        for kind in DiffKind
    }
    if session.json:
        changes = [{**document(one), "before": one.before, "after": one.after} for one in found]
        write_json({"changes": changes, "totals": totals})
        return
    from arstore.tar.entry import shown

    lines = [f"{one.change.value} {_bytes(one):>21} /{shown(one.path)}\n" for one in found]
    parts = [f"{one['paths']} {kind} ({_from_to(one['before'], one['after'])})" for kind, one in totals.items()]
    grown = sum(one.after - one.before for one in found)
    sign = "-" if grown < 0 else "+"
    write_text(f"{''.join(lines)}{', '.join(parts)}: {sign}{human_size(abs(grown))}\n")


def _bytes(one: Difference) -> str:
    return _from_to(one.before, one.after)


def _from_to(before: int, after: int) -> str:
    if not before or not after:
        return f"-{human_size(before)}" if before else f"+{human_size(after)}"
    return human_size(after) if before == after else f"{human_size(before)} -> {human_size(after)}"
