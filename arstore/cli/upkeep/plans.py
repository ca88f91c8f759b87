"""Output of removals and of their plans: what they free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.terminal.output import human_size, write_line

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_parts(parts: Mapping[str, int], bound: int) -> None:
    """Print a line for each kind of content that a plan frees, and *bound*, in bytes, for the store's own records."""
    for kind, size in parts.items():
        if size:
            write_line(kind, f"{human_size(size)} ({size} bytes)")
    write_bound(bound)


def write_bound(bound: int) -> None:
    """Print the most bytes by which the graph, its reserve, index.json and directories change; nothing for 0."""
    if bound:
        write_line(
            "records", f"{human_size(bound)} more or less at most: the graph, its reserve, index.json, directories"
        )


def write_freed(size: int, dry_run: bool) -> None:
    """Print the last line of a removal or, with *dry_run*, of its plan: *size* is in bytes."""
    write_line(f"{human_size(size)} {'can be' if dry_run else 'were'} freed")
