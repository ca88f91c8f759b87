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
    """Return what *digest* is in this store; one digest may be several things. Raises the errors of Graph."""
    return list(_objects(snapshot, stacks, digest))


def _objects(snapshot: Snapshot, stacks: Stacks, digest: str) -> Iterator[StoredObject]:
    image = stacks.images.get(digest)
    blob = snapshot.blob(digest)
    size = blob.size if blob is not None else 0
    seen = image is not None
    if image is not None:
        yield StoredObject("image" if image.config else "index", size, _listing(stacks, digest))
    if configured := [one for one in stacks.wanted() if stacks.images[one].config == digest]:
        seen = True
        yield StoredObject("config", size, tuple(configured))
    lent = snapshot.lent(digest)
    layer_size = size if blob is not None and blob.diff_id else lent.size if lent is not None else 0
    if layer_size:
        seen = True
        yield StoredObject("layer blob", layer_size, _with_blob(stacks, digest))
    layers = stacks.layers()
    if numbers := {number for number, one in enumerate(layers.diff_id) if one == digest}:
        yield StoredObject("diff ID", _tar_size(snapshot, stacks, numbers), tuple(stacks.images_with(numbers)))
    (chain,) = stacks.numbers([digest])
    if chain >= 0 and layers.diff_id[chain] != digest:
        yield StoredObject("chain ID", _tar_size(snapshot, stacks, {chain}), tuple(stacks.images_with({chain})))
    for key, attached in snapshot.every("attachments", _Attachment).items():
        subject, _, manifest = key.partition("/")
        if digest in (manifest, *attached.blobs):
            seen = True
            yield StoredObject("attachment", attached.size if digest == manifest else size, (subject,))
    if blob is not None and not blob.diff_id and not seen:
        yield StoredObject("blob", size, ())


def _listing(stacks: Stacks, digest: str) -> tuple[str, ...]:
    """Return the image itself, and the indexes that list it."""
    return (digest, *(one for one, image in stacks.images.items() if digest in image.manifests))


def _with_blob(stacks: Stacks, digest: str) -> tuple[str, ...]:
    return tuple(one for one in stacks.wanted() if digest in stacks.images[one].layers)


def _tar_size(snapshot: Snapshot, stacks: Stacks, numbers: set[int]) -> int:
    layer = snapshot.layer(stacks.chain_ids()[min(numbers)])
    return layer.size if layer is not None else 0
