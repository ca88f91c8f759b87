"""Sources in directories: a tree of `dir:` images as skopeo sync writes it, or an OCI layout.

In a tree, the path below its top is the image's name: `app:1`, or `registry.example.com/team/app:1`.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from arstore.digest import Digest, is_digest
from arstore.errors import (
    InvalidReferenceError,
    LimitError,
    NotFoundError,
    UnknownFormatError,
    from_os_error,
)
from arstore.oci.document import BOUNDS
from arstore.oci.reference import is_tag, parse_name
from arstore.sync.items import Fault, Found, ImageName, Item, Tags
from arstore.sync.wishes import is_attached
from arstore.tar.entry import shown
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.detect import open_source
from arstore.transport.export.spool import TemporarySpool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.transport.source import ImageSource, Spool

MOST = 1_000_000
"""Maximum number of directories and files."""
_DEPTH = 30
"""Maximum depth of directories: the name of a repository has at most 255 characters."""
MANIFEST, VERSION = "manifest.json", "version"


class Tree:
    """A source: the `dir:` images below *path*."""

    def __init__(self, path: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = os.path.abspath(path)
        self._limits = limits

    def find(self, every_tag: bool = False) -> Found:
        """Search the tree; symlinks are not followed. Raises NotFoundError, UnknownFormatError, LimitError, OSError."""
        del every_tag
        found = Found()
        repositories: dict[tuple[str, str], set[str]] = {}
        for place in images_below(self._path):
            relative = os.path.relpath(place, self._path)
            try:
                name = name_in_tree(relative)
            except InvalidReferenceError as error:
                found.faults.append(Fault(f"dir:{shown(os.fsencode(place))}", error))
                continue
            if is_attached(name.tag):
                found.attached += 1
                continue
            opened = partial(self._open, place)
            found.items.append(
                Item(f"dir:{place}", name, opened, partial(digest_of_dir, place), self._path, path=place)
            )
            if name.tag:
                repositories.setdefault((name.short, name.full), set()).add(name.tag)
        if not found.items and not found.faults:
            raise UnknownFormatError(shown(os.fsencode(self._path)), "contains no dir: image, and is not an OCI layout")
        found.tags = [Tags(*names, frozenset(tags)) for names, tags in repositories.items()]
        return found

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _open(self, place: str, spool: Spool) -> ImageSource:
        return open_source(f"dir:{place}", spool, limits=self._limits)


class Layout:
    """A source: the named images in the OCI layout at *path*."""

    def __init__(self, path: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = path
        self._limits = limits

    def find(self, every_tag: bool = False) -> Found:
        """Read the layout's index. Raises UnknownFormatError, and the errors of `open_source` and of its images."""
        del every_tag
        found = Found()
        repositories: dict[str, set[str]] = {}
        for text, digest in names_in_layout(self._path, self._limits).items():
            name = parse_name(text)
            if is_attached(name.tag):
                found.attached += 1
                continue
            short = name.repository.rpartition("/")[2]
            opened = partial(self._open, text)
            what = f"oci:{self._path}:{text}"
            own = ImageName(short, name.repository, name.tag)
            found.items.append(Item(what, own, opened, partial(_known, digest), self._path, path=self._path))
            repositories.setdefault(name.repository, set()).add(name.tag)
        if not found.items:
            raise UnknownFormatError(self._path, "has no image with a name", "`arstore copy` copies one by its digest")
        found.tags = [Tags(full.rpartition("/")[2], full, frozenset(tags)) for full, tags in repositories.items()]
        return found

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _open(self, name: str, spool: Spool) -> ImageSource:
        return open_source(f"oci:{self._path}:{name}", spool, limits=self._limits)


def names_in_layout(path: str, limits: Limits = DEFAULT_LIMITS) -> dict[str, Digest | None]:
    """Return the names in a layout with their digests; None for a name of several entries, or of an invalid one."""
    names: dict[str, Digest | None] = {}
    with open_source(f"oci:{path}", TemporarySpool(), limits=limits) as source:
        for image in source.images():
            digest = image.descriptor.digest
            for name in image.names:
                names[name] = Digest(digest) if name not in names and is_digest(digest) else None
    return names


def is_image(place: str) -> bool:
    """Whether the directory *place* looks like a `dir:` image."""
    return all(os.path.isfile(f"{place}/{name}") for name in (MANIFEST, VERSION))


def images_below(top: str) -> Iterator[str]:
    """Yield the directories below *top* that look like `dir:` images, sorted.

    Raises NotFoundError, LimitError, OSError.
    """
    if not os.path.isdir(top):
        raise NotFoundError(shown(os.fsencode(top)), "is not a directory")
    todo = [(top, 0)]
    seen = 0
    while todo:
        place, depth = todo.pop()
        try:
            with os.scandir(place) as entries:
                names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in islice(entries, MOST)}
        except OSError as error:
            raise from_os_error(error, place) from error
        seen += len(names)
        if seen >= MOST or depth > _DEPTH:
            raise LimitError(top, f"has {MOST} files or more, or more than {_DEPTH} levels of directories")
        if MANIFEST in names and VERSION in names:
            yield place
            continue
        below = sorted((name for name, is_dir in names.items() if is_dir), reverse=True)
        todo += [(f"{place}/{name}", depth + 1) for name in below]


def name_in_tree(relative: str) -> ImageName:
    """Return the name of the image at this path below the top of a tree. Raises InvalidReferenceError.

    The short name leaves out a registry with a port, because a port is allowed only at the start of a name.
    """
    name, at, digest = relative.partition("@")
    if at:
        parse_name(f"{name}:any")
        return ImageName(_without_port(name), name, digest=Digest(digest))
    repository, colon, tag = relative.rpartition(":")
    if not colon or not is_tag(tag):
        raise InvalidReferenceError(shown(os.fsencode(relative)), "is not a name with a tag, as NAME:TAG")
    parse_name(relative)
    return ImageName(_without_port(repository), repository, tag)


def _without_port(repository: str) -> str:
    first, _, rest = repository.partition("/")
    return rest if rest and ":" in first else repository


def digest_of_dir(place: str) -> Digest | None:
    """Return the digest of the image in the `dir:` at *place*; None if there is none. Raises OSError."""
    try:
        # Opening a FIFO of that name would block.
        if not is_image(place):
            return None
        with open(f"{place}/{MANIFEST}", "rb") as file:
            data = file.read(BOUNDS.document + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if len(data) > BOUNDS.document else Digest.of(data)


def _known(digest: Digest | None) -> Digest | None:
    return digest
