"""Images of a store, converted to values of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.values.images import Image, ImageDetails, Layer

if TYPE_CHECKING:
    from arstore.store.store import Store, StoredImage


def image_of(found: StoredImage) -> Image:
    """Return *found* as an `Image`. Raises StoreDamagedError, HostError, OSError while its names are read."""

    from datetime import UTC, datetime

    record = found.record
    return Image(
        digest=str(found.digest),
        names=found.names,
        media_type=record.media_type,
        platform=record.platform,
        created=record.created,
        imported=datetime.fromtimestamp(record.imported, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        size=record.size,
        config=record.config,
        layers=tuple(record.layers),
        manifests=tuple(record.manifests) if record.is_index else (),
        store="" if found.home is None else found.home.root,
    )


def details_of(store: Store, found: StoredImage) -> ImageDetails:
    """Return the contents of the documents of *found*. Raises MissingBlobError, ManifestError, NotFoundError."""
    config = store.config(found)
    return ImageDetails(
        image=image_of(found),
        layers=layers_of(store, found),
        manifest=store.read_blob(found.digest),
        config=config.raw,
        author=config.author,
        user=config.user,
        env=config.env,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        working_dir=config.working_dir,
        volumes=config.volumes,
        exposed_ports=config.exposed_ports,
        stop_signal=config.stop_signal,
        labels=dict(config.labels),
        healthcheck=None if config.healthcheck is None else dict(config.healthcheck),
        left_out=config.left_out,
    )


def layers_of(store: Store, found: StoredImage) -> tuple[Layer, ...]:
    """Return the layers of *found*, bottom first; `compressed_size` is 0 if the blob has no record."""
    digests = found.record.layers
    chain = store.chain(found)
    with store.graph_of(found).read() as snapshot:
        blobs = {digest: snapshot.blob(digest) or snapshot.lent(digest) for digest in digests}
    sizes = {digest: blob.size for digest, blob in blobs.items() if blob is not None}
    return tuple(
        Layer(digest, layer.diff_id, chain_id, layer.size, sizes.get(digest, 0))
        for digest, (chain_id, layer) in zip(digests, chain, strict=False)
    )
