"""The store as a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ConversionError, UsageError
from arstore.oci.reference import parse_name
from arstore.sync.place import Copied, placed
from arstore.transport.copy import ImportOptions, import_opened

if TYPE_CHECKING:
    from collections.abc import Collection

    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.sync.items import ImageName
    from arstore.sync.place import How, Move
    from arstore.transport.skipped import SkippedTop

PREFIX = "store:"


class StorePlace:
    """Names in *store*: the source's names, or names below *prefix*."""

    def __init__(self, store: Store, prefix: str, how: How, *, scoped: bool) -> None:
        """Raises ConversionError, because a store keeps images unchanged, and InvalidReferenceError."""
        if how.options.converts:
            raise ConversionError(PREFIX, "keeps images unchanged, and cannot convert them")
        self._store = store
        self._prefix = prefix.strip("/")
        parse_name(f"{placed(self._prefix, False, 'any', 'any')}:any")
        self._scoped = scoped

    def target(self, name: ImageName) -> str:
        """See Place."""
        if name.digest is not None:
            raise UsageError(f"{name.full}{name.suffix}", "has no tag, and an image in the store needs a name")
        return f"{self.repository(name.short, name.full)}{name.suffix}"

    def look(self, target: str) -> Digest | None:
        """See Place."""
        with self._store.graph.read() as snapshot:
            digest = snapshot.name(target.removeprefix(PREFIX))
        return None if digest is None else Digest(digest)

    def copy(self, move: Move, how: How, progress: Progress, skipped: SkippedTop) -> Copied:
        """See Place."""
        name = move.target.removeprefix(PREFIX)
        limits, place = how.options.limits, move.item.path
        options = ImportOptions(name, how.wanted, limits=limits, rules=how.rules, place=place)
        taken = import_opened(self._store, move.item.open, options, progress, skipped)
        after = self.look(move.target) or Digest(taken[0].digest)
        return Copied(after, move.there == after)

    def repository(self, short: str, full: str) -> str:
        """See Place."""
        name = placed(self._prefix, self._scoped, short, full)
        parse_name(f"{name}:any")
        return f"{PREFIX}{name}"

    def tags(self, repository: str) -> list[str]:
        """See Place."""
        begin = f"{repository.removeprefix(PREFIX)}:"
        with self._store.graph.read() as snapshot:
            return [name.removeprefix(begin) for name, _ in snapshot.names() if name.startswith(begin)]

    def remove(self, repository: str, tag: str, kept: Collection[str]) -> None:
        """Remove the name; `gc` deletes the image. Raises NotFoundError."""
        del kept
        self._store.untag(f"{repository.removeprefix(PREFIX)}:{tag}")

    def close(self) -> None:
        """See Place."""
