"""Differences in JSON, and the output of `diff --sizes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.cli.terminal.output import human_size, printable, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.values.contents import Difference
    from arstore.cli.session import Session


_KINDS = {"A": "added", "C": "changed", "D": "deleted"}


def document(difference: Difference) -> dict[str, Any]:
    """Return a difference for JSON."""
    return {"path": difference.path, "kind": difference.kind, "what": list(difference.what)}


def show_sizes(session: Session, found: Sequence[Difference]) -> None:
    """Print differences with their bytes, and the totals."""
    totals = {
        name: {
            "paths": sum(one.kind == kind for one in found),
            "before": sum(one.before for one in found if one.kind == kind),
            "after": sum(one.after for one in found if one.kind == kind),
        }
        for kind, name in _KINDS.items()
    }
    if session.json:
        changes = [{**document(one), "before": one.before, "after": one.after} for one in found]
        write_json({"changes": changes, "totals": totals})
        return
    lines = [f"{one.kind} {_bytes(one):>21} {printable(one.path)}\n" for one in found]
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
