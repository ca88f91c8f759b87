"""The `arstore` command, and `python -m arstore`."""

from __future__ import annotations

import gc
from typing import NoReturn


def main() -> NoReturn:
    """Run the program with the arguments of this process, and exit."""
    # Modules are made of objects that stay, and a look at a large store of half a million more, with no cycle in them:
    # looking for one again and again is a tenth of a short command's time, and more of a long one's.
    gc.set_threshold(500_000, 20, 20)
    from arstore.cli.deferred import defer

    defer("inspect")
    from arstore.cli.main import main as program

    program()


if __name__ == "__main__":
    main()
