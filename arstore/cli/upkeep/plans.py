"""Output of removals and of their plans: what they free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.terminal.output import human_size, write_line

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_parts(parts: Mapping[str, int]) -> None:
    """Print a line for each kind of content that a plan frees, in bytes."""
    for kind, size in parts.items():
        if size:
            write_line(kind, f"{human_size(size)} ({size} bytes)")


def write_freed(size: int, dry_run: bool) -> None:
    """Print the last line of a removal or, with *dry_run*, of its plan: *size* is in bytes."""
    write_line(f"{human_size(size)} {'can be' if dry_run else 'were'} freed")
