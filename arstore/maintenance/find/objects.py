"""Objects of the store by their digest: images, indexes, configs, layers, blobs and attachments, and who uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.find.stacks import Stacks


class StoredObject(NamedTuple):
    """An object: what it is, for people and JSON; its size in bytes; the digests of the images that use it.

    Kinds: `image`, `index`, `config`, `layer blob`, `blob`, `diff ID`, `chain ID`, `attachment`.
    """

    kind: str
    size: int
    images: tuple[str, ...]


class _Attachment(NamedTuple):
    size: int
    blobs: tuple[str, ...]


def objects(snapshot: Snapshot, stacks: Stacks, digest: str) -> list[StoredObject]:
    """Return what *digest*, for which *stacks* was made, is in this store; it may be several things.

    Raises the errors of Graph.
    """
    return list(_objects(snapshot, stacks, digest))


def _objects(snapshot: Snapshot, stacks: Stacks, digest: str) -> Iterator[StoredObject]:
    uses, blob, lent = stacks.uses, snapshot.blob(digest), snapshot.lent(digest)
    size = blob.size if blob is not None else lent.size if lent is not None else 0
    is_layer = lent is not None or (blob is not None and bool(blob.diff_id))
    known = is_layer
    if uses.is_index is not None:
        known = True
        yield StoredObject("index" if uses.is_index else "image", size, (digest, *uses.indexes))
    if uses.configs:
        known = True
        yield StoredObject("config", size, tuple(uses.configs))
    if is_layer:
        yield StoredObject("layer blob", size, tuple(uses.layer_blobs))
    if uses.layers:
        users = tuple(stacks.images_with(frozenset(uses.layers)))
        yield StoredObject("diff ID", _tar_size(snapshot, stacks, uses.layers[0]), users)
    chain = stacks.number_of(digest)
    if chain is not None and chain not in uses.layers:
        users = tuple(stacks.images_with(frozenset({chain})))
        yield StoredObject("chain ID", _tar_size(snapshot, stacks, chain), users)
    for key, attached in snapshot.every("attachments", _Attachment).items():
        subject, _, manifest = key.partition("/")
        if digest in (manifest, *attached.blobs):
            known = True
            yield StoredObject("attachment", attached.size if digest == manifest else size, (subject,))
    if blob is not None and not known:
        yield StoredObject("blob", size, ())


def _tar_size(snapshot: Snapshot, stacks: Stacks, number: int) -> int:
    layer = snapshot.layer(stacks.chain_id(number))
    return layer.size if layer is not None else 0
