"""Lookup in additional stores: images by name, blobs and trees by digest.

Only this module knows how the stores are related. All other code asks its own store, and gets an image with a `home`,
or the path of a blob or a tree, wherever it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import NotFoundError, PermissionDeniedError
from arstore.store.additional import AdditionalStores
from arstore.store.images import StoredImage, images_of, lookup
from arstore.store.lenders import BorrowingInventory, Lenders
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.oci.reference import Query
    from arstore.store.additional import AdditionalStore, Wanted
    from arstore.trees.format import TreeFormat


class Foreign(NamedTuple):
    """An image of the additional store at *root*, and those of its names that resolve to another image first."""

    image: StoredImage
    hidden: tuple[str, ...]
    root: str


class Elsewhere:
    """The additional stores of one store, as that store sees them."""

    def __init__(
        self,
        directories: Directories,
        graph: Graph,
        forms: Callable[[], dict[str, TreeFormat]],
        wanted: Sequence[Wanted],
    ) -> None:
        """*directories*, *graph* and *forms* are those of the borrowing store."""
        self._directories = directories
        self._graph = graph
        self._forms = forms
        self.stores = AdditionalStores(directories, wanted, forms)

    # --- images -----------------------------------------------------------------------------------------------------

    def find(self, query: Query, advice: str) -> StoredImage:
        """Return the image for *query*, which this store does not have, from the first store that resolves it.

        Raises AmbiguousError, the error of a store that cannot be read, and NotFoundError with the hint *advice*.
        """
        for one in self.stores.strictly():
            with one.graph.read() as snapshot:
                name, digest = lookup(snapshot, query)
                record = snapshot.image(digest) if digest else None
            if record is not None:
                return StoredImage(Digest(digest), record, partial(one.names_of, digest), name, one)
        raise NotFoundError(query.text, "no such image in the store or in the additional stores", advice)

    def refuse(self, query: Query) -> None:
        """Raise PermissionDeniedError if *query*, given for removal and unknown here, is in an additional store."""
        for one in self.stores.there():
            with one.graph.read() as snapshot:
                _, digest = lookup(snapshot, query, True)
                is_there = bool(digest) and snapshot.image(digest) is not None
            if is_there:
                refuse_change(query.text, one)

    def images(self) -> Iterator[Foreign]:
        """Yield all images of the additional stores that are present, in order, each with its hidden names."""
        with self._graph.read() as snapshot:
            seen = dict(snapshot.names())
        for one in self.stores.there():
            with one.graph.read() as snapshot:
                found = images_of(snapshot)
            names: dict[str, str] = {}
            for image in found:
                hidden = tuple(name for name in image.names if seen.get(name, image.digest) != image.digest)
                names |= dict.fromkeys(image.names, image.digest)
                image.home = one
                yield Foreign(image, hidden, one.root)
            seen = {**names, **seen}

    # --- content ----------------------------------------------------------------------------------------------------

    def blob_path(self, digest: str) -> str | None:
        """Return the path of the blob in the first store that has it; None if none has."""
        found = self.lenders().blob(digest)
        return None if found is None else found.path

    def inventory(self, again: frozenset[str], own_trees: bool) -> BorrowingInventory:
        """Return a view of the store and its additional stores; the arguments are those of `Store.inventory`."""
        return BorrowingInventory(self._directories, self._graph, self._forms, again, self.lenders(own_trees))

    def lenders(self, own_trees: bool = False) -> Lenders:
        """Return the blobs and trees that may be borrowed; with *own_trees*, blobs only."""
        return Lenders(self._directories, self._graph, self._forms, self.stores, own_trees)


def refuse_change(text: str, home: AdditionalStore) -> NoReturn:
    """Raise the error for the removal or change of a name or image that an additional store has."""
    root = home.directories.root
    why = f"is in the additional store {root}, which is only read"
    raise PermissionDeniedError(text, why, f"its owner may change it: `arstore --root {root} ...`")
