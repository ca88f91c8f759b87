"""Files in a directory that is being written: each gets its name when it is complete.

Until then its name begins with PARTIAL, which the readers of all media ignore. Files and directories get the modes that
the user's umask gives.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.errors import ConflictError, InUseError, calling, naming
from arstore.linux.files.writing import write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.store.ingest.incoming import BlobReader
    from arstore.transport.sink import OutgoingAttachment


class FileSink:
    """Base of the sinks of files and directories: they have a `writer`, and do not `take` blobs themselves."""

    def __init__(self) -> None:
        self.attached: list[OutgoingAttachment] = []
        """The attachments that were put."""

    def put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        """See ImageSink; every sink has its own version."""
        raise NotImplementedError

    def begin(self, tops: Sequence[Descriptor]) -> None:
        """Do nothing: these sinks look up nothing in advance."""

    def take(self, descriptor: Descriptor, opened: Callable[[], BlobReader], tell: Callable[[int], object]) -> None:
        """Not supported: these sinks have a `writer`."""
        raise NotImplementedError

    def begin_attachments(self, some: Sequence[OutgoingAttachment]) -> Sequence[OutgoingAttachment]:
        """Return all of them: `holds` finds the blobs that are there."""
        return some

    def put_attachment(self, attachment: OutgoingAttachment) -> None:
        """Store the manifest like any other, and list it later. Raises OSError."""
        self.put_manifest(attachment.descriptor, attachment.raw)
        self.attached.append(attachment)

    def put_signature(self, subject: Digest, data: bytes) -> None:
        """Not supported: signatures are manifests here."""
        raise NotImplementedError


PARTIAL = ".partial-"
"""Prefix of the names of incomplete files."""
_PARTIAL = re.compile(re.escape(PARTIAL) + "[0-9a-f]{16}")


def partial_path(directory: str) -> str:
    """A path for an incomplete file in *directory*."""
    return f"{directory}/{PARTIAL}{os.urandom(8).hex()}"


def create(path: str | bytes) -> int:
    """Create a file and return its descriptor, open for reading and writing. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


class FileWriter:
    """A blob that is being written to *directory*; *place* returns its path for its digest."""

    def __init__(self, directory: str, place: Callable[[Digest], str]) -> None:
        self._place = place
        self._directory = directory
        self._partial = partial_path(directory)
        with calling(directory):
            self._fd = create(self._partial)

    def write(self, data: bytes | memoryview, /) -> None:
        """Add bytes. Raises OSError."""
        with calling(self._directory):
            write_all(self._fd, data)

    def finish(self, digest: Digest, size: int) -> None:
        """Give the file its name. Raises OSError."""
        del size
        with calling(self._directory):
            os.rename(self._partial, self._place(digest))
        self._partial = ""

    def close(self) -> None:
        """Close the file, and remove it unless it was finished."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        partial, self._partial = self._partial, ""
        if partial:
            with suppress(FileNotFoundError):
                os.unlink(partial)


def replace_document(path: str, data: bytes) -> None:
    """Replace the file *path*, durably. Raises OSError."""
    partial = partial_path(os.path.dirname(path))
    try:
        with calling(path):
            fd = create(partial)
            try:
                write_all(fd, data)
                os.fdatasync(fd)
            finally:
                os.close(fd)
            os.rename(partial, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        raise


@contextmanager
def locked_directory(directory: str, is_own: Callable[[set[str]], bool], kind: str) -> Iterator[int]:
    """Create *directory* if it is missing, lock it against other copies, and yield its descriptor.

    *is_own* decides by the names in a directory that is not empty whether it is *kind*. Files that killed copies left
    behind are removed. Raises ConflictError, InUseError, OSError.
    """
    made = False
    with naming(directory):
        with suppress(FileExistsError):
            os.mkdir(directory)
            made = True
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(fd, directory)
        names = set(os.listdir(fd))
        own = {name for name in names if _PARTIAL.fullmatch(name) is None} - {"lost+found"}
        if own and not is_own(own):
            raise ConflictError(directory, f"holds something other than {kind}", "name an empty or a new directory")
        clear_partial(fd)
        try:
            yield fd
        except BaseException:
            # Complete blobs stay, and so does the directory then: a repeated copy continues from there.
            _remove_empty(fd, () if own else ("blobs/sha256", "blobs/sha512", "blobs"))
            if made:
                with suppress(OSError):
                    os.rmdir(directory)
            raise
    finally:
        os.close(fd)


def _remove_empty(fd: int, names: Iterable[str]) -> None:
    for name in names:
        with suppress(OSError):
            os.rmdir(name, dir_fd=fd)


def clear_partial(fd: int) -> None:
    """Remove the files that killed copies left in the directory *fd*. Raises OSError."""
    for name in os.listdir(fd):
        if _PARTIAL.fullmatch(name):
            with suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(name, dir_fd=fd)


def _lock(fd: int, directory: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUseError(directory, "another copy is being written there") from error
    except OSError as error:
        # This file system has no locks, so concurrent copies are not detected.
        if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
