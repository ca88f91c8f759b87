"""Images of a store as they are found: by a name, by a digest, or by the start of one."""

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
    """An image (or an index) of the store, with the names that stand for it.

    The names are read when somebody asks for them, which few do: they stand by name, and are looked through for that.
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
        """*called* is the name by which it was found, *home* the additional store that it is in, if it is in one."""
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
        """The name by which it was found; "" when that was its digest, or the start of it."""
        return self._called

    @property
    def label(self) -> str:
        """What to call it when talking to people: the name they gave it, or its first, else the start of its digest."""
        return self._called or (self.names[0] if self.names else self.digest.short)


def images_of(snapshot: Snapshot) -> list[StoredImage]:
    """All images and indexes, by digest."""
    names = snapshot.names_by_digest()
    return [StoredImage(Digest(d), record, tuple(names.get(d, ()))) for d, record in snapshot.images()]


def chain_of(snapshot: Snapshot, image: StoredImage) -> list[tuple[str, LayerRecord]]:
    """The layers of *image* from the bottom up, with their chain IDs.

    Raises NotFoundError when somebody has removed the image since it was found, StoreDamagedError as `Snapshot.chain`.
    """
    try:
        return snapshot.chain(image.record.top)
    except StoreDamagedError:
        if snapshot.image(image.digest) is None:
            raise NotFoundError(image.label, "was removed meanwhile") from None
        raise


def members_of(snapshot: Snapshot, index: ImageRecord) -> list[tuple[str, ImageRecord]]:
    """The images of an index and of the indexes in it, in their order, as far as they are in the store."""
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
    """The index *digest* and the indexes in it, each once, as far as they are in the store."""
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
    """The name that *query* means, if it means one, and the digest; "" for nothing.

    *exact*, a name in another spelling is not what is meant, and neither is a digest that begins like it.
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
    """What to do about a *query* that has found nothing: the names that look like it, where it has to be *exact*."""
    if exact and query.name is not None:
        from arstore.oci.reference import alike

        if found := alike(query.name, (name for name, _ in snapshot.names())):
            return f"did you mean {' or '.join(found)}?"
    return "`arstore images` lists them"
