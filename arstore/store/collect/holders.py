"""Holders: what is alive and stands on an image's trees, so that neither the image may go nor its trees be replaced.

Names hold an image too, against the collector (`roots`), but nothing stands on its trees because of them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.errors import StoreDamagedError
from arstore.mounts.table import MountState, MountTable
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot
    from arstore.mounts.table import MountEntry


class Holder(NamedTuple):
    """Why something is in use, and what ends that, in words for an InUseError."""

    why: str
    hint: str


def roots(directories: Directories, snapshot: Snapshot, named: Iterable[str] | None = None) -> frozenset[str]:
    """Return the digests of the images that something holds: a name, a container, a mount, a living lease.

    *named* are the digests that have names, if the caller has read the names already.
    """
    if named is None:
        named = (digest for _, digest in snapshot.names())
    return frozenset((*named, *image_holders(directories, snapshot)))


def image_holders(directories: Directories, snapshot: Snapshot) -> dict[str, Holder]:
    """The digests of the images that containers, mounts and leases hold, with one holder each."""
    held = _standing(directories, snapshot)
    for _, lease in snapshot.leases():
        if Owner(lease.pid, lease.start, lease.boot).is_alive(directories.graph):
            holder = Holder(f"is being read by process {lease.pid} ({lease.purpose})", "wait until that has ended")
            for image in lease.holds:
                held.setdefault(image, holder)
    return held


def _standing(directories: Directories, snapshot: Snapshot) -> dict[str, Holder]:
    """The same of containers and mounts alone."""
    held: dict[str, Holder] = {}
    for container_id, container in snapshot.containers():
        if not container.ephemeral or Owner(container.pid, container.start, container.boot).is_alive(directories.graph):
            holder = Holder(f"is used by container {container_id}", f"`arstore container rm {container_id}` first")
            held.setdefault(container.image, holder)
    for entry in MountTable(directories).list():
        if entry.record.image and entry.state is not MountState.STALE:
            held.setdefault(entry.record.image, _mount_holder(entry))
    return held


def _mount_holder(entry: MountEntry) -> Holder:
    place = entry.record.target
    if entry.state is MountState.DETACHED:
        return Holder(f"was mounted at {place}, and is still in use", "end the processes that use it")
    if entry.state is MountState.PENDING:
        why = f"is mounted at {place}, or is about to be, where this process cannot see it"
        return Holder(why, f"`arstore umount {entry.record.id}` in the mount namespace that has it")
    return Holder(f"is mounted at {place}", f"`arstore umount {entry.record.id}` first")


def tree_holders(directories: Directories, snapshot: Snapshot) -> dict[str, Holder]:
    """The keys of the trees that make these images, with one holder each."""
    return _trees(snapshot, image_holders(directories, snapshot))


def mounted_trees(directories: Directories, snapshot: Snapshot) -> dict[str, Holder]:
    """The keys of the trees that containers and mounts stand on, with one holder each."""
    return _trees(snapshot, _standing(directories, snapshot))


def _trees(snapshot: Snapshot, images: dict[str, Holder]) -> dict[str, Holder]:
    held: dict[str, Holder] = {}
    for digest, holder in images.items():
        image = snapshot.image(digest)
        if image is None or image.is_index:
            continue
        # What is damaged is nobody's to protect from being made anew.
        with suppress(StoreDamagedError):
            for key in (image.cap, *(layer.tree for _, layer in snapshot.chain(image.top))):
                if key:
                    held.setdefault(key, holder)
    return held
