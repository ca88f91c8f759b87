"""Blobs that a source holds in descriptors alone (`data`), in a file, because workers read layers from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.linux.files.writing import write_all
from arstore.store.ingest.incoming import Window, prepare_fetching, rest_opener
from arstore.transport.media.blob import Extent, OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arstore.digest import Digest
    from arstore.store.ingest.incoming import BlobSource
    from arstore.transport.source import BlobReader, Spool


class EmbeddedBlobs:
    """A `BlobSource`: the blobs in *contents* from a file in *spool*, all others from *source*.

    To be used in a `with` statement, after which the file is closed. Raises OSError when it cannot be written.
    """

    def __init__(self, source: BlobSource, contents: Mapping[Digest, bytes], spool: Spool) -> None:
        self._source = source
        self.is_remote = source.is_remote
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

    def place(self, digest: Digest) -> Window | None:
        """Where the blob lies in a file that is open already. Raises UnsafePathError."""
        place = self._places.get(digest)
        return self._source.place(digest) if place is None else Window(self._file.fd, *place)

    def require_blob(self, digest: Digest) -> None:
        """Make sure that the blob is there. Raises as `open_blob`."""
        if digest not in self._places:
            self._source.require_blob(digest)

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob of this digest. Raises MissingBlobError, UnsafePathError."""
        place = self._places.get(digest)
        return self._source.open_blob(digest) if place is None else Extent(self._file, *place, str(digest))

    @property
    def open_rest(self) -> Callable[[Digest, int], BlobReader] | None:
        """See `rest_opener`; of blobs from the source alone."""
        return None if self._places else rest_opener(self._source)

    def prepare_fetching(self) -> None:
        """See `ingest.incoming.prepare_fetching`."""
        prepare_fetching(self._source)

    def __enter__(self) -> EmbeddedBlobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
