"""Volumes that an image declares: private directories of the container, which start as copies of the image's content.

They are in `<container>/volumes/<name>`, outside the container's upper directory, and are removed with the container.
Copies are made under temporary names and renamed when all are complete, so an interrupted copy is made again. Mount
points are compared after resolving symlinks: several names for one directory give one volume, and a volume inside
another one is copied once. Out of scope: named volumes (`store.volumes`, `sources`).
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arstore.digest import short_hash
from arstore.disk.free_space import Room
from arstore.disk.rmtree import remove_tree
from arstore.errors import ImageConfigError, NoSpaceError, naming, reason
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.reading import read_start
from arstore.linux.files.writing import replace_file
from arstore.runtime.spec.mounts.copying import TreeCopy, identity_of
from arstore.runtime.spec.mounts.volume import Volume
from arstore.tar.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.runtime.spec.image_files import RootDirectory

MOST_VOLUMES = 1000
"""Maximum number of volumes that an image may declare; each is a mount."""

_MODE = 0o755
_PARTIAL, _LINKS, _PLACES = ".partial", ".links", ".places"
_LONGEST = 4095
_LONGEST_LIST = 8 << 20
_KERNELS = ("/proc", "/sys", "/dev")
_USUAL = ("/sys/fs/cgroup", "/dev/shm")
"""Places that images declare below the kernel's file systems; a volume there hides and reveals nothing of the host."""


def volume_places(declared: Iterable[str], taken: Iterable[str], root: RootDirectory) -> tuple[str, ...]:
    """Return the resolved mount points of the volumes *declared* by an image, each once, without those already *taken*.

    Raises ImageConfigError for one that leads to the root, into a kernel file system, or in a circle, and for more than
    MOST_VOLUMES.
    """
    before = {_lead(place, root) for place in taken}
    found: dict[str, None] = {}
    for number, place in enumerate(declared, 1):
        if number > MOST_VOLUMES:
            raise ImageConfigError("volumes", f"the image declares more than {MOST_VOLUMES}")
        leads = _lead(place, root)
        what = f"volume {place!r}"
        to = "" if leads == place else f"leads to {leads}: "
        if leads == "/":
            raise ImageConfigError(what, f"{to}a volume cannot cover the container's root")
        if any(_is_below(one, _KERNELS) and not _is_below(one, _USUAL) for one in (place, leads)):
            raise ImageConfigError(what, f"{to}a volume cannot cover a kernel file system")
        if leads not in before:
            found[leads] = None
    return tuple(found)


def _lead(place: str, root: RootDirectory) -> str:
    """Return *place* with symlinks resolved. Raises ImageConfigError if it leads in a circle."""
    try:
        if len(os.fsencode(place)) > _LONGEST:
            raise ImageConfigError(f"volume {place[:60]!r}…", "the path is too long")
        return root.canonical(place)
    except OSError as error:
        raise ImageConfigError(f"volume {place!r}", reason(error)) from error


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def private_volumes(
    directory: str, places: tuple[str, ...], root: RootDirectory, limits: Limits = DEFAULT_LIMITS
) -> list[Volume]:
    """Return a volume for each of *places* (from `volume_places`); volumes of an earlier run are used again.

    Raises ImageConfigError if the image has something other than a directory there, LimitError, NoSpaceError before the
    *limits*' reserve of the file system is used, OSError.
    """
    if not places:
        return []
    base = os.path.join(directory, "volumes")
    os.makedirs(base, mode=0o700, exist_ok=True)
    paths = {place: os.path.join(base, short_hash(os.fsencode(place), 8)) for place in places}
    missing = [place for place in places if not os.path.isdir(paths[place])]
    if missing:
        _make(base, {place: paths[place] for place in missing}, places, root, limits)
    return [Volume(paths[place], place) for place in places]


def _make(base: str, paths: dict[str, str], places: tuple[str, ...], root: RootDirectory, limits: Limits) -> None:
    _note_places(base, paths)
    links = os.path.join(base, _LINKS)
    for left in (links, *(path + _PARTIAL for path in paths.values())):
        remove_tree(left)
    os.mkdir(links, 0o700)
    found = (root.stat(place) for place in places)
    apart = frozenset(identity_of(status) for status in found if status is not None)
    with ExitStack() as stack:
        links_fd = os.open(links, DIRECTORY)
        stack.callback(os.close, links_fd)
        copy = TreeCopy(links_fd, Room(links_fd, limits, "the image's volumes"), apart)
        for place, path in paths.items():
            os.mkdir(path + _PARTIAL, _MODE)
            os.chmod(path + _PARTIAL, _MODE)
            try:
                with naming(f"volume {place}"):
                    _fill(path + _PARTIAL, place, root, copy)
            except NoSpaceError as error:
                # The hint of `Room` names an option that only imports have.
                raise NoSpaceError(f"volume {place}", error.why, "free some space, or run `arstore gc`") from error
    remove_tree(links)
    for path in paths.values():
        os.rename(path + _PARTIAL, path)


def _fill(target: str, place: str, root: RootDirectory, copy: TreeCopy) -> None:
    about = root.stat(place)
    if about is None:
        return
    if not stat.S_ISDIR(about.st_mode):
        raise ImageConfigError(f"volume {place!r}", "is not a directory in the image")
    with ExitStack() as stack:
        source_fd = root.open(place, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, source_fd)
        target_fd = os.open(target, DIRECTORY)
        stack.callback(os.close, target_fd)
        copy.copy(source_fd, target_fd)


def copy_tree(place: str, target: str, root: RootDirectory, limits: Limits = DEFAULT_LIMITS) -> None:
    """Copy the directory *place* of *root*, and everything in it, to the new directory *target*.

    Raises LimitError, NoSpaceError before the *limits*' reserve of the file system is used, OSError.
    """
    links = f"{target}{_LINKS}"
    remove_tree(links)
    os.mkdir(links, 0o700)
    try:
        with ExitStack() as stack:
            links_fd = os.open(links, DIRECTORY)
            stack.callback(os.close, links_fd)
            os.mkdir(target, _MODE)
            try:
                _fill(target, place, root, TreeCopy(links_fd, Room(links_fd, limits, "the volume")))
            except NoSpaceError as error:
                raise NoSpaceError("volume", error.why, "free some space, or run `arstore gc`") from error
    finally:
        remove_tree(links)


def _note_places(base: str, paths: dict[str, str]) -> None:
    """Record the place of each volume, for `--volumes-from`, before it exists."""
    known = {place: os.path.basename(path) for place, path in paths.items()}
    known |= {place: os.path.basename(path) for place, path in places_of(os.path.dirname(base)).items()}
    replace_file(f"{base}/{_PLACES}", json.dumps(known).encode(), f"{base}/{_PLACES}.new")


def places_of(directory: str) -> dict[str, str]:
    """Return the private volumes of the container in *directory*: their mount points, and their paths on the host.

    Those of containers from before the record was kept, or with a damaged one, are left out.
    """
    base = os.path.join(directory, "volumes")
    with suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
        found = json.loads(read_start(f"{base}/{_PLACES}", _LONGEST_LIST))
        paths = {place: os.path.join(base, os.path.basename(name)) for place, name in found.items()}
        return {place: path for place, path in paths.items() if place.startswith("/") and os.path.isdir(path)}
    return {}
