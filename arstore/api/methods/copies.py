"""Copies of images between media."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.opened import OpenStore, query_of, warn_of_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.opened import Named, Path
    from arstore.api.values.copies import Copied
    from arstore.api.values.images import Image
    from arstore.registry.access import RegistryOptions
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.export.encryption import Encryption
    from arstore.transport.signing.signer import Signer


class CopyMethods(OpenStore):
    """Methods of `Store` that copy images."""

    def copy(
        self,
        source: Path | Image,
        destination: Path,
        *,
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        form: str = "",
        compression: str = "",
        level: int | None = None,
        preserve_digests: bool = False,
        encryption: Encryption | None = None,
        keys: DecryptionKeys | None = None,
        signer: Signer | None = None,
        remove_signatures: bool = False,
        limits: Limits | None = None,
        registries: RegistryOptions | None = None,
        source_registries: RegistryOptions | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy images between two of `docker:// oci: oci-archive: docker-archive: dir: store:`, like `arstore copy`.

        An `Image`, or `store:NAME`, is read from this store; a *destination* `store:[NAME]` is this store. *form* is
        `oci` or `v2s2`, *compression* is `gzip`, `zstd` or `none`, of a *level* of 1 to 9 or, for zstd, 22; by default
        nothing is converted. *encryption* encrypts layers, *keys* decrypt them, *signer* signs what is written.
        *registries* says how to reach registries; *source_registries* is for the source, if that differs. Forks.

        Raises:
            SourceError: the source is missing, malformed or damaged.
            RegistryError: a registry cannot be reached or refuses a request.
            ConversionError: a necessary or requested conversion is impossible or not allowed.
            UsageError: the arguments contradict each other.
            InvalidReferenceError: *source* or *destination* is not a valid reference.
        """
        from arstore.api.copying import STORE, Both, copy_in, copy_out, export_options, stored_name
        from arstore.api.importing import wanted
        from arstore.errors import UsageError

        chosen = wanted(platform, all_platforms, referrers)
        limits = limits or self._limits()
        options = export_options(
            form, compression, level, preserve_digests, all_platforms, limits, encryption, signer, remove_signatures
        )
        stored, target = stored_name(source), os.fspath(destination)
        both = Both(registries, source_registries or registries)
        if target.startswith(STORE):
            if stored:
                raise UsageError(stored, "is in the store already", "use tag to give it another name")
            with self._bringing() as store:
                name = target.removeprefix(STORE)
                return copy_in(store, _path(source), name, chosen, options, both, keys, self._rules, progress)
        warn_of_threads()
        inner = self._open() if stored else None
        texts = [stored] if stored else [_path(source)]
        return copy_out(inner, texts, target, chosen, options, both, keys, self._rules, progress)

    def save(
        self,
        images: Sequence[Named],
        output: Path,
        *,
        kind: str = "oci-archive",
        platform: str = "",
        all_platforms: bool = False,
        referrers: bool | None = None,
        compression: str = "",
        level: int | None = None,
        preserve_digests: bool = False,
        encryption: Encryption | None = None,
        signer: Signer | None = None,
        remove_signatures: bool = False,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Write images of the store to one file, like `arstore save`. Forks.

        *kind* is `oci-archive`, `docker-archive` or `docker-oci-archive`; or `oci` or `dir` for a directory. The
        *output* `-` is standard output. The other arguments are those of `copy`.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `inspect`.
            ConversionError: a necessary or requested conversion is impossible or not allowed.
            UsageError: the arguments contradict each other.
        """
        from arstore.api.copying import export_options, save
        from arstore.api.importing import wanted

        warn_of_threads()
        chosen = wanted(platform, all_platforms, referrers)
        limits = limits or self._limits()
        options = export_options(
            "", compression, level, preserve_digests, all_platforms, limits, encryption, signer, remove_signatures
        )
        texts = [query_of(image) for image in images]
        return save(self._open(), texts, os.fspath(output), kind, chosen, options, self._rules, progress)


def _path(source: Path | Image) -> str:
    return source.digest if not isinstance(source, str | os.PathLike) else os.fspath(source)
