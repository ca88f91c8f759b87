"""arstore: a content-addressable container image store with a runtime launcher.

The packages below this one depend on each other in one direction only, which `tests/test_direction.py` enforces:

    values < trace < errors < digest < linux < {oci, tar, workers} < disk < {graph, trees} < mounts < store
    < {rootfs, trust, transport} < {maintenance, runtime, sync} < pipeline < api < cli

Nothing is imported here that the interpreter has not loaded by itself, so that a command pays only for what it uses.
"""

import _signal  # type: ignore[import-not-found] # the interpreter's own, without the enumerations of `signal`
import os
import sys

__version__ = "0.1.0"


def end_at_interrupt() -> None:
    """From now on, end the process with status 130 at an interrupt (SIGINT), unless that is ignored."""
    if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    os._exit(130)


def _is_program() -> bool:
    """Whether this is the start of the program: of its script, or of `python -m arstore`."""
    name = sys.argv[0] if sys.argv else ""
    return name.rpartition("/")[2] == "arstore" or (name == "-m" and "arstore" in sys.orig_argv)


if _is_program():
    # Python would show where an interrupt met it, and nearly all of a short command's time goes into imports.
    end_at_interrupt()
