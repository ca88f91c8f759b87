"""Lenient access to the members of a JSON object, with a record of the members that could not be read.

For members that only describe an image: the document is kept byte for byte, and a reader works without members that it
cannot read. Not in scope: members that decide which content is used; they are read with `document.Fields`, which
refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ManifestError
from arstore.oci.document import shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_MOST = 20
"""Maximum number of members named in `left_out`; a document may have millions of odd ones."""


class KeptFields:
    """The members of one object, as typed values; an absent, null or invalid member gives the empty value."""

    def __init__(self, values: dict[str, Any], path: str = "", root: KeptFields | None = None) -> None:
        self.values = values
        self._path = path
        self._root = root or self
        self._left: list[str] = []
        self._count = 0
        self._unreadable: set[str] = set()

    def left_out(self) -> tuple[str, ...]:
        """Return the members left out here and in inner objects, each with its reason, as text for users."""
        more = self._count - len(self._left)
        return (*self._left, f"and {more} more") if more else tuple(self._left)

    def unreadable(self) -> frozenset[str]:
        """Return the vital members among them."""
        return frozenset(self._unreadable)

    def leave(self, key: str, why: str, vital: bool = False) -> None:
        """Record that the member *key* is left out, and *why*."""
        root = self._root
        root._count += 1
        if len(root._left) < _MOST:
            root._left.append(f"{self._path}{shown(key, 60)} {why}")
        if vital:
            root._unreadable.add(key)

    def text(self, key: str, vital: bool = False) -> str:
        """Return a text."""
        value = self.values.get(key)
        if value is None or _is_text(value):
            return value or ""
        self.leave(key, "contains a NUL character" if isinstance(value, str) else "is not a text", vital)
        return ""

    def items(self, key: str) -> list[Any]:
        """Return a list of values of any type."""
        value = self.values.get(key)
        if isinstance(value, list):
            return value
        if value is not None:
            self.leave(key, "is not a list")
        return []

    def words(self, key: str, vital: bool = False) -> tuple[str, ...]:
        """Return a list of words; as in Docker, a text is a list of one word, and null in a list is empty."""
        value = self.values.get(key)
        if isinstance(value, str) and _is_text(value):
            return (value,)
        words = [word if word is not None else "" for word in value] if isinstance(value, list) else []
        if (value is None or isinstance(value, list)) and all(map(_is_text, words)):
            return tuple(words)
        self.leave(key, "is not a list of words", vital)
        return ()

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object with values of any type."""
        value = self.values.get(key)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.leave(key, "is not an object")
        return {}

    def texts(self, key: str) -> dict[str, str]:
        """Return an object of texts; null becomes the empty text."""
        found = {}
        for name, value in self.mapping(key).items():
            if _is_text(name) and (value is None or _is_text(value)):
                found[name] = value or ""
            else:
                self.leave(f"{key}.{name}", "is not a text")
        return found

    def keys(self, key: str) -> tuple[str, ...]:
        """Return the keys of an object that represents a set, as in `{"/data": {}}`; empty keys are ignored."""
        return tuple(name for name in self.mapping(key) if name and _is_text(name))

    def inner(self, key: str, known: Sequence[str], what: str) -> KeptFields:
        """Return an object's members; *known* names also match in another letter case, as in Go.

        Raises ManifestError for a member in two spellings, because readers would disagree.
        """
        spelling = {name.casefold(): name for name in known}
        values: dict[str, Any] = {}
        for name, value in self.mapping(key).items():
            meant = spelling.get(name.casefold(), name)
            if meant in values:
                raise ManifestError(what, f"{key} has {meant} in two spellings")
            values[meant] = value
        return KeptFields(values, f"{self._path}{key}.", self._root)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value
