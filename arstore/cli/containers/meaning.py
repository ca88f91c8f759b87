"""What a word on the command line means where it may be a container or an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import AmbiguousError, InvalidReferenceError, NotFoundError

if TYPE_CHECKING:
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage


def container_meant(store: Store, text: str) -> Container | None:
    """The container that *text* means; None when it means an image, or nothing.

    A container's id comes first, then an image's name, then the start of an id or of a digest. Raises AmbiguousError.
    """
    try:
        return store.containers.get(text)
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
        raise AmbiguousError(text, f"is the start of container {container.id} and of image {image.digest.short}")
    return container


def _image(store: Store, text: str) -> StoredImage | None:
    try:
        return store.find(text)
    except (NotFoundError, InvalidReferenceError):
        return None
