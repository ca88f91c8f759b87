"""Root file systems as images, tars and lists of differences: `commit`, `export` and `diff` of the library."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.api.copying import COMPRESSIONS
from arstore.api.importing import imported_images, moved_since
from arstore.api.meaning import container_or_image
from arstore.api.values.contents import Difference, Exported
from arstore.api.values.imports import Committed
from arstore.errors import InUseError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.rootfs.diff import Stack, Stacks
    from arstore.store.containers import Container
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.trees.metadata import SkippedEntries

_RUNTIME_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv")


def commit(
    store: Store,
    container: Container,
    name: str,
    changes: Sequence[str],
    author: str,
    message: str,
    compression: str,
    level: int | None,
    progress: Progress | None,
) -> Committed:
    """Make an image of the container's changes; see `arstore.api.methods.containers.Containers.commit`."""
    from arstore.oci.instruction import Instruction
    from arstore.oci.timestamp import creation_time
    from arstore.rootfs.commit import CommitOptions
    from arstore.rootfs.commit import commit as perform
    from arstore.tar.compression import Compression

    if compression not in COMPRESSIONS:
        raise UsageError(compression, f"is not a compression; use {', '.join(COMPRESSIONS)}")
    if level is not None and not 1 <= level <= COMPRESSIONS[compression]:
        raise UsageError(f"level {level}", f"is not a level of {compression}")
    instructions = tuple(map(Instruction.parse, changes))
    created = creation_time()
    _require_stopped(container)
    places = mount_points(store, container)
    options = CommitOptions(name, created, Compression(compression), level, author, message, instructions, places)
    moved, cleared = len(store.moved), store.cleared
    done = perform(store, container, options, progress)
    (made,) = imported_images([done.image])
    return Committed(made, done.sockets.count, _shown(done.sockets), moved_since(store, moved), store.cleared - cleared)


def _require_stopped(container: Container) -> None:
    from arstore.runtime.lifecycle.containers import container_is_owned
    from arstore.runtime.lifecycle.state import is_running

    if is_running(container.path) or container_is_owned(container):
        hint = f"stop it with `arstore stop {container.id}`"
        raise InUseError(f"container {container.id}", "is running, so its files may change", hint)


def mount_points(store: Store, container: Container) -> frozenset[bytes]:
    """Return the mount points of this container, as paths relative to its root."""
    from arstore.runtime.lifecycle.state import known_status
    from arstore.runtime.spec.defaults import mounts

    config = store.config(store.find(container.record.image))
    places = [*(str(mount["destination"]) for mount in mounts()), *_RUNTIME_FILES, *config.volumes]
    state = known_status(container.path)
    if state is not None:
        places += state.mount_points
    return frozenset(os.fsencode(os.path.normpath("/" + place).lstrip("/")) for place in places)


def _shown(entries: SkippedEntries) -> tuple[str, ...]:
    return tuple("/" + os.fsdecode(path) for path in entries.paths)


def export(store: Store, what: str, output: str, progress: Progress) -> Exported:
    """Write a root file system as a tar; see `arstore.api.store.Store.export`."""
    from arstore.rootfs.export import Export
    from arstore.transport.sinks.archive import ArchiveFile

    container, image = container_or_image(store, what)
    done = Export(store, image, container)
    with ArchiveFile(output) as archive:
        progress.start(what, what, None)

        def write(data: bytes | memoryview) -> None:
            archive.write(data)
            progress.advance(what, len(data))

        done.write(write)
        archive.finish()
        progress.finish(what)
    return Exported(
        "" if container is None else container.id,
        image.digest,
        done.members,
        done.sockets.count,
        _shown(done.sockets),
        done.marks.count,
        _shown(done.marks),
    )


def diff(store: Store, a: str, b: str | None, sizes: bool, progress: Progress | None) -> tuple[Difference, ...]:
    """Compare root file systems; see `arstore.api.store.Store.diff`."""
    from arstore.rootfs.diff import differences

    with _opened(store) as stacks:
        first = _stack(store, stacks, a, progress)
        pair = (first[1:], first) if b is None else (first, _stack(store, stacks, b, progress))
        found = differences(*pair, sizes)
    return tuple(
        Difference("/" + os.fsdecode(one.path), one.change.value, tuple(one.what), one.before, one.after)
        for one in found
    )


@contextmanager
def _opened(store: Store) -> Iterator[Stacks]:
    from arstore.rootfs.diff import opened_stacks

    with opened_stacks(store) as stacks:
        yield stacks


def _stack(store: Store, stacks: Stacks, text: str, progress: Progress | None) -> Stack:
    container, image = container_or_image(store, text)
    if container is None:
        return stacks.image(image, progress)
    return stacks.container(container, mount_points(store, container), progress)
