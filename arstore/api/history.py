"""The history of an image, with its layers and their sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.values.images import HistoryStep, LayerSizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.graph.records import LayerRecord
    from arstore.store.store import Store, StoredImage


def steps_of(store: Store, image: StoredImage, *, sizes: bool) -> tuple[HistoryStep, ...]:
    """Return the steps, the latest first. Raises MissingBlobError, ManifestError, OSError."""
    return tuple(_steps(store, image, sizes))[::-1]


def _steps(store: Store, image: StoredImage, sizes: bool) -> Iterator[HistoryStep]:
    """Yield the config's history with its layers, oldest first; layers missing in the history come last."""
    left = list(zip(image.record.layers, (layer for _, layer in store.chain(image)), strict=False))
    measured = _sizes(store, image, left) if sizes else [None] * len(left)
    layers = iter(list(zip(left, measured, strict=True)))
    for entry in store.config(image).history:
        made = None if entry.empty_layer else next(layers, None)
        yield _step(made, entry.created, entry.created_by, entry.author, entry.comment, entry.empty_layer)
    for made in layers:
        yield _step(made)


def _step(
    made: tuple[tuple[str, LayerRecord], LayerSizes | None] | None,
    created: str = "",
    created_by: str = "",
    author: str = "",
    comment: str = "",
    empty_layer: bool = False,
) -> HistoryStep:
    if made is None:
        return HistoryStep(created, created_by, author, comment, empty_layer)
    (digest, layer), sizes = made
    return HistoryStep(created, created_by, author, comment, empty_layer, digest, layer.diff_id, layer.size, sizes)


def _sizes(store: Store, image: StoredImage, layers: list[tuple[str, LayerRecord]]) -> list[LayerSizes]:
    from arstore.maintenance.scan.walk import weigh

    home = store if image.home is None else image.home
    found = []
    with home.graph.read() as snapshot:
        for digest, record in layers:
            blob = snapshot.blob(digest) or snapshot.lent(digest)
            tree = snapshot.tree(record.tree) if record.tree else None
            places = [f"blobs/{digest.replace(':', '/')}"]
            if tree is not None:
                places.append(f"trees/{record.tree.partition(':')[2]}")
            found.append(
                LayerSizes(
                    None if blob is None else blob.size,
                    None if tree is None else tree.size,
                    None if tree is None else tree.entries,
                    weigh(home.directories, places),
                )
            )
    return found
