"""Interrupts (SIGINT): a KeyboardInterrupt while a command runs, and a silent exit before and after.

Python prints and drops a KeyboardInterrupt that it cannot raise, such as in an object's finalizer; here it is raised
again as soon as possible. Libraries may turn a KeyboardInterrupt into other errors; it is recorded, so that the program
still exits as interrupted.
"""

from __future__ import annotations

import _imp
import _signal  # type: ignore[import-not-found] # as in arstore/__init__.py
import os
import sys
from typing import TYPE_CHECKING

import arstore

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


DEBUG = "ARSTORE_DEBUG"
"""The environment variable that, set to 1, shows internal errors with their traceback."""

happened = False
"""Whether an interrupt came while a command was running."""


def raised_in(body: Callable[[], T]) -> T:
    """Run *body* and return its result. Meanwhile SIGINT raises KeyboardInterrupt, unless SIGINT is ignored."""
    if _signal.getsignal(_signal.SIGINT) is _signal.SIG_IGN:
        return body()
    sys.unraisablehook = _unraisable
    _signal.signal(_signal.SIGINT, _raise)
    try:
        if _was_dropped():
            _raise()
        return body()
    finally:
        arstore.end_at_interrupt()


def _was_dropped() -> bool:
    """Return whether Python dropped an interrupt at its start, in the finalizer of a module's lock.

    This thread then still holds the lock of all imports, and the first import in another thread would wait for ever.
    """
    try:
        _imp.release_lock()
    except RuntimeError:
        # It is not held, as always between imports.
        return False
    return True


def _raise(*_: object) -> None:
    global happened
    happened = True
    raise KeyboardInterrupt


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # Raise it a moment later, because nothing can be raised here either.
        _signal.signal(_signal.SIGALRM, _raise)
        _signal.setitimer(_signal.ITIMER_REAL, 0.001)
    elif os.environ.get(DEBUG) == "1":
        sys.__unraisablehook__(unraisable)
