"""Blobs that a source holds in descriptors alone (`data`), in a file, because workers read layers from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.linux.files.writing import write_all
from arstore.transport.media.blob import Extent, OpenFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.digest import Digest
    from arstore.transport.source import BlobReader, ImageSource, Spool


class EmbeddedBlobs:
    """Opens blobs: those in *contents* from a file in *spool*, all others from *source*.

    To be used in a `with` statement, after which the file is closed. Raises OSError when it cannot be written.
    """

    def __init__(self, source: ImageSource, contents: Mapping[Digest, bytes], spool: Spool) -> None:
        self._source = source
        self._places: dict[Digest, tuple[int, int]] = {}
        self._file = OpenFile(spool.create() if contents else -1)
        offset = 0
        try:
            for digest, data in contents.items():
                write_all(self._file.fd, data)
                self._places[digest] = (offset, len(data))
                offset += len(data)
        except BaseException:
            self._file.close()
            raise

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob of this digest. Raises MissingBlobError, UnsafePathError."""
        place = self._places.get(digest)
        return self._source.open_blob(digest) if place is None else Extent(self._file, *place, str(digest))

    def __enter__(self) -> EmbeddedBlobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
