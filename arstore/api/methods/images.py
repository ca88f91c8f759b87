"""Images of a store, and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of

if TYPE_CHECKING:
    from arstore.api.opened import Named
    from arstore.api.values.images import Image, ImageDetails, Tagged, Untagged
    from arstore.api.values.upkeep import Removal


class ImageMethods(OpenStore):
    """Methods of `Store` for images and names."""

    def images(self) -> tuple[Image, ...]:
        """Return all images and indexes, sorted by digest; then those of the available additional stores."""
        from arstore.api.reading import image_of

        inner = self._open()
        theirs = [] if inner.elsewhere is None else [one.image for one in inner.elsewhere.images()]
        return tuple(map(image_of, [*inner.images(), *theirs]))

    def image(self, name: Named) -> Image:
        """Return the image or index *name*: a name, a digest, or a unique prefix of a digest.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
        """
        from arstore.api.reading import image_of

        return image_of(self._open().find(query_of(name)))

    def inspect(self, name: Named) -> ImageDetails:
        """Return the contents of an image's documents; of an index, its image for this host.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
            PlatformError: the index has no image for this host.
            MissingBlobError: a document is missing in the store.
            ManifestError: a document is malformed.
        """
        from arstore.api.reading import details_of

        store = self._open()
        return details_of(store, store.find_image(query_of(name)))

    def tag(self, image: Named, name: str) -> Tagged:
        """Give *image* another name. A name of another image moves to this one.

        Raises:
            InvalidReferenceError: *image* or *name* is malformed.
            NotFoundError: no image matches *image*.
            AmbiguousError: several images match *image*.
        """
        from arstore.api.values.images import Tagged

        store = self._open()
        before = len(store.moved)
        stored = store.tag(query_of(image), name)
        was = [moved.was for moved in store.moved[before:]]
        return Tagged(stored, store.find(stored).digest, was[0] if was else "")

    def untag(self, name: str) -> Untagged:
        """Remove a name. Its image stays until `apply`.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: the name does not exist.
        """
        from arstore.api.values.images import Untagged

        done = self._open().untag(name)
        return Untagged(done.name, done.digest, tuple(done.left))

    def remove(self, *images: Named, force: bool = False, dry_run: bool = False) -> Removal:
        """Remove all given images and their unshared content, or nothing at all.

        If an image has several names, only the given name is removed. The image is removed with its last name, or with
        all names if it is given by digest. With *force*, its containers are stopped and removed first. With *dry_run*,
        return the plan without changing the store.

        Raises:
            InvalidReferenceError: the name is malformed.
            NotFoundError: no image matches.
            AmbiguousError: several images match.
            InUseError: a container, a mount or another process uses one of them.
        """
        from arstore.api.upkeep import remove

        return remove(self._open(), [query_of(one) for one in images], force=force, dry_run=dry_run)
