"""The seam through which long work tells how far it is. What is shown, and where, is the command line's business."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told about layers from one thread; `key` is the layer's diff ID."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Work on a layer of *total* bytes (as stored) begins."""

    def advance(self, key: str, count: int) -> None:
        """*count* more bytes of it are done."""

    def worked(self, key: str, steps: int) -> None:
        """So many steps of work (`tar.steps`) have been taken for it: few bytes may ask for much."""

    def finish(self, key: str, reused: bool = False) -> None:
        """The layer is done; *reused* when it was there already."""


class NoProgress:
    """Tells nobody."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Ignore it."""

    def advance(self, key: str, count: int) -> None:
        """Ignore it."""

    def worked(self, key: str, steps: int) -> None:
        """Ignore it."""

    def finish(self, key: str, reused: bool = False) -> None:
        """Ignore it."""
