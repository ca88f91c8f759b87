"""`tools/reliability NAME [OPTION...]`: one exercise, which is the module of that name.

With `--user NAME`, root runs it as that ordinary user (`as_user`).
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

from reliability import __doc__ as about
from reliability import __path__ as places

_PLUMBING = {"__main__", "as_user", "figures"}
_USER = "--user"


def exercises() -> list[str]:
    """The names of all exercises: the modules here that have a `main`."""
    return sorted(
        found.name for found in pkgutil.iter_modules(places) if found.name not in _PLUMBING and not found.ispkg
    )


def main(words: list[str]) -> int:
    """Run the exercise named by the first word, with the other words as its options."""
    if not words or words[0] not in exercises():
        print(f"{about}\nexercises: {', '.join(exercises())}", file=sys.stderr)
        return 2
    if _USER in words[1:-1]:
        from reliability import as_user

        place = words.index(_USER)
        return as_user.main(words[place + 1], words[:place] + words[place + 2 :])
    status: int = importlib.import_module(f"reliability.{words[0]}").main(words[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
