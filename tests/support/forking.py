"""Run work in a process that was just forked, which ends with it."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def guarded(work: Callable[[], object]) -> NoReturn:
    """Run *work* and end this process: with 0, or with 1 and a traceback."""
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
    raise AssertionError("unreachable")
