"""Files in images: searches, duplicates and differences. Paths begin with a slash; bytes that are not UTF-8 are lone
surrogates (PEP 383).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class FoundImage:
    """An image with a file that was found: `hidden_by` is the diff ID of the layer that hides it there, or "".

    `how` is a word for the way in which it is hidden, such as whiteout.
    """

    digest: str
    names: tuple[str, ...]
    hidden_by: str = ""
    how: str = ""


@frozen
class FoundFile:
    """A file in a layer. `kind` is file, directory, symlink, whiteout or other; `size` is in bytes.

    `digest` has the first 16 bytes of the digest of its content, "" if that is unknown. `images` have the layer.
    """

    path: str
    diff_id: str
    kind: str
    size: int
    digest: str
    images: tuple[FoundImage, ...]


@frozen
class FoundObject:
    """An object of the store with the wanted digest.

    `kind` is image, index, config, layer blob, blob, diff ID, chain ID or attachment; `size` is in bytes, and `images`
    are the digests of the images that need it.
    """

    kind: str
    size: int
    images: tuple[str, ...]


@frozen
class Found:
    """The result of `find`, and what is not known.

    `unlisted` are the diff IDs of layers that have not been prepared for mounting. `unhashed` is the number of files
    without the wanted kind of digest. `truncated` is True if there are more files. `symlink` is a directory of the
    wanted path that is a symlink in an image, and its target, if nothing was found; or None.
    """

    files: tuple[FoundFile, ...]
    objects: tuple[FoundObject, ...] = ()
    unlisted: tuple[str, ...] = ()
    unhashed: int = 0
    truncated: bool = False
    symlink: tuple[str, str] | None = None


@frozen
class DuplicateFile:
    """One of several equal files: the diff ID of its layer, its path, and the digests of the images with the layer."""

    diff_id: str
    path: str
    images: tuple[str, ...]


@frozen
class DuplicateGroup:
    """Files with equal content: its digest (the first 16 bytes) and `size` in bytes, and the number of `copies`.

    `saved` is the number of bytes on disk that one copy would save. `files` has some of them.
    """

    digest: str
    size: int
    copies: int
    saved: int
    files: tuple[DuplicateFile, ...]


@frozen
class Duplicates:
    """The result of `duplicates`: totals of all groups of equal files, and the `largest` groups.

    `files` is the number of files with a digest, of which `copies` have the content of another one; they have `groups`
    contents. `saved` is in bytes on disk. `names` has the names of images by digest. `unlisted` are the diff IDs of
    layers that the index of contents lacks, `unhashed` is the number of files without a digest.
    """

    files: int
    groups: int
    copies: int
    saved: int
    largest: tuple[DuplicateGroup, ...]
    names: Mapping[str, tuple[str, ...]]
    unlisted: tuple[str, ...] = ()
    unhashed: int = 0


@frozen
class Difference:
    """A path that differs. `kind` is A for added, C for changed, D for deleted.

    `what` lists what changed: type, mode, owner, size, content, target, device, mtime, xattrs. `before` and `after` are
    the bytes of the file; of a deleted or replaced directory, those of all files in it. They are 0 without `sizes`.
    """

    path: str
    kind: str
    what: tuple[str, ...] = ()
    before: int = 0
    after: int = 0


@frozen
class Exported:
    """The result of `export`: the id of the container or "", the image's digest, and the number of entries (`members`).

    `sockets` is the number of sockets, which a tar cannot hold, and `socket_paths` has the first of them. `marks` is
    the number of names that begin with `.wh.`, which mean removals if the tar is used as a layer.
    """

    container: str
    image: str
    members: int
    sockets: int = 0
    socket_paths: tuple[str, ...] = ()
    marks: int = 0
    mark_paths: tuple[str, ...] = ()
