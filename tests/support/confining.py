"""Workers that keep all their rights, for tests that observe them from inside: a log file, a signal to the parent."""

from __future__ import annotations

from arstore.workers import confinement


class Unconfined(confinement.Confinement):
    """A confinement that removes no rights."""

    def shed(self) -> None:
        """Keep everything open."""

    def inside(self, path: str) -> str:
        """Return the same path."""
        return path

    def enter(self) -> None:
        """Do nothing."""


def unconfined(directory: str, *_readable: str) -> confinement.Confinement:
    """In place of `confinement.writing` and `confinement.making`."""
    return Unconfined(directory, capabilities=0)
