"""Holders: live containers, mounts and processes that keep an image, and prevent replacement of its trees.

Names keep an image too (`roots`), but do not use its trees.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.errors import StoreDamagedError
from arstore.mounts.table import MountState, MountTable
from arstore.store.collect.protected import protected
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot
    from arstore.mounts.table import MountEntry


class Holder(NamedTuple):
    """Why something is in use, and how to end that: texts for an InUseError."""

    why: str
    hint: str


def roots(
    directories: Directories,
    snapshot: Snapshot,
    named: Iterable[str] | None = None,
    patterns: Sequence[str] = (),
) -> frozenset[str]:
    """Return the digests of the images that a name, protection, a container, a mount or a live lease holds.

    *named* are the digests that have names, if the caller has read the names already. *patterns* protect images.
    """
    if named is None:
        named = (digest for _, digest in snapshot.names())
    return frozenset((*named, *protected(snapshot, patterns), *image_holders(directories, snapshot)))


def image_holders(
    directories: Directories, snapshot: Snapshot, without: Container[str] = frozenset()
) -> dict[str, Holder]:
    """Return the digests of the images that containers, mounts and leases hold, with one holder each.

    Containers whose ids are in *without*, and their mounts, do not count.
    """
    held = _standing(directories, snapshot, without)
    for _, lease in snapshot.leases():
        if Owner(lease.pid, lease.start, lease.boot).is_alive(directories.graph):
            holder = Holder(f"is being read by process {lease.pid} ({lease.purpose})", "wait until it has finished")
            for image in lease.holds:
                held.setdefault(image, holder)
    return held


def _standing(directories: Directories, snapshot: Snapshot, without: Container[str] = frozenset()) -> dict[str, Holder]:
    """Return the digests of the images that containers and mounts hold, with one holder each; *without* as above."""
    held: dict[str, Holder] = {}
    for container_id, container in snapshot.containers():
        if container_id in without:
            continue
        if not container.ephemeral or Owner(container.pid, container.start, container.boot).is_alive(directories.graph):
            holder = Holder(f"is used by container {container_id}", f"run `arstore container rm {container_id}` first")
            held.setdefault(container.image, holder)
            for image in _images_used(directories.container(container_id)):
                held.setdefault(image, holder)
    for entry in MountTable(directories).list():
        if entry.record.image and entry.state is not MountState.STALE and entry.record.container not in without:
            held.setdefault(entry.record.image, _mount_holder(entry))
    return held


def _images_used(directory: str) -> tuple[str, ...]:
    """Return the digests of further images that the container with this directory uses."""
    if not os.path.exists(f"{directory}/uses"):
        return ()
    from arstore.store.container_uses import read_uses

    return read_uses(directory).images


def _mount_holder(entry: MountEntry) -> Holder:
    place = entry.record.target
    if entry.state is MountState.DETACHED:
        return Holder(f"was mounted at {place}, and is still in use", "end the processes that use it")
    if entry.state is MountState.PENDING:
        why = f"is mounted at {place}, or will be, where this process cannot see it"
        return Holder(why, f"run `arstore umount {entry.record.id}` in the mount namespace that has it")
    return Holder(f"is mounted at {place}", f"run `arstore umount {entry.record.id}` first")


def tree_holders(directories: Directories, snapshot: Snapshot) -> dict[str, Holder]:
    """Return the keys of the trees of held images, with one holder each."""
    return _trees(snapshot, image_holders(directories, snapshot))


def mounted_trees(directories: Directories, snapshot: Snapshot) -> dict[str, Holder]:
    """Return the keys of the trees that containers and mounts use, with one holder each."""
    return _trees(snapshot, _standing(directories, snapshot))


def _trees(snapshot: Snapshot, images: dict[str, Holder]) -> dict[str, Holder]:
    held: dict[str, Holder] = {}
    for digest, holder in images.items():
        image = snapshot.image(digest)
        if image is None or image.is_index:
            continue
        # A damaged chain must not prevent its trees from being rebuilt.
        with suppress(StoreDamagedError):
            for key in (image.cap, *(layer.tree for _, layer in snapshot.chain(image.top))):
                if key:
                    held.setdefault(key, holder)
    return held
