"""skopeo's `dir:` form: one image in a flat directory of `version`, `manifest.json` and blobs named by their hex.

Format: containers-transports(5), "dir:path". Version 1.1 names a blob `<hex>`; version 1.0 names a layer `<hex>.tar`.
The instances of a multi-platform image are `<hex>.manifest.json`, and `manifest.json` is the index. The form has no
place for a name. The same files in a tar archive are read as well.

Signatures are `signature-N`, from 1 on, and `<hex>.signature-N` for an instance. Each file has one of two forms.
As attachments, they become the manifests that `oci.simple_signing` makes of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import LimitError, UnknownFormatError
from arstore.oci.attachment import MOST
from arstore.oci.descriptor import Descriptor
from arstore.oci.media_type import OCI_MANIFEST
from arstore.transport.media.base import Container, Medium
from arstore.transport.media.blob import Bytes
from arstore.transport.names import Claims
from arstore.transport.source import Attached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.transport.media.blob import Extent

_VERSION = b"Directory Transport Version: "
_PATTERNS = ("{}", "{}.manifest.json", "{}.tar")


def is_dir(container: Container) -> bool:
    """Whether *container* has the form's version file and a manifest."""
    version = container.open("version")
    manifest = container.open("manifest.json")
    try:
        return manifest is not None and version is not None and version.read(len(_VERSION)) == _VERSION
    finally:
        for blob in (version, manifest):
            if blob is not None:
                blob.close()


class Dir(Medium):
    """The source of a `dir:` directory: a single image without a name."""

    _raw: bytes | None = None
    _digests: dict[str, Digest]
    _made: dict[Digest, bytes] | None = None

    @property
    def transport(self) -> str:
        """The name of the transport."""
        return "dir"

    def claims(self) -> Claims:
        """The one image: a descriptor made from `manifest.json`."""
        return [(self._top(), ())]

    def attachments(self, subject: Digest) -> Sequence[Attached]:
        """The signatures of *subject*, as manifests made here.

        Raises ManifestError for a file that is not a signature, LimitError, UnsafePathError.
        """
        described = self._described(subject)
        if described is None:
            return ()
        prefix = "" if subject == self._top().digest else f"{subject.hex}."
        files: list[bytes] = []
        while len(files) <= MOST:
            data = self._container.read(f"{prefix}signature-{len(files) + 1}", self._bounds)
            if data is None:
                break
            self.facts.work.hold(data)
            files.append(data)
        if len(files) > MOST:
            raise LimitError(self.what, f"has more than {MOST} signatures of {subject}")
        if not files:
            return ()
        # Imported here: most directories have none.
        from arstore.oci.simple_signing import wrapped

        found = []
        made = self._made = {} if self._made is None else self._made
        for one in wrapped(files, described, self.what, self._bounds):
            digest = Digest.of(one.manifest)
            made |= {**one.blobs, digest: one.manifest}
            found.append(Attached(Descriptor(OCI_MANIFEST, digest, len(one.manifest)), one.suffix))
        return found

    def _top(self) -> Descriptor:
        raw = self._manifest()
        digest = Digest.of(raw)
        self.facts.keep(digest, raw)
        return Descriptor(self.facts.nature(digest, "", f"{self.what}: manifest.json").media_type, digest, len(raw))

    def _described(self, digest: Digest) -> Descriptor | None:
        """The manifest with this digest if it was read already, else None."""
        raw = self.facts.raw(digest)
        return None if raw is None else Descriptor(self.facts.nature(digest, "").media_type, digest, len(raw))

    def find(self, digest: Digest) -> Extent | Bytes | None:
        """The manifest and the manifests of signatures from memory, everything else from its file."""
        if self._made is not None and digest in self._made:
            return Bytes(self._made[digest])
        for pattern in _PATTERNS:
            blob = self._container.open(pattern.format(digest.hex))
            if blob is not None:
                return blob
        raw = self._manifest()
        own = self._digests.get(digest.algorithm)
        if own is None:
            own = self._digests[digest.algorithm] = Digest.of(raw, digest.algorithm)
        return Bytes(raw) if own == digest else None

    def _manifest(self) -> bytes:
        """The document, read once, because it is needed for every blob that is not found."""
        if self._raw is None:
            raw = self._container.read("manifest.json", self._bounds)
            if raw is None:
                raise UnknownFormatError(self.what, "has no manifest.json")
            self._raw, self._digests = raw, {}
        return self._raw
