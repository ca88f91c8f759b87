"""Look up a word that may be the name of a container or of an image."""

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


def container_or_image(store: Store, text: str) -> tuple[Container | None, StoredImage]:
    """Return the container that *text* means, or None, and its image, or the image that *text* means.

    Raises NotFoundError if there is neither, AmbiguousError, InvalidReferenceError, PlatformError.
    """
    container = container_meant(store, text)
    return container, image_meant(store, text) if container is None else store.find(container.record.image)


def image_meant(store: Store, text: str) -> StoredImage:
    """Return the image that *text* means, which does not mean a container. Raises the errors of `Store.find_image`."""
    try:
        return store.find_image(text)
    except NotFoundError as error:
        if error.what != text:
            raise
        hint = "`arstore images` and `arstore ps -a` list them"
        raise NotFoundError(text, "no such image or container", hint) from None


def _image(store: Store, text: str) -> StoredImage | None:
    try:
        return store.find(text)
    except (NotFoundError, InvalidReferenceError):
        return None
