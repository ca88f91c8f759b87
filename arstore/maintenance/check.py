"""Looking for damage: the graph against the disk both ways, and (unless *quick*) every blob against its digest.

A finding is a value with a kind, the thing it is about and what repair can do. Repair uses what the store itself
holds: a tree is rebuilt from its blobs, the layout's index from the graph; what is gone for good is said so, and the
image with it.
"""

from __future__ import annotations

import enum
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest
from arstore.errors import ArstoreError, StoreDamagedError
from arstore.maintenance.survey import survey
from arstore.store.ingest import Ingest
from arstore.store.layout import index_document, write_layout
from arstore.store.mounts import MountState, MountTable
from arstore.store.rootfs import complete_runs
from arstore.store.runs import Run, fault
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.store.graph import Snapshot
    from arstore.store.records import BlobRecord, LayerRecord, TreeRecord
    from arstore.store.store import Store


class Damage(enum.Enum):
    """Kinds of findings; those of `HARMLESS` are clutter that `gc` takes, and do not make a store unwell."""

    BLOB_MISSING = "blob-missing"
    BLOB_SIZE = "blob-size"
    BLOB_DIGEST = "blob-digest"
    TREE_MISSING = "tree-missing"
    TREE_UNTRUSTED = "tree-untrusted"
    TREE_ALTERED = "tree-altered"
    LAYER_PARENT = "layer-parent"
    LAYER_BLOB = "layer-blob"
    IMAGE_BLOB = "image-blob"
    IMAGE_LAYER = "image-layer"
    NAME_IMAGE = "name-image"
    CONTAINER_IMAGE = "container-image"
    CONTAINER_MISSING = "container-missing"
    INDEX_STALE = "index-stale"
    PERMISSIONS = "permissions"
    ORPHAN = "orphan"
    STALE_INGEST = "stale-ingest"
    STALE_MOUNT = "stale-mount"


HARMLESS = frozenset({Damage.ORPHAN, Damage.STALE_INGEST, Damage.STALE_MOUNT, Damage.TREE_UNTRUSTED})


@dataclass(slots=True, frozen=True)
class Finding:
    """One thing that is not as it should be; `repaired` says whether it is by now."""

    damage: Damage
    what: str
    why: str
    repaired: bool = False

    @property
    def harmless(self) -> bool:
        """Whether everything works all the same."""
        return self.damage in HARMLESS


def check(store: Store, quick: bool = False, report: Callable[[int], None] = lambda _bytes: None) -> list[Finding]:
    """Everything that is found, most serious kinds first. *report* is told of bytes read.

    Raises OSError and the errors of Graph for what keeps it from looking at all.
    """
    with store.graph.read() as snapshot:
        findings = [
            *_root(store),
            *_names(snapshot),
            *_images(snapshot),
            *_layers(snapshot),
            *_trees(store, snapshot),
            *_containers(store, snapshot),
            *_index(store, snapshot),
        ]
        blobs = list(snapshot.blobs())
        layers = {layer.tree: layer for _, layer in snapshot.layers() if layer.tree}
        runs = snapshot.runs()
    # Outside the snapshot: a reader that stays for minutes would keep LMDB from reusing pages.
    findings.extend(finding for finding in _blobs(store, blobs, quick, report) if _is_recorded(store, finding.what))
    findings.extend(_altered_trees(store, layers, quick, report))
    findings.extend(_altered_runs(store, runs, quick))
    findings.extend(_clutter(store))
    return sorted(findings, key=lambda finding: (finding.harmless, finding.damage.value, finding.what))


def _root(store: Store) -> Iterator[Finding]:
    mode = stat.S_IMODE(os.stat(store.directories.root).st_mode)
    if mode & 0o077:
        yield Finding(Damage.PERMISSIONS, store.directories.root, f"has mode {mode:04o}: others can reach into it")


def _names(snapshot: Snapshot) -> Iterator[Finding]:
    for name, digest in snapshot.names():
        if snapshot.image(digest) is None:
            yield Finding(Damage.NAME_IMAGE, name, f"stands for {digest}, which is not in the store")


def _images(snapshot: Snapshot) -> Iterator[Finding]:
    for digest, image in snapshot.images():
        for blob in dict.fromkeys((digest, *([image.config] if image.config else []), *image.layers)):
            if snapshot.blob(blob) is None:
                yield Finding(Damage.IMAGE_BLOB, digest, f"needs blob {blob}, which is not recorded")
        for member in image.manifests:
            if snapshot.image(member) is None:
                yield Finding(Damage.IMAGE_BLOB, digest, f"lists image {member}, which is not recorded")
        if image.top and snapshot.layer(image.top) is None:
            yield Finding(Damage.IMAGE_LAYER, digest, f"stands on layer {image.top}, which is not recorded")
        if image.cap and snapshot.tree(image.cap) is None:
            yield Finding(Damage.TREE_MISSING, image.cap, f"is needed by image {digest} and not recorded")


def _layers(snapshot: Snapshot) -> Iterator[Finding]:
    for chain_id, layer in snapshot.layers():
        if layer.parent and snapshot.layer(layer.parent) is None:
            yield Finding(Damage.LAYER_PARENT, chain_id, f"stands on {layer.parent}, which is not recorded")
        if not any(snapshot.blob(blob) is not None for blob in layer.blobs):
            yield Finding(Damage.LAYER_BLOB, chain_id, "none of its blobs is recorded")
        if layer.tree and snapshot.tree(layer.tree) is None:
            yield Finding(Damage.TREE_MISSING, layer.tree, f"is needed by layer {chain_id} and not recorded")


def _trees(store: Store, snapshot: Snapshot) -> Iterator[Finding]:
    boot = store.inventory().boot
    for key, tree in snapshot.trees():
        there = os.path.isdir(store.directories.tree(key))
        if not tree.synced and tree.boot != boot:
            yield Finding(Damage.TREE_UNTRUSTED, key, "may not be whole since something was cut off; rebuilt when used")
        elif tree.members and not there:
            yield Finding(Damage.TREE_UNTRUSTED, key, "its directory is not there; the index is merged again when used")
        elif not there:
            yield Finding(Damage.TREE_MISSING, key, "its directory is not there")
        elif not tree.members and tree.form not in store.forms:
            yield Finding(Damage.TREE_MISSING, key, f"has the unknown form {tree.form}")


def _altered_trees(
    store: Store, layers: dict[str, LayerRecord], quick: bool, report: Callable[[int], None]
) -> Iterator[Finding]:
    for key, layer in layers.items():
        inventory = store.inventory()
        if not inventory.is_trusted(key):
            continue
        form, path = inventory.tree_place(key)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fault = form.fault(fd, layer.diff_id, layer.size, not quick, report)
            finally:
                os.close(fd)
        except OSError as error:
            fault = f"cannot be read: {(error.strerror or str(error)).lower()}"
        # Somebody may have removed or replaced it while it was read.
        if fault and not inventory.has_lost():
            yield Finding(Damage.TREE_ALTERED, key, fault)


def _altered_runs(store: Store, runs: list[tuple[str, TreeRecord]], quick: bool) -> Iterator[Finding]:
    """Merged indexes that are not what their members make; where a member is not as it should be, that one counts."""
    inventory = store.inventory()
    for key, record in runs:
        if not inventory.are_trusted(record.members) or inventory.missing_runs([Run(Digest(key), record.members)]):
            continue
        try:
            found = fault(key, record, store.directories.tree, not quick)
        except StoreDamagedError:
            continue
        except OSError as error:
            found = f"cannot be read: {(error.strerror or str(error)).lower()}"
        if found and inventory.tree_record(key) is not None:
            yield Finding(Damage.TREE_ALTERED, key, found)


def _is_recorded(store: Store, digest: str) -> bool:
    """Whether a blob that was found wanting is still the store's: it may have been removed while we looked."""
    with store.graph.read() as snapshot:
        return snapshot.blob(digest) is not None


def _blobs(
    store: Store, blobs: list[tuple[str, BlobRecord]], quick: bool, report: Callable[[int], None]
) -> Iterator[Finding]:
    for digest, record in blobs:
        try:
            fd = os.open(store.directories.blob(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            yield Finding(Damage.BLOB_MISSING, digest, (error.strerror or str(error)).lower())
            continue
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                yield Finding(Damage.BLOB_MISSING, digest, "what lies in its place is no regular file")
            elif status.st_size != record.size:
                yield Finding(Damage.BLOB_SIZE, digest, f"has {status.st_size} bytes, {record.size} are recorded")
            elif not quick and (found := _digest(fd, Digest(digest), report)) != digest:
                yield Finding(Damage.BLOB_DIGEST, digest, f"its content has the digest {found}")
        except OSError as error:
            yield Finding(Damage.BLOB_DIGEST, digest, f"cannot be read: {(error.strerror or str(error)).lower()}")
        finally:
            os.close(fd)


def _digest(fd: int, digest: Digest, report: Callable[[int], None]) -> str:
    hasher = digest.new_hash()
    while data := os.read(fd, CHUNK):
        hasher.update(data)
        report(len(data))
    return Digest.finished(digest.algorithm, hasher)


def _containers(store: Store, snapshot: Snapshot) -> Iterator[Finding]:
    for container_id, container in snapshot.containers():
        if snapshot.image(container.image) is None:
            yield Finding(Damage.CONTAINER_IMAGE, container_id, f"stands on image {container.image}, which is gone")
        if not os.path.isdir(f"{store.directories.container(container_id)}/upper"):
            yield Finding(Damage.CONTAINER_MISSING, container_id, "its upper directory is not there")


def _index(store: Store, snapshot: Snapshot) -> Iterator[Finding]:
    path = f"{store.directories.root}/index.json"
    try:
        with open(path, "rb") as file:
            found = file.read()
    except FileNotFoundError:
        if any(True for _ in snapshot.images()):
            yield Finding(Damage.INDEX_STALE, "index.json", "is missing")
        return
    if found != index_document(snapshot):
        yield Finding(Damage.INDEX_STALE, "index.json", "does not list what the graph holds")


def _clutter(store: Store) -> Iterator[Finding]:
    from arstore.maintenance.gc import plan_collection

    plan = plan_collection(store, survey(store.directories))
    for name in plan.orphans:
        yield Finding(Damage.ORPHAN, name, "is on disk, and the graph does not know it")
    for name in plan.ingests:
        yield Finding(Damage.STALE_INGEST, f"ingest/{name}", "belongs to a process that has died")
    for entry in MountTable(store.directories.runroot).list():
        if entry.state is MountState.STALE:
            yield Finding(Damage.STALE_MOUNT, entry.record.target, "is recorded, and nothing is mounted there")


def repair(store: Store, findings: list[Finding]) -> list[Finding]:
    """Mend what the store can mend by itself; the same findings, `repaired` where they are not found any more.

    Trees are rebuilt from their blobs, the layout's index and the root's mode are set right, clutter is taken away. A
    blob whose bytes are not those of its digest is taken away too, so that nobody reads it and the next import of its
    image brings it again; until then it counts as missing, as one that is gone does. Raises OSError and the errors of
    Graph.
    """
    _take_altered_blobs(store, [finding.what for finding in findings if finding.damage in _ALTERED])
    reached("repair.blobs-taken")
    _distrust(store, [finding.what for finding in findings if finding.damage is Damage.TREE_ALTERED])
    reached("repair.distrusted")
    if any(finding.damage in _TREES for finding in findings):
        _rebuild_trees(store)
        reached("repair.rebuilt")
    if any(finding.damage in _CLUTTER for finding in findings):
        from arstore.maintenance.gc import collect

        collect(store, clutter_only=True)
        reached("repair.collected")
    if any(finding.damage is Damage.PERMISSIONS for finding in findings):
        os.chmod(store.directories.root, 0o700)
    if any(finding.damage is Damage.INDEX_STALE for finding in findings):
        write_layout(store.directories, store.graph)
    left = {(finding.damage, finding.what) for finding in check(store, quick=True)}
    return [_judged(finding, left) for finding in findings]


_ALTERED = frozenset({Damage.BLOB_SIZE, Damage.BLOB_DIGEST})
_TREES = frozenset({Damage.TREE_MISSING, Damage.TREE_UNTRUSTED, Damage.TREE_ALTERED})
_CLUTTER = frozenset({Damage.ORPHAN, Damage.STALE_INGEST, Damage.STALE_MOUNT})


def _judged(finding: Finding, left: set[tuple[Damage, str]]) -> Finding:
    """*finding* after the repair, which leaves *left* to be found."""
    if finding.damage in _ALTERED:
        return replace(finding, why=f"{finding.why}; its file was taken away, import its image again")
    same = _TREES if finding.damage in _TREES else {finding.damage}
    return replace(finding, repaired=all((damage, finding.what) not in left for damage in same))


def _distrust(store: Store, keys: list[str]) -> None:
    """Have these trees built again at their next use, which `_rebuild_trees` is."""
    if not keys:
        return
    with store.graph.write() as change:
        for key in keys:
            record = change.tree(key)
            if record is not None:
                change.put_tree(key, record._replace(boot="", synced=False))


def _take_altered_blobs(store: Store, digests: list[str]) -> None:
    """Remove the files of these blobs; whoever imports one at this moment brings a good one, which stays."""
    altered: dict[str, tuple[int, int] | None] = {}
    for digest in digests:
        identity = _identity(store.directories.blob(digest))
        with store.graph.read() as snapshot:
            record = snapshot.blob(digest)
        if record is not None and any(_blobs(store, [(digest, record)], False, lambda _count: None)):
            altered[digest] = identity
    with Ingest(store.directories) as ingest, store.graph.write():
        for number, (digest, identity) in enumerate(altered.items()):
            path = store.directories.blob(digest)
            if identity is not None and _identity(path) == identity:
                os.rename(path, ingest.file(f"altered-{number}"))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _rebuild_trees(store: Store) -> None:
    """Build every tree and merged index that an image needs and that cannot be relied on, as far as possible."""
    for image in store.images():
        if not image.record.is_index:
            with suppress(ArstoreError, OSError):
                complete_runs(store, image)
