"""The blobs of a selection in which some layers are encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import contextmanager
from arstore.errors import DecryptionError
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.embedded import EmbeddedBlobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.ingest.incoming import BlobSource
    from arstore.store.progress import Progress
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.selection.taking import Selection
    from arstore.transport.source import Spool


@contextmanager
def plain_blobs(
    source: BlobSource,
    selection: Selection,
    spool: Spool,
    keys: DecryptionKeys | None,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    verify: bool = False,
) -> Iterator[BlobSource]:
    """Provide the blobs of *selection* while the context is open, encrypted ones as plaintext.

    With *keys*, images in *selection* that have encrypted layers are replaced by their decrypted versions, and so are
    the indexes that list them. With *verify*, the decrypted layers are decompressed and compared with their diff IDs.

    Raises KeyFileError, DecryptionError, ConversionError for an image that must not be changed, the errors of
    `Contents`, NoSpaceError and OSError.
    """
    with EmbeddedBlobs(source, selection.embedded, spool) as blobs:
        if keys is None or not selection.encrypted:
            yield blobs
            return
        from arstore.transport.decryption.opening import Opening

        with Opening(blobs, spool, limits) as opening:
            opening.run(selection, keys, progress, verify=verify)
            yield opening.blobs


def require_plain(selection: Selection, limits: Limits) -> None:
    """Raise DecryptionError if a layer is encrypted; for callers that must read layers but have no key."""
    if not selection.encrypted:
        return
    from arstore.transport.decryption.opening import locked_layers
    from arstore.trust.encryption.unwrapping import described

    digest = next(digest for digest in selection.images if digest in selection.encrypted)
    image = selection.images[digest]
    layers = locked_layers(image, limits)
    kinds = described(layers[0].annotations, f"layer {layers[0].digest}")
    verb = "is" if len(layers) == 1 else "are"
    why = f"{len(layers)} of its {len(image.layers)} layers {verb} encrypted, for {kinds}, and no key was given"
    hint = "give --decryption-key KEYFILE; `arstore copy` can copy it encrypted to places other than a store"
    raise DecryptionError(f"image {digest}", why, hint)
