"""Warnings of registries (distribution-spec, "Warnings"): each is shown once, and otherwise ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.document import shown
from arstore.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST = 4096
_MOST = 20
_WARNING = pattern(r'(?s)299[ \t]+-[ \t]+"((?:[^"\\]|\\.)*)"')


class Warnings:
    """Passes the warnings of registries to `tell`."""

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        self._tell = tell
        self._seen: set[str] = set()

    def learn(self, lines: Iterable[str]) -> None:
        """Read the lines of a Warning header."""
        for line in lines:
            if self._tell is None or len(line) > _LONGEST or len(self._seen) >= _MOST:
                return
            import re

            for match in _WARNING.finditer(line):
                text = shown(re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL), 1000)
                if text and text not in self._seen:
                    self._seen.add(text)
                    self._tell(f"the registry warns: {text}")
