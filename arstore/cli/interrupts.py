"""Interrupts (SIGINT): a KeyboardInterrupt while a command works, and an end without a word before and after.

A KeyboardInterrupt that Python meets where nothing can be raised, such as in an object's finalizer, is told on stderr
and forgotten; here it is raised again at the next place where it can be. One that libraries turn into other errors is
remembered, so that the program ends as interrupted all the same.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # as in arstore/__init__.py
import os
import sys
from typing import TYPE_CHECKING, TypeVar

import arstore

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DEBUG = "ARSTORE_DEBUG"
"""An environment variable that, set to 1, lets errors of the program itself through with their traceback."""

happened = False
"""Whether there was an interrupt while a command was at work."""


def raised_in(body: Callable[[], T]) -> T:
    """Return what *body* does; meanwhile an interrupt is a KeyboardInterrupt, unless it is ignored."""
    if _signal.getsignal(_signal.SIGINT) is _signal.SIG_IGN:
        return body()
    sys.unraisablehook = _unraisable
    _signal.signal(_signal.SIGINT, _raise)
    try:
        return body()
    finally:
        arstore.end_at_interrupt()


def _raise(*_: object) -> None:
    global happened
    happened = True
    raise KeyboardInterrupt


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # In a moment, because nothing can be raised here either.
        _signal.signal(_signal.SIGALRM, _raise)
        _signal.setitimer(_signal.ITIMER_REAL, 0.001)
    elif os.environ.get(DEBUG) == "1":
        sys.__unraisablehook__(unraisable)
