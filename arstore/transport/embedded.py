"""Blobs that a source cannot give as files: they are written to spool files, because workers read layers from files.

`EmbeddedBlobs` holds those that exist only inside descriptors (`data`); `decryption` holds those that were encrypted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.linux.files.writing import write_all
from arstore.store.ingest.incoming import Window, prepare_fetching, rest_opener
from arstore.transport.media.blob import Extent, OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from arstore.digest import Digest
    from arstore.store.ingest.incoming import BlobSource
    from arstore.transport.source import BlobReader, Spool


class BlobsBeside:
    """A `BlobSource` that reads some blobs from open files, and all others from *source*.

    Use it in a `with` statement, which closes the files at the end.
    """

    def __init__(self, source: BlobSource) -> None:
        self._source = source
        self.is_remote = source.is_remote
        self._places: dict[Digest, Extent] = {}
        self._files: list[OpenFile] = []

    def file(self, fd: int) -> OpenFile:
        """Wrap the descriptor *fd*, and close it with the others."""
        self._files.append(OpenFile(fd))
        return self._files[-1]

    def add(self, digest: Digest, file: OpenFile, offset: int, size: int) -> None:
        """Add the blob of *size* bytes at *offset* in *file*, which `file` returned."""
        self._places[digest] = Extent(file, offset, size, str(digest))

    def place(self, digest: Digest) -> Window | None:
        """Where the blob lies in a file that is open already. Raises UnsafePathError."""
        place = self._places.get(digest)
        return self._source.place(digest) if place is None else place.window()

    def require_blob(self, digest: Digest) -> None:
        """Check that the blob is there. Raises MissingBlobError, UnsafePathError."""
        if digest not in self._places:
            self._source.require_blob(digest)

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob of this digest. Raises MissingBlobError, UnsafePathError."""
        place = self._places.get(digest)
        return self._source.open_blob(digest) if place is None else place.again()

    @property
    def open_rest(self) -> Callable[[Digest, int], BlobReader] | None:
        """See `rest_opener`; applies to blobs from the source only."""
        return None if self._places else rest_opener(self._source)

    def prepare_fetching(self) -> None:
        """See `ingest.incoming.prepare_fetching`."""
        prepare_fetching(self._source)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EmbeddedBlobs(BlobsBeside):
    """Blobs in *contents*, written to a file in *spool*; all others come from *source*.
    Raises OSError when the file cannot be written.
    """

    def __init__(self, source: BlobSource, contents: Mapping[Digest, bytes], spool: Spool) -> None:
        super().__init__(source)
        if not contents:
            return
        file = self.file(spool.create())
        offset = 0
        try:
            for digest, data in contents.items():
                write_all(file.fd, data)
                self.add(digest, file, offset, len(data))
                offset += len(data)
        except BaseException:
            self.close()
            raise
