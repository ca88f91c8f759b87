"""`docker://NAME[:TAG][@DIGEST]`: an image in a registry as an `ImageSource`.

The manifest that the name refers to is fetched once and kept, so a tag that moves changes nothing. Mirrors are tried in
order; everything else comes from the first place that gives the manifest. The image brings its canonical name.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import (
    ArstoreError,
    MissingBlobError,
    RegistryNotFoundError,
)
from arstore.oci.docker_reference import DockerReference
from arstore.oci.document import BOUNDS, Bounds
from arstore.oci.media_type import OCI_MANIFEST, is_index
from arstore.registry.access import NO_OPTIONS, Access, RegistryOptions
from arstore.registry.manifests import GotManifest, get_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.oci.descriptor import Descriptor
    from arstore.registry.repository import Repository
    from arstore.store.ingest.incoming import Window
    from arstore.transport.source import Attached, BlobReader, SourceImage


class RegistrySource:
    """The image that *reference* names. It owns *access*, and closes it."""

    complete = True
    transport = "docker"
    is_remote = True

    def __init__(self, reference: DockerReference, access: Access, bounds: Bounds = BOUNDS) -> None:
        self.what = f"docker://{reference}"
        self.reference = reference
        self._access = access
        self._bounds = bounds
        self._got: GotManifest | None = None
        self._repository: Repository | None = None
        self._sizes: dict[Digest, int] = {}
        self._tagged: dict[Digest, GotManifest] = {}
        self._described: dict[Digest, GotManifest] = {}
        self._unread: list[GotManifest] = []
        self._made: dict[Digest, bytes] = {}

    def images(self) -> Sequence[SourceImage]:
        """The only image, or index. Raises RegistryError, ManifestError, LimitError."""
        from arstore.transport.source import SourceImage

        got = self._manifest()
        return (SourceImage(_descriptor(got), (self.name,) if self.name else ()),)

    @property
    def name(self) -> str:
        """The image's canonical name; "" if it is referred to by a digest alone."""
        return f"{self.reference.repository}:{self.reference.tag}" if self.reference.tag else ""

    def place(self, _digest: Digest, /) -> Window | None:
        """Always None: no blob is in a local file."""
        return None

    def require_blob(self, digest: Digest) -> None:
        """Ask whether the blob is there. Raises MissingBlobError, RegistryError."""
        from arstore.registry.blobs import head_blob

        if head_blob(self._found(), digest) is None:
            raise self._missing("blob", digest)

    def open_manifest(self, descriptor: Descriptor) -> BlobReader:
        """See ImageSource. Raises MissingBlobError, RegistryError, ManifestError, LimitError."""
        if descriptor.digest in self._made:
            return BytesIO(self._made[descriptor.digest])
        got = self._tagged.get(descriptor.digest) or self._manifest()
        if descriptor.digest != got.digest:
            try:
                got = get_manifest(self._found(), descriptor.digest, self._bounds)
            except RegistryNotFoundError as error:
                raise self._missing("manifest", descriptor.digest) from error
            self._learn(got)
        return BytesIO(got.raw)

    def open_blob(self, digest: Digest) -> BlobReader:
        """See ImageSource. Raises MissingBlobError, RegistryError."""
        if digest in self._made:
            return BytesIO(self._made[digest])
        from arstore.registry.blobs import RemoteBlob

        return RemoteBlob(self._found(), digest, self._size(digest))

    def open_rest(self, digest: Digest, offset: int, /) -> BlobReader:
        """The blob from the byte *offset* on. Raises MissingBlobError, RegistryError."""
        from arstore.registry.blobs import RemoteBlob

        return RemoteBlob(self._found(), digest, self._size(digest), offset)

    def attachments(self, subject: Digest) -> Sequence[Attached]:
        """List the referrers of *subject*, the attachments under cosign's tags, and the signatures in the lookaside.

        Takes one request for each list and each tag; the manifest of a tag is fetched once and kept. Raises
        MissingBlobError, RegistryError, ManifestError, LimitError, and the errors of `Access.signatures`.
        """
        from arstore.oci.attachment import SUFFIXES, tag_of
        from arstore.registry.referrers import entries_of
        from arstore.transport.source import Attached

        found = {entry.digest: Attached(entry) for entry in entries_of(self._found(), subject)}
        for suffix in SUFFIXES:
            try:
                got = get_manifest(self._found(), tag_of(subject, suffix), self._bounds)
            except RegistryNotFoundError:
                continue
            self._tagged[got.digest] = got
            self._learn(got)
            entry = _descriptor(got)
            found[got.digest] = Attached(entry, suffix)
        return (*found.values(), *self._beside(subject))

    def _beside(self, subject: Digest) -> Iterator[Attached]:
        """Signatures in the lookaside, as manifests made here."""
        got = self._described.get(subject)
        files = self._access.signatures(self.reference, subject) if got is not None else ()
        if got is None or not files:
            return
        from arstore.oci.simple_signing import wrapped
        from arstore.transport.source import Attached

        for one in wrapped(files, _descriptor(got), self.what, self._bounds):
            digest = Digest.of(one.manifest)
            self._made |= {**one.blobs, digest: one.manifest}
            yield Attached(_descriptor(GotManifest(digest, OCI_MANIFEST, one.manifest)), one.suffix)

    def prepare_fetching(self) -> None:
        """See `ingest.incoming.prepare_fetching`."""
        self._found().client.prepare()

    @property
    def repository(self) -> Repository:
        """The repository that gave the manifest. Raises RegistryError, ManifestError, LimitError."""
        return self._found()

    @property
    def top(self) -> GotManifest:
        """The manifest or index that the reference names. Raises RegistryError, ManifestError, LimitError."""
        return self._manifest()

    def close(self) -> None:
        """Close all connections."""
        self._access.close()

    def __enter__(self) -> RegistrySource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _manifest(self) -> GotManifest:
        if self._got is None:
            repository, got = first_that_has(self._access.to_read(self.reference), self.reference, self._bounds)
            self._repository = repository
            self._learn(got)
            self._got = got
        return self._got

    def _found(self) -> Repository:
        self._manifest()
        assert self._repository is not None
        return self._repository

    def _learn(self, got: GotManifest) -> None:
        """Remember a manifest, also for the sizes that it gives for its blobs (`_size`)."""
        self._described[got.digest] = got
        if not is_index(got.media_type):
            self._unread.append(got)

    def _size(self, digest: Digest) -> int | None:
        """The size that a manifest gives for a blob, so that a wrong one is found before reading; None if unknown."""
        if self._unread:
            from arstore.oci.manifest import Manifest
        while self._unread:
            got = self._unread.pop()
            try:
                manifest = Manifest.parse(got.raw, f"manifest {got.digest}", got.media_type or None, self._bounds)
            except ArstoreError:
                continue  # `selection` reports what is wrong with it
            for entry in (manifest.config, *manifest.layers):
                self._sizes[entry.digest] = entry.size
        return self._sizes.get(digest)

    def _missing(self, kind: str, digest: Digest) -> MissingBlobError:
        return MissingBlobError(self.what, f"does not hold the {kind} {digest}")


def _descriptor(got: GotManifest) -> Descriptor:
    from arstore.oci.descriptor import Descriptor

    return Descriptor(got.media_type, got.digest, len(got.raw))


def first_that_has(
    repositories: Sequence[Repository], reference: DockerReference, bounds: Bounds = BOUNDS
) -> tuple[Repository, GotManifest]:
    """Return the first of *repositories* (mirrors, then the registry) that gives the manifest, and the manifest.

    Raises the error of the last one; its text includes the errors before it.
    """
    failed: list[str] = []
    for repository in repositories[:-1]:
        try:
            return repository, get_manifest(repository, reference.wanted, bounds)
        except ArstoreError as error:
            failed.append(str(error))
    try:
        return repositories[-1], get_manifest(repositories[-1], reference.wanted, bounds)
    except ArstoreError as error:
        if not failed:
            raise
        why = f"{error.why}; its mirrors failed before: {'; '.join(failed)}"
        raise type(error)(error.what, why, error.hint) from error


def open_registry(text: str, options: RegistryOptions | None = None, bounds: Bounds = BOUNDS) -> RegistrySource:
    """The source named by `docker://` and *text*; sends no request yet. Raises InvalidReferenceError."""
    return RegistrySource(DockerReference.parse(text), Access(options or NO_OPTIONS), bounds)
