"""The `arstore` command, and `python -m arstore`."""

from __future__ import annotations

import gc
import os
import sys

from arstore import end_at_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

if TYPE_CHECKING:
    from typing import NoReturn

_SHORT_OF_MEMORY = ("failed to map segment", "cannot allocate memory")
"""Words that the dynamic linker and the kernel use when there is no memory for a module."""
_HOST_ERROR = 40


def main() -> NoReturn:
    """Run the program with the arguments of this process, and exit."""
    end_at_interrupt()
    open_standard_streams()
    # Objects of modules are permanent, and reading a large store makes half a million more without cycles. Searching
    # for cycles again and again would take a tenth of a short command's time, and more of a long one's.
    gc.set_threshold(500_000, 20, 20)
    try:
        from arstore.cli.deferred import defer

        defer("inspect")
        defer("typing", TYPE_CHECKING=False)
        from arstore.cli.main import main as program
    except (ImportError, OSError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(text in str(error).lower() for text in _SHORT_OF_MEMORY):
            raise
        # The module of error classes may be the one that does not fit.
        os.write(2, b"arstore: out of memory while starting; raise the limit on address space (`ulimit -v`)\n")
        os._exit(_HOST_ERROR)
    program()


def open_standard_streams() -> None:
    """Put /dev/null where one of the three streams is closed, so that no file of ours is taken for one.

    It can be read and not written to: who writes to a stream that was closed is to get an error (EBADF), as without
    it. `sys.stdout` is made for it, where Python has made none.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free descriptor, which is this one.
            os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life


if __name__ == "__main__":
    main()
