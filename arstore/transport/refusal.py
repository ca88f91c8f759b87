"""Errors for sources that are not images; they say what the content looks like instead.

Not in scope: damaged or hostile images, which fail when they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import CompressionError, UnknownFormatError
from arstore.tar.codec import HEAD, Compression, detect
from arstore.tar.entry import shown
from arstore.transport.media.magic import looks_like

if TYPE_CHECKING:
    from arstore.transport.media.directory import Directory
    from arstore.transport.media.members import Members


def no_layout(directory: Directory) -> UnknownFormatError:
    """The error for a directory that is neither an OCI layout nor a `dir:`."""
    blob = directory.open("oci-layout")
    if blob is not None:
        blob.close()
        why = "is a directory with oci-layout, but without the index.json of an OCI image layout"
        return UnknownFormatError(directory.what, why)
    why = "is a directory, but neither an OCI image layout (index.json, blobs) nor a dir: (version, manifest.json)"
    return UnknownFormatError(directory.what, why)


def no_image(members: Members) -> UnknownFormatError:
    """The error for a tar archive that does not hold an image of a known kind."""
    names = list(members.names())
    if not names:
        return UnknownFormatError(members.what, "is an empty tar archive")
    if b"repositories" in names:
        why = "is an archive of Docker before 1.10 (repositories without manifest.json), which has no digests to verify"
        return UnknownFormatError(members.what, why, "load it with Docker and save it again")
    below = next((name.rpartition(b"/")[0] for name in names if name.endswith(b"/oci-layout")), None)
    if below is not None:
        why = f"is a tar archive with an OCI image layout in its directory {shown(below)}, not at its top"
        return UnknownFormatError(members.what, why, "pack the layout with tar -C DIRECTORY -cf ARCHIVE .")
    why = "is a tar archive, but it has neither index.json nor manifest.json"
    if not members.complete:
        return UnknownFormatError(members.what, why, "it has no end mark, so it may be truncated")
    return UnknownFormatError(members.what, why)


def no_archive(head: bytes, compression: Compression, what: str) -> UnknownFormatError:
    """The error for content that begins with *head* after decompression from *compression*, and is not a tar."""
    if compression is Compression.NONE and not head:
        return UnknownFormatError(what, "is empty")
    within = "" if compression is Compression.NONE else f"{compression.value}-compressed, and inside "
    if not head:
        return UnknownFormatError(what, f"is {within}empty")
    if compression_of(head, what) is not Compression.NONE:
        return UnknownFormatError(what, f"is {within}compressed again", "decompress it once")
    seems = looks_like(head)
    if seems:
        return UnknownFormatError(what, f"is {within}{seems}, not a container image")
    return UnknownFormatError(what, f"is {within}not a tar archive, so not a container image")


def compression_of(head: bytes, what: str) -> Compression:
    """The compression of content that begins with *head*. Raises UnknownFormatError for other formats, such as zip."""
    try:
        return detect(head[:HEAD], what)
    except CompressionError as error:
        seems = looks_like(head)
        if seems:
            raise UnknownFormatError(what, f"is {seems}, not a container image") from error
        raise
