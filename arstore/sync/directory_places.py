"""Destinations in directories: a tree of `dir:` images, as skopeo sync writes it, and an OCI layout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import ConflictError, NotFoundError, UnknownFormatError
from arstore.oci.reference import is_tag, parse_name
from arstore.store.apart import refuse_stores
from arstore.sync.directories import digest_of_dir, is_image, names_in_layout
from arstore.sync.place import Copied, exported
from arstore.transport.sinks.dir import DirSink
from arstore.transport.sinks.layout import LayoutSink
from arstore.transport.sinks.removal import remove_dir, remove_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from arstore.digest import Digest
    from arstore.store.progress import Progress
    from arstore.sync.items import ImageName
    from arstore.sync.place import How, Move
    from arstore.tar.limits import Limits
    from arstore.transport.skipped import SkippedTop


class TreePlace:
    """`dir:` images below *path*, each in a directory NAME:TAG."""

    def __init__(self, path: str, *, scoped: bool) -> None:
        """Raises ConflictError if *path* is in a store, or is itself an image or a layout."""
        self._path = os.path.realpath(path)
        refuse_stores(self._path)
        for name, what in (("manifest.json", "is a dir: image itself"), ("oci-layout", "is an OCI layout")):
            if os.path.exists(f"{self._path}/{name}"):
                raise ConflictError(path, what, "name a directory above it, or another one")
        self._scoped = scoped

    def target(self, name: ImageName) -> str:
        """See Place."""
        return f"{self.repository(name.short, name.full)}{name.suffix}"

    def look(self, target: str) -> Digest | None:
        """See Place."""
        return digest_of_dir(target.removeprefix("dir:"))

    def copy(self, move: Move, how: How, progress: Progress, skipped: SkippedTop) -> Copied:
        """See Place."""
        place = move.target.removeprefix("dir:")

        def opened(_source: object) -> DirSink:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            return DirSink(place)

        return exported(move, opened, "", how, progress, skipped)

    def repository(self, short: str, full: str) -> str:
        """See Place."""
        name = full if self._scoped else short
        parse_name(f"{name}:any")
        return f"dir:{self._path}/{name}"

    def tags(self, repository: str) -> list[str]:
        """See Place."""
        parent, _, name = repository.removeprefix("dir:").rpartition("/")
        begin = f"{name}:"
        found = sorted(os.listdir(parent)) if os.path.isdir(parent) else []
        own = [one for one in found if one.startswith(begin) and not os.path.islink(f"{parent}/{one}")]
        tags = [one.removeprefix(begin) for one in own if is_image(f"{parent}/{one}")]
        return [tag for tag in tags if is_tag(tag)]

    def remove(self, repository: str, tag: str, kept: Collection[str]) -> None:
        """Delete the directory, which must contain only an image. Raises ConflictError, InUseError."""
        del kept
        remove_dir(f"{repository.removeprefix('dir:')}:{tag}")

    def close(self) -> None:
        """See Place."""


class LayoutPlace:
    """Named images in the OCI layout at *path*."""

    def __init__(self, path: str, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._names: dict[str, Digest | None] | None = None

    def target(self, name: ImageName) -> str:
        """See Place."""
        return f"{self.repository(name.short, name.full)}{name.suffix}"

    def look(self, target: str) -> Digest | None:
        """See Place."""
        return self._known().get(self._name(target))

    def copy(self, move: Move, how: How, progress: Progress, skipped: SkippedTop) -> Copied:
        """See Place."""
        name = self._name(move.target)
        own = "" if move.item.name.digest is not None else name
        done = exported(move, lambda _source: LayoutSink(self._path), own, how, progress, skipped)
        self._known()[name] = done.digest
        return done

    def repository(self, short: str, full: str) -> str:
        """See Place. A layout keeps the full name."""
        del short
        parse_name(f"{full}:any")
        return f"oci:{self._path}:{full}"

    def tags(self, repository: str) -> list[str]:
        """See Place."""
        name = self._name(repository)
        known = [parse_name(one) for one in self._known() if "@" not in one]
        return [one.tag for one in known if one.repository == name]

    def remove(self, repository: str, tag: str, kept: Collection[str]) -> None:
        """Remove the name from the layout's index. Its blobs stay. Raises the errors of `LayoutSink`."""
        del kept
        name = f"{self._name(repository)}:{tag}"
        remove_name(self._path, name)
        self._known().pop(name, None)

    def close(self) -> None:
        """See Place."""

    def _name(self, target: str) -> str:
        return target.removeprefix(f"oci:{self._path}:")

    def _known(self) -> dict[str, Digest | None]:
        if self._names is None:
            try:
                self._names = names_in_layout(self._path, self._limits)
            except (NotFoundError, UnknownFormatError):
                self._names = {}
        return self._names
