"""Patterns for names of images: a name, or a part of one after a slash, with `*`, `?` and `[...]` as in a shell.

The tag may be left out. So `base`, `base:*`, `team/base:1` and `*/base:1` match `registry.example.com/team/base:1`.
A pattern that begins with the name of a digest algorithm and a colon is compared with digests too.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS

if TYPE_CHECKING:
    from collections.abc import Iterable


class NamePatterns:
    """Several patterns, of which one has to match."""

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = list(patterns)
        self._names = _any_of(patterns)
        self._digests = _any_of(one for one in patterns if one.partition(":")[0] in HEX_LENGTHS)

    def match(self, name: str) -> bool:
        """Whether a pattern matches *name*."""
        found = self._names
        return any(found.match(part) for whole in (name, split(name)[0]) for part in _ends(whole))

    def match_digest(self, digest: str) -> bool:
        """Whether a pattern matches *digest*."""
        return self._digests.match(digest) is not None


def split(name: str) -> tuple[str, str]:
    """Return repository and tag of *name*."""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


def _ends(name: str) -> list[str]:
    """Return *name* and its ends after each slash."""
    parts = name.split("/")
    return ["/".join(parts[at:]) for at in range(len(parts))]
