"""Members of a JSON object that are read as far as they make sense, and a record of what does not.

For what only describes an image: the document is kept byte for byte, and a reader does without what it cannot read. Not
in scope: anything that decides which content is taken; that is read with `document.Fields`, which refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.errors import ManifestError
from arstore.oci.document import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 20
"""Members named in `left_out`; a document may have millions that are odd."""


class KeptFields:
    """The members of one object, as typed values; each method gives the empty value for what is absent, null or odd."""

    def __init__(self, values: dict[str, Any], path: str = "", root: KeptFields | None = None) -> None:
        self.values = values
        self._path = path
        self._root = root or self
        self._left: list[str] = []
        self._count = 0
        self._unreadable: set[str] = set()

    def left_out(self) -> tuple[str, ...]:
        """What was left out here and in inner objects, for people, each with its reason."""
        more = self._count - len(self._left)
        return (*self._left, f"and {more} more") if more else tuple(self._left)

    def unreadable(self) -> frozenset[str]:
        """The vital members among them."""
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
        """A text."""
        value = self.values.get(key)
        if value is None or _is_text(value):
            return value or ""
        self.leave(key, "holds a NUL character" if isinstance(value, str) else "is no text", vital)
        return ""

    def items(self, key: str) -> list[Any]:
        """A list, of anything."""
        value = self.values.get(key)
        if isinstance(value, list):
            return value
        if value is not None:
            self.leave(key, "is no list")
        return []

    def words(self, key: str, vital: bool = False) -> tuple[str, ...]:
        """A list of words; as Docker reads it, a text is a list of one, and null in a list is empty."""
        value = self.values.get(key)
        if isinstance(value, str) and _is_text(value):
            return (value,)
        words = [word if word is not None else "" for word in value] if isinstance(value, list) else []
        if (value is None or isinstance(value, list)) and all(map(_is_text, words)):
            return tuple(words)
        self.leave(key, "is no list of words", vital)
        return ()

    def mapping(self, key: str) -> dict[str, Any]:
        """An object, with anything in it."""
        value = self.values.get(key)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.leave(key, "is no object")
        return {}

    def texts(self, key: str) -> dict[str, str]:
        """An object of texts; null is the empty one."""
        found = {}
        for name, value in self.mapping(key).items():
            if _is_text(name) and (value is None or _is_text(value)):
                found[name] = value or ""
            else:
                self.leave(f"{key}.{name}", "is no text")
        return found

    def keys(self, key: str) -> tuple[str, ...]:
        """The keys of an object that stands for a set, as in `{"/data": {}}`; one that is empty means nothing."""
        return tuple(name for name in self.mapping(key) if name and _is_text(name))

    def inner(self, key: str, known: Sequence[str], what: str) -> KeptFields:
        """An object's members, those in another letter case by their *known* names, as Go reads them.

        Raises ManifestError for a member that is there in two spellings: readers would differ.
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
