"""The last error of a process that cannot go on: a signal handler writes it, and the process ends.

The program sets how (`report`); a worker sends the error to its parent. If `report` is None, signals have their usual
effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.errors import ArstoreError

report: Callable[[ArstoreError], int] | None = None
"""Writes an error, and returns the exit status of the process."""
