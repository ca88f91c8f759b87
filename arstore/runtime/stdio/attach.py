"""How a command is attached to a container: which streams, whether its user may leave, and what its signals do."""

from __future__ import annotations

import os

from arstore.runtime.stdio.streams import STREAMS
from arstore.values import NamedTuple


class Attach(NamedTuple):
    """How to attach: the *streams*, the *keys* that detach from a terminal, and whether signals are passed on."""

    streams: tuple[str, ...] = STREAMS
    keys: bytes = b""
    passes_signals: bool = True

    def needs_daemon(self, *, interactive: bool, tty: bool) -> bool:
        """Whether a command in the foreground may end before its container does."""
        may_detach = interactive and tty and bool(self.keys) and "stdin" in self.streams and os.isatty(0)
        return may_detach or not self.passes_signals
