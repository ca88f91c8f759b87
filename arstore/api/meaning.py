"""Resolve a word on the command line that may mean a container or an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import AmbiguousError, InvalidReferenceError, NotFoundError

if TYPE_CHECKING:
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage


def container_meant(store: Store, text: str) -> Container | None:
    """Return the container that *text* means; None if it means an image, or nothing.

    A container's name or id has precedence over an image's name, and that over the prefix of an id or digest. Raises
    AmbiguousError.
    """
    try:
        return store.containers.find_exactly(text)
    except NotFoundError:
        pass
    image = _image(store, text)
    if image is not None and image.called:
        return None
    try:
        container = store.containers.find(text)
    except NotFoundError:
        return None
    if image is not None:
        raise AmbiguousError(text, f"is a prefix of container {container.id} and of image {image.digest.short}")
    return container


def _image(store: Store, text: str) -> StoredImage | None:
    try:
        return store.find(text)
    except (NotFoundError, InvalidReferenceError):
        return None
