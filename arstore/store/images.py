"""Lookup of a store's images: by name, by digest, or by the start of a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import AmbiguousError, NotFoundError, StoreDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.graph.records import ImageRecord, LayerRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.oci.reference import Query
    from arstore.store.additional import AdditionalStore


class StoredImage:
    """An image (or an index) of the store, with its names.

    The names are read on first use, which is rare: they are sorted by name, so finding an image's names reads them all.
    """

    __slots__ = ("_called", "_names", "digest", "home", "record")

    def __init__(
        self,
        digest: Digest,
        record: ImageRecord,
        names: tuple[str, ...] | Callable[[], tuple[str, ...]],
        called: str = "",
        home: AdditionalStore | None = None,
    ) -> None:
        """*called* is the name by which it was found; *home* is the additional store that has it, or None."""
        self.digest = digest
        self.record = record
        self._names = names
        self._called = called
        self.home = home

    @property
    def names(self) -> tuple[str, ...]:
        """Sorted. Raises the errors of Graph."""
        if not isinstance(self._names, tuple):
            self._names = self._names()
        return self._names

    @property
    def called(self) -> str:
        """The name by which it was found; "" if it was found by its digest or the start of it."""
        return self._called

    @property
    def label(self) -> str:
        """The name shown to users: the name that they gave, or the image's first, else the start of its digest."""
        return self._called or (self.names[0] if self.names else self.digest.short)


def images_of(snapshot: Snapshot) -> list[StoredImage]:
    """Return all images and indexes, sorted by digest."""
    names = snapshot.names_by_digest()
    return [StoredImage(Digest(d), record, tuple(names.get(d, ()))) for d, record in snapshot.images()]


def chain_of(snapshot: Snapshot, image: StoredImage) -> list[tuple[str, LayerRecord]]:
    """Return the layers of *image* from the bottom up, with their chain IDs.

    Raises NotFoundError if the image was removed since it was found, StoreDamagedError if its layers are not a chain.
    """
    try:
        return snapshot.chain(image.record.top)
    except StoreDamagedError:
        if snapshot.image(image.digest) is None:
            raise NotFoundError(image.label, "was removed meanwhile") from None
        raise


def members_of(snapshot: Snapshot, index: ImageRecord) -> list[tuple[str, ImageRecord]]:
    """Return the images of an index and of nested indexes, in order; those that are not in the store are left out."""
    found: list[tuple[str, ImageRecord]] = []
    todo = list(reversed(index.manifests))
    seen: set[str] = set()
    while todo:
        digest = todo.pop()
        record = snapshot.image(digest)
        if record is None or digest in seen:
            continue
        seen.add(digest)
        if record.is_index:
            todo.extend(reversed(record.manifests))
        else:
            found.append((digest, record))
    return found


def indexes_of(snapshot: Snapshot, digest: str) -> list[tuple[str, ImageRecord]]:
    """Return the index *digest* and its nested indexes, each once; those that are not in the store are left out."""
    found: dict[str, ImageRecord] = {}
    todo = [digest]
    while todo:
        one = todo.pop()
        record = snapshot.image(one)
        if record is not None and record.is_index and one not in found:
            found[one] = record
            todo.extend(record.manifests)
    return list(found.items())


def lookup(snapshot: Snapshot, query: Query, exact: bool = False) -> tuple[str, str]:
    """Return the name that *query* means, if any, and the digest; "" for nothing.

    With *exact*, neither another spelling of a name nor the start of a digest matches. Raises AmbiguousError.
    """
    if query.digest is not None:
        return "", query.digest
    for number, candidate in enumerate(query.candidates()):
        digest = snapshot.name(candidate)
        if digest is not None:
            return ("", "") if exact and number else (candidate, digest)
    if not query.prefix:
        return "", ""
    algorithms = [query.algorithm] if query.algorithm else ["sha256", "sha512"]
    found = [d for a in algorithms for d in snapshot.images_with_prefix(f"{a}:{query.prefix}")]
    if len(found) > 1:
        raise AmbiguousError(query.text, "is the start of more than one image's digest", "give more digits")
    return "", found[0] if found else ""


def hint(snapshot: Snapshot, query: Query, exact: bool) -> str:
    """Return a hint for a *query* without result: the names that look like it, if it has to be *exact*."""
    if exact and query.name is not None:
        from arstore.oci.reference import alike

        if found := alike(query.name, (name for name, _ in snapshot.names())):
            return f"did you mean {' or '.join(found)}?"
    return "`arstore images` lists them"
