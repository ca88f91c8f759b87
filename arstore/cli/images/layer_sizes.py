"""Sizes of the layers of an image, for `history --sizes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.terminal.output import human_size

if TYPE_CHECKING:
    from arstore.api.values.images import HistoryStep

HEAD = ("BLOB>", "FILES>", "ENTRIES>", "ON DISK>")
"""The columns that `cells` fills."""


def cells(step: HistoryStep) -> tuple[str, ...]:
    """Return the cells of a step under `HEAD`."""
    sizes = step.sizes
    if sizes is None:
        return ("-",) * len(HEAD)
    return (
        "-" if sizes.blob is None else human_size(sizes.blob),
        "-" if sizes.files is None else human_size(sizes.files),
        "-" if sizes.entries is None else str(sizes.entries),
        human_size(sizes.on_disk),
    )
