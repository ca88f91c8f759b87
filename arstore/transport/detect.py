"""Open a source by its content, whatever the name of the file.

A directory is an OCI layout or a `dir:`. A file or a stream is a tar archive, perhaps compressed, of an OCI layout, of
`docker save`, or of a `dir:`. An uncompressed regular file is read in place. Everything else is read once, and its
members are kept in spool files inside the store. A transport in front of the path says what the content has to be.
After an error, nothing is left open. The reader of a kind of medium is imported when it is needed; a registry needs
none of them. Not in scope: reading images (`layout`, `docker_archive`, `dir`) and verifying (`copy`).
"""

from __future__ import annotations

import os
import stat
from io import FileIO
from typing import TYPE_CHECKING

from arstore.errors import UnknownFormatError, UnsafePathError, from_os_error
from arstore.oci.document import BOUNDS, Bounds
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.tar.peeking import Resumed, head_of
from arstore.transport.location import REGISTRY, STREAM, parse_location
from arstore.transport.media.blob import Extent, OpenFile
from arstore.transport.media.bounds import bounds_of
from arstore.transport.media.directory import Directory
from arstore.transport.media.magic import HEAD, is_tar
from arstore.transport.media.stream import DescriptorReader
from arstore.transport.names import EVERYTHING, Choice
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

    from arstore.digest import Reader
    from arstore.registry.access import RegistryOptions
    from arstore.tar.codec import Compression
    from arstore.transport.media.base import Medium
    from arstore.transport.media.members import Members
    from arstore.transport.source import ImageSource, Spool

_KINDS = {
    "oci": "an OCI image layout in a directory",
    "oci-archive": "an OCI image layout in a tar archive",
    "docker-archive": "a docker-archive",
    "dir": "a dir: directory",
}


class _Request(NamedTuple):
    """A source as it was requested, before anything of it is read."""

    what: str
    spool: Spool
    transport: str = ""
    choice: Choice = EVERYTHING
    file_name: str = ""
    limits: Limits = DEFAULT_LIMITS
    bounds: Bounds = BOUNDS

    @property
    def common(self) -> tuple[str, Choice, Bounds, Limits]:
        """The arguments that every medium takes after its container."""
        return self.file_name, self.choice, self.bounds, self.limits


def open_source(
    text: str,
    spool: Spool,
    stdin: BinaryIO | None = None,
    limits: Limits = DEFAULT_LIMITS,
    registries: RegistryOptions | None = None,
) -> ImageSource:
    """Open the source that *text* names: a path, `-` for *stdin*, or `TRANSPORT:REFERENCE`.

    Without *stdin*, `-` reads descriptor 0. *registries* applies to an image in a registry, from which nothing is read.
    Raises UsageError, InvalidReferenceError, NotFoundError, PermissionDeniedError for the name; UnknownFormatError,
    TruncatedError, CompressionError, TarError, UnsafePathError, LimitError, ManifestError for the content; OSError when
    the spool cannot be written.
    """
    location = parse_location(text)
    if location.transport == REGISTRY:
        # Imported here: importing HTTP and TLS takes longer than reading a small archive.
        from arstore.transport.registry import open_registry

        return open_registry(location.path, registries, bounds_of(limits))
    known = (location.what, spool, location.transport, location.choice, location.file_name)
    request = _Request(*known, limits, bounds_of(limits))
    if location.path == STREAM:
        return _from_stream(stdin or FileIO(0, closefd=False), request)
    try:
        fd = os.open(location.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise from_os_error(error, location.what) from error
    return _from_fd(OpenFile(fd), request)


def open_source_fd(
    fd: int, what: str, spool: Spool, file_name: str = "", limits: Limits = DEFAULT_LIMITS
) -> ImageSource:
    """Open the source in *fd*, a regular file or a directory that is open for reading; the caller still closes *fd*.

    *file_name* is the name that an image without a name may take. Raises UnsafePathError for anything but a file or a
    directory, SourceError for the content, and OSError when the spool cannot be written.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnsafePathError(what, "is neither a regular file nor a directory")
    request = _Request(what, spool, file_name=file_name, limits=limits, bounds=bounds_of(limits))
    return _from_fd(OpenFile(os.dup(fd)), request)


def _from_fd(file: OpenFile, request: _Request) -> Medium:
    """The source in *file*, which is closed with it."""
    from arstore.transport.media.archive import indexed

    try:
        status = os.fstat(file.fd)
        if stat.S_ISDIR(status.st_mode):
            return _in_directory(Directory(os.dup(file.fd), request.what), request)
        if not stat.S_ISREG(status.st_mode):
            return _in_stream(DescriptorReader(file.fd, request.what), request)
        whole = Extent(file, 0, status.st_size, request.what)
        head = whole.read(HEAD)
        if is_tar(head):
            kept = OpenFile(os.dup(file.fd))
            return _in_archive(indexed(kept, status.st_size, request.what, request.spool, request.limits), request)
        whole.seek(0)
        return _in_stream(whole, request)
    finally:
        file.close()


def _from_stream(stdin: BinaryIO | FileIO, request: _Request) -> Medium:
    """The source on a stream; a regular file from which nothing was read yet is read in place."""
    try:
        fd = stdin.fileno()
        in_place = stat.S_ISREG(os.fstat(fd).st_mode) and stdin.tell() == 0
    except OSError:
        in_place = False
    if in_place:
        return _from_fd(OpenFile(os.dup(fd)), request)
    return _in_stream(stdin, request)


def _in_directory(directory: Directory, request: _Request) -> Medium:
    from arstore.transport.dir import Dir, is_dir
    from arstore.transport.layout import Layout, is_layout
    from arstore.transport.refusal import no_layout

    try:
        if is_layout(directory):
            return _as_asked(Layout(directory, *request.common), "oci", request)
        if is_dir(directory):
            return _as_asked(Dir(directory, *request.common), "dir", request)
        raise no_layout(directory)
    except BaseException:
        directory.close()
        raise


def _in_stream(stream: Reader, request: _Request) -> Medium:
    """The source in content that can be read only once: compressed, a pipe, or not an archive at all."""
    from arstore.tar.codec import Compression
    from arstore.transport.media.inflating import inflating
    from arstore.transport.refusal import compression_of

    head = head_of(stream, HEAD)
    compression = compression_of(head, request.what)
    content: Reader = Resumed(head, stream)
    if compression is Compression.NONE:
        return _in_archive(_tar(content, head, compression, request), request)
    with inflating(content, head, request.what, compression, request.limits) as inflated:
        first = head_of(inflated, HEAD)
        members = _tar(Resumed(first, inflated), first, compression, request)
        members.stored = inflated.consumed
        return _in_archive(members, request)


def _tar(content: Reader, head: bytes, compression: Compression, request: _Request) -> Members:
    """The table of members of a stream that begins with *head* and was decompressed from *compression*."""
    from arstore.transport.media.archive import spooled
    from arstore.transport.refusal import no_archive

    if not is_tar(head):
        raise no_archive(head, compression, request.what)
    return spooled(content, request.what, request.spool, request.limits)


def _in_archive(members: Members, request: _Request) -> Medium:
    """The source in an archive whose table is known; if it is of both kinds, the requested transport decides."""
    from arstore.transport.dir import Dir, is_dir
    from arstore.transport.docker_archive import DockerArchive, is_docker_archive
    from arstore.transport.hybrid import Hybrid
    from arstore.transport.layout import Layout, is_layout
    from arstore.transport.refusal import no_image

    try:
        docker = is_docker_archive(members)
        common = (members, *request.common)
        if docker and request.transport in {"", "oci-archive"} and is_layout(members):
            return Hybrid(*common, layout_only=bool(request.transport))
        if docker:
            return _as_asked(DockerArchive(*common), "docker-archive", request)
        if is_layout(members):
            return _as_asked(Layout(*common), "oci-archive", request)
        if is_dir(members):
            return _as_asked(Dir(*common), "dir", request)
        raise no_image(members)
    except BaseException:
        members.close()
        raise


def _as_asked(medium: Medium, kind: str, request: _Request) -> Medium:
    """Return *medium* if it is of the kind that the user asked for. Raises UnknownFormatError."""
    if request.transport in {"", kind}:
        return medium
    why = f"is {_KINDS[kind]}, not {_KINDS[request.transport]}"
    raise UnknownFormatError(request.what, why, f"write {kind}: before its path, or nothing")
