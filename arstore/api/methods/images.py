"""Images of a store, and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of

if TYPE_CHECKING:
    from arstore.api.opened import Named
    from arstore.api.values.images import HistoryStep, Image, ImageDetails, Tagged, Untagged
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

    def history(self, image: Named, *, sizes: bool = False) -> tuple[HistoryStep, ...]:
        """Return the steps in which an image was built, the latest first; *sizes* adds more sizes of the layers.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            MissingBlobError, ManifestError: its config is missing or malformed.
        """
        from arstore.api.history import steps_of

        store = self._open()
        return steps_of(store, store.find_image(query_of(image)), sizes=sizes)

    def protect(self, *images: Named) -> tuple[str, ...]:
        """Keep images from `apply` and `prune`, with or without a name; return their digests.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: one of *images* is not found.
        """
        from arstore.store.protection import protect

        return tuple(protect(self._open(), [query_of(one) for one in images]))

    def unprotect(self, *images: Named) -> tuple[str, ...]:
        """End the protection of images; return the digests of those that were protected.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError: one of *images* is not found.
        """
        from arstore.store.protection import unprotect

        return tuple(unprotect(self._open(), [query_of(one) for one in images]))

    def protected(self) -> frozenset[str]:
        """Return the digests of all protected images, also of those that the configuration protects by a pattern."""
        from arstore.store.collect.protected import protected

        store = self._open()
        with store.graph.read() as snapshot:
            return frozenset(protected(snapshot, store.protects))

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
