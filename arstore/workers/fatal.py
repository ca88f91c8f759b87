"""The last error of a process that cannot go on: a signal's handler writes it, and the process ends.

The program says how (`report`); a worker sends it to its parent. Where nobody has said so, signals do what they always
did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.errors import ArstoreError

report: Callable[[ArstoreError], int] | None = None
"""Writes an error, and returns the exit status that it ends the process with."""
