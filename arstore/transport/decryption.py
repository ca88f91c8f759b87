"""Encrypted layers of a source: opened with the user's keys before anything else is done with them.

    selection ─▶ keys of layers ─▶ blob ─▶ verify digest and size ─▶ decrypt ─▶ spool ─▶ verify HMAC ─▶ new manifest

A layer is decrypted in one pass, with one piece of it in memory, into a file of the spool. Only from there it is
inflated, by the process that inflates any other layer, when its digest and its HMAC were right. The diff ID is checked
where it always is: when the store takes the layer, or here (*verify*), for copies to elsewhere.

What leaves is an ordinary image: its manifest names the plaintext blobs. Decision 65 says why. Without keys, encrypted
layers are blobs like others, which a copy moves unopened.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.errors import DecryptionError
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.embedded import EmbeddedBlobs
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.store.ingest.incoming import BlobSource
    from arstore.store.progress import Progress
    from arstore.transport.selection.taking import Selection
    from arstore.transport.source import Spool
    from arstore.trust.encryption.key_file import KeyWord


class DecryptionKeys(NamedTuple):
    """Private keys as the user named them. *tell* takes lines for people: which image became which."""

    words: tuple[KeyWord, ...]
    tell: Callable[[str], object]


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
    """What the blobs of *selection* are read from, for the length of the context; encrypted ones are plain there.

    With *keys*, images in *selection* that have encrypted layers are replaced by the same without encryption, and so
    are the indexes that list them. With *verify*, the plain layers are inflated and compared with their diff IDs.

    Raises KeyFileError, DecryptionError, ConversionError for an image that may not be changed, the errors of
    `Contents`, NoSpaceError and OSError.
    """
    with EmbeddedBlobs(source, selection.embedded, spool) as blobs:
        if keys is None or not selection.encrypted:
            yield blobs
            return
        from arstore.transport.decrypting import Opening

        with Opening(blobs, spool, limits) as opening:
            opening.run(selection, keys, progress, verify=verify)
            yield opening.blobs


def require_plain(selection: Selection, limits: Limits) -> None:
    """Raise DecryptionError when a layer is encrypted: for what has to look into layers, and was given no key."""
    if not selection.encrypted:
        return
    from arstore.transport.decrypting import locked_layers
    from arstore.trust.encryption.unwrapping import described

    digest = next(digest for digest in selection.images if digest in selection.encrypted)
    image = selection.images[digest]
    layers = locked_layers(image, limits)
    kinds = described(layers[0].annotations, f"layer {layers[0].digest}")
    verb = "is" if len(layers) == 1 else "are"
    why = f"{len(layers)} of its {len(image.layers)} layers {verb} encrypted, for {kinds}, and no key was given"
    hint = "give --decryption-key KEYFILE; `arstore copy` moves it unopened to other places than a store"
    raise DecryptionError(f"image {digest}", why, hint)
