"""Interface through which long operations report progress. The command line decides what is shown, and where."""

from __future__ import annotations

from arstore.builtin import Protocol


class Progress(Protocol):
    """Receives progress of layers, from one thread; `key` is the layer's diff ID."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Report that work on a layer of *total* bytes (as stored) begins."""

    def advance(self, key: str, count: int) -> None:
        """Report that *count* more bytes are done."""

    def worked(self, key: str, steps: int) -> None:
        """Report *steps* units of work (`tar.steps`): few bytes may cause much work."""

    def finish(self, key: str, reused: bool = False) -> None:
        """Report that the layer is done; *reused* if it was already in the store."""


class NoProgress:
    """Ignores all reports."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Ignore it."""

    def advance(self, key: str, count: int) -> None:
        """Ignore it."""

    def worked(self, key: str, steps: int) -> None:
        """Ignore it."""

    def finish(self, key: str, reused: bool = False) -> None:
        """Ignore it."""
