"""Imports into a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.opened import Path
    from arstore.api.values.images import Image
    from arstore.api.values.imports import Imported
    from arstore.registry.access import RegistryOptions
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.selection.options import ImportOptions, Wanted


class ImportMethods(OpenStore):
    """Methods of `Store` that bring images in."""

    def import_images(
        self,
        source: Path,
        *,
        name: str = "",
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        tree: str | None = None,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        keys: DecryptionKeys | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Import every image of *source*: a path, or `TRANSPORT:REFERENCE`, as for the command `arstore import`.

        *platform* is `OS/ARCH[/VARIANT]`, by default the host's; *all_platforms* imports complete indexes. *name*
        replaces the name of a single image. *referrers* decides whether signatures, attestations and SBOMs are
        imported too; by default they are, except from a registry. *tree* and *limits* are by default the configured
        ones. *keys* decrypt layers. Either all images are imported or none. A missing store is created. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged; the store is unchanged.
            RegistryError: a registry cannot be reached or refuses a request; the store is unchanged.
            UsageError: *name* is given, but the source has several images; or *platform* is given with *all_platforms*.
        """
        from arstore.api.importing import import_into, wanted

        chosen = wanted(platform, all_platforms, referrers)
        options = self._import_options(name, chosen, tree, limits, registries, keys)
        with self._bringing() as store:
            return import_into(store, [os.fspath(source)], options, progress)

    def import_image(
        self, source: Path, *, name: str = "", platform: str = "", progress: Progress | None = None
    ) -> Image:
        """Import the only image of *source*, and return it. Arguments as for `import_images`. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged; the store is unchanged.
            RegistryError: a registry cannot be reached or refuses a request; the store is unchanged.
            UsageError: the source has several images.
        """
        from arstore.api.importing import import_into, wanted
        from arstore.api.reading import image_of

        options = self._import_options(name, wanted(platform, all_platforms=False), single=True)
        with self._bringing() as store:
            (taken,) = import_into(store, [os.fspath(source)], options, progress)
            return image_of(store.find(taken.digest))

    def import_root(
        self,
        source: Path,
        name: str,
        *,
        platform: str = "",
        created: int | None = None,
        message: str = "",
        changes: Sequence[str] = (),
        tree: str | None = None,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Import a tar of a root file system as an image with one layer, like `arstore import --rootfs`. Forks.

        *platform* is by default the host's. *created* is the creation time in seconds since 1970, by default
        SOURCE_DATE_EPOCH or now, *message* the comment in the history. *changes* are Dockerfile instructions for the
        config, such as `CMD ["/bin/sh"]`.

        Raises:
            SourceError: the source is missing, or not a tar; the store is unchanged.
            UsageError, InvalidReferenceError: an argument is malformed.
        """
        from arstore.api.importing import import_root, root_options

        options = root_options(name, platform, created, message, changes, tree or "", limits or self._limits())
        self._rules.refuse_unsigned("tarball", os.fspath(source))
        with self._bringing() as store:
            return import_root(store, os.fspath(source), options, progress)

    def pull(
        self,
        image: str,
        *,
        name: str = "",
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        tree: str | None = None,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        keys: DecryptionKeys | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Import an image from a registry. Arguments as for `import_images`. Forks.

        *image* is `[docker://]REGISTRY/NAME[:TAG][@DIGEST]`, or without `docker://` a short name, which registries.conf
        resolves. Of several candidates, the first that exists is imported.

        Raises:
            RegistryError: no registry has the image, can be reached, or permits the request; the store is unchanged.
            SourceError: the image is malformed or damaged; the store is unchanged.
            InvalidReferenceError: *image* is malformed.
            UsageError: *image* has another transport; or *platform* is given with *all_platforms*.
            RegistryConfigError: a configuration file of registries cannot be used.
        """
        from arstore.api.importing import import_into, pulled_from, wanted
        from arstore.registry.access import RegistryOptions

        access = registries or RegistryOptions()
        chosen = wanted(platform, all_platforms, referrers)
        options = self._import_options(name, chosen, tree, limits, access, keys)
        sources = pulled_from(image, access)
        with self._bringing() as store:
            return import_into(store, sources, options, progress)

    def _import_options(
        self,
        name: str,
        chosen: Wanted,
        tree: str | None = None,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        keys: DecryptionKeys | None = None,
        *,
        single: bool = False,
    ) -> ImportOptions:
        from arstore.transport.selection.options import ImportOptions

        known = limits or self._limits()
        return ImportOptions(name, chosen, tree or "", single, known, registries, keys, self._rules)
