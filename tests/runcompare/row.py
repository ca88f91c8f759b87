"""A row: what is run, with either program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPTION = re.compile(r"(?<!\S)--([a-z][a-z0-9-]+)")


class Row(NamedTuple):
    """A script for bash, with a name that is unique within its theme.

    In the script, `run` is the program's `run --rm --network none`, `keep` is the same without `--rm`, `bare` is its
    `run`, and `prog` is the program itself. arstore's `keep` has `--keep`, since it removes containers by default. The
    image `plain` has the command `probe`. The current directory has the files of `running.furnish`. `$PORT` is a free
    port, `$DISK` a block device, `$ARCH` the host's architecture.
    """

    theme: str
    name: str
    script: str

    @property
    def key(self) -> str:
        """Theme and name."""
        return f"{self.theme}: {self.name}"

    @property
    def options(self) -> frozenset[str]:
        """The long options that the script uses, without dashes."""
        return frozenset(_OPTION.findall(self.script))


def probing(theme: str, cases: Iterable[str]) -> list[Row]:
    """Return a row for each of *cases*, which are options for the image `plain` and its command `probe`."""
    return [Row(theme, words, f"run {words} plain probe") for words in cases]


def scripts(theme: str, cases: Iterable[tuple[str, str]]) -> list[Row]:
    """Return a row for each of *cases*, which are names with scripts."""
    return [Row(theme, name, script) for name, script in cases]
