"""Sizes of the layers of an image, for `history --sizes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.cli.terminal.output import human_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.store.store import Store, StoredImage

HEAD = ("BLOB>", "FILES>", "ENTRIES>", "ON DISK>")
"""The columns that `cells` fills."""


def add_sizes(store: Store, image: StoredImage, steps: Sequence[dict[str, Any]]) -> None:
    """Add the object `sizes` to each step with a layer.

    `blob` is in bytes as stored. `files`, the bytes of the layer's files, and `entries` are null for a layer that has
    not been prepared for mounting. `on_disk` is the allocated space, 0 for content of an additional store. Raises
    OSError and the errors of Graph.
    """
    from arstore.maintenance.scan.walk import weigh

    home = store if image.home is None else image.home
    with home.graph.read() as snapshot:
        for step, layer in zip([step for step in steps if step["diff_id"]], store.chain(image), strict=False):
            record = layer[1]
            digest = step["digest"]
            blob = snapshot.blob(digest) or snapshot.lent(digest)
            tree = snapshot.tree(record.tree) if record.tree else None
            places = [f"blobs/{digest.replace(':', '/')}"]
            if tree is not None:
                places.append(f"trees/{record.tree.partition(':')[2]}")
            step["sizes"] = {
                "blob": None if blob is None else blob.size,
                "files": None if tree is None else tree.size,
                "entries": None if tree is None else tree.entries,
                "on_disk": weigh(home.directories, places),
            }


def cells(step: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a step under `HEAD`."""
    sizes = step.get("sizes")
    if sizes is None:
        return ("-",) * len(HEAD)
    blob, files, entries = sizes["blob"], sizes["files"], sizes["entries"]
    return (
        "-" if blob is None else human_size(blob),
        "-" if files is None else human_size(files),
        "-" if entries is None else str(entries),
        human_size(sizes["on_disk"]),
    )
