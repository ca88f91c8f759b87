"""The `dir:` form of skopeo: one image in a flat directory, `version`, `manifest.json` and blobs named by their hex.

Format: containers-transports(5), "dir:path". Version 1.1 names a blob `<hex>`, 1.0 a layer `<hex>.tar`, and the
instances of a multi-platform image are `<hex>.manifest.json`, `manifest.json` itself being the index then. The form has
no place for a name. The same files in a tar archive are read as well.

Out of scope: signatures (`signature-N`), which are no part of the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import UnknownFormatError
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import parse
from arstore.oci.media_type import document_type
from arstore.transport.media.base import Container, Medium
from arstore.transport.media.blob import Bytes
from arstore.transport.names import Claims

if TYPE_CHECKING:
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

    def claims(self) -> Claims:
        """The one image: a descriptor made from `manifest.json`."""
        raw = self._manifest()
        what = f"{self.what}: manifest.json"
        media_type = document_type(parse(raw, what, self._bounds), what=what)
        return [(Descriptor(media_type, Digest.of(raw), len(raw)), ())]

    def find(self, digest: Digest) -> Extent | Bytes | None:
        """The manifest from memory, everything else from its file."""
        for pattern in _PATTERNS:
            blob = self._container.open(pattern.format(digest.hex))
            if blob is not None:
                return blob
        raw = self._manifest()
        return Bytes(raw) if Digest.of(raw, digest.algorithm) == digest else None

    def _manifest(self) -> bytes:
        raw = self._container.read("manifest.json", self._bounds)
        if raw is None:
            raise UnknownFormatError(self.what, "has no manifest.json")
        return raw
