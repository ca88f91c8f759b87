"""Workers that keep all their rights, for tests that look into them from inside: a log file, a signal to the parent."""

from __future__ import annotations

from arstore.workers import confinement


class Unconfined(confinement.Confinement):
    """A confinement that takes nothing away."""

    def shed(self) -> None:
        """Keep what is open."""

    def inside(self, path: str) -> str:
        """The same."""
        return path

    def enter(self) -> None:
        """Go on as before."""


def unconfined(directory: str, *_readable: str) -> confinement.Confinement:
    """In place of `confinement.writing` and `confinement.making`."""
    return Unconfined(directory, capabilities=0)
