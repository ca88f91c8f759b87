"""Blobs that a source does not hold as they are wanted, in files beside it, because workers read layers from files.

`EmbeddedBlobs` are those that a source holds in descriptors alone (`data`); `decryption` has those that it encrypts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from arstore.linux.files.writing import write_all
from arstore.store.ingest.incoming import Window, prepare_fetching, rest_opener
from arstore.transport.media.blob import Extent, OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arstore.digest import Digest
    from arstore.store.ingest.incoming import BlobSource
    from arstore.transport.source import BlobReader, Spool


class BlobsBeside:
    """A `BlobSource`: some blobs from files that are open, all others from *source*.

    To be used in a `with` statement, after which the files are closed.
    """

    def __init__(self, source: BlobSource) -> None:
        self._source = source
        self.is_remote = source.is_remote
        self._places: dict[Digest, Extent] = {}
        self._files: list[OpenFile] = []

    def file(self, fd: int) -> OpenFile:
        """The file that *fd* has open, to be closed with the others."""
        self._files.append(OpenFile(fd))
        return self._files[-1]

    def add(self, digest: Digest, file: OpenFile, offset: int, size: int) -> None:
        """Have the blob in *file*, which `file` gave."""
        self._places[digest] = Extent(file, offset, size, str(digest))

    def place(self, digest: Digest) -> Window | None:
        """Where the blob lies in a file that is open already. Raises UnsafePathError."""
        place = self._places.get(digest)
        return self._source.place(digest) if place is None else place.window()

    def require_blob(self, digest: Digest) -> None:
        """Make sure that the blob is there. Raises as `open_blob`."""
        if digest not in self._places:
            self._source.require_blob(digest)

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob of this digest. Raises MissingBlobError, UnsafePathError."""
        place = self._places.get(digest)
        return self._source.open_blob(digest) if place is None else place.again()

    @property
    def open_rest(self) -> Callable[[Digest, int], BlobReader] | None:
        """See `rest_opener`; of blobs from the source alone."""
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
    """The blobs in *contents* from a file in *spool*, all others from *source*.

    Raises OSError when it cannot be written.
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
