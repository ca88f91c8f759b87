"""The quick check: the graph against itself and against the files. Of all content only `index.json` is read.

Each function gets one snapshot of the graph, in which unreadable records are skipped: `graph` finds those.
"""

from __future__ import annotations

import os
import stat
from operator import itemgetter
from typing import TYPE_CHECKING

from arstore.disk.access import Access
from arstore.disk.partial import PARTIAL
from arstore.errors import StoreDamagedError, StoreVersionError
from arstore.graph.identity import ID
from arstore.linux.files.reading import read_file
from arstore.linux.files.xattr import has_default_acl
from arstore.maintenance.check.findings import Damage, Finding
from arstore.maintenance.scan.walk import outline
from arstore.mounts.table import MountState, MountTable
from arstore.store import containers
from arstore.store.additional import lender_missing
from arstore.store.container_uses import read_uses
from arstore.store.layout import LAYOUT_DOCUMENT, index_document, without_id
from arstore.store.volumes import damaged_volumes
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from arstore.disk.paths import Directories
    from arstore.graph.records import LentRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.scan.totals import Known
    from arstore.store.store import Store


class _Image(NamedTuple):
    media_type: str
    config: str
    layers: tuple[str, ...]
    top: str
    cap: str | None
    manifests: tuple[str, ...]


class _Attachment(NamedTuple):
    blobs: tuple[str, ...]


class Layers(NamedTuple):
    """The columns of all layers that are checked."""

    parent: list[str]
    blobs: list[tuple[str, ...]]
    size: list[int]
    tree: list[str]


class _Tree(NamedTuple):
    form: str
    boot: str
    synced: bool
    members: tuple[str, ...]


def structure(
    store: Store, snapshot: Snapshot, recorded: AbstractSet[str], layers: tuple[list[str], Layers] | None = None
) -> Iterator[Finding]:
    """Check the graph against itself, and against names and sizes, except blobs and the content of trees.

    *recorded* are the digests of the blobs with readable records, *layers* all layers, if the caller has them. Raises
    OSError and the errors of Graph.
    """
    trees = snapshot.every("trees", _Tree)
    yield from surface(store, snapshot, recorded, trees.keys(), *(layers or snapshot.columns("layers", Layers)))
    # Listing them takes a fifth of the time of a stat(2) for each.
    with os.scandir(store.directories.trees) as entries:
        there = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    look = TreeRecords(store)
    for key, tree in trees.items():
        finding = look.fault(key, *tree, is_there=key.partition(":")[2] in there)
        if finding is not None:
            yield finding


def surface(
    store: Store,
    snapshot: Snapshot,
    recorded: AbstractSet[str],
    trees: AbstractSet[str],
    chain_ids: list[str],
    layers: Layers,
) -> Iterator[Finding]:
    """Do the part of `structure` that needs only the keys of trees. *layers* are those of *chain_ids*."""
    images = snapshot.every("images", _Image)
    known = frozenset(chain_ids)
    lent = dict(snapshot.all_lent())
    if lent:
        yield from lenders(store, lent)
        # Lent layers may use trees of the additional store, which have no records here.
        trees = trees | _of_lent(images, layers, lent)
        recorded = recorded | lent.keys()
    yield from _root(store)
    yield from _name_findings(snapshot, images)
    yield from _images(images, known, trees, recorded)
    yield from _attachments(snapshot, images, recorded)
    yield from _containers(store, snapshot)
    yield from _volumes(store)
    yield from _index(store, snapshot, images)
    yield from _layout(store, images)
    if _has_gaps(known, layers, trees, recorded):
        yield from _layers(chain_ids, known, layers, trees, recorded)


def _of_lent(images: Mapping[str, _Image], layers: Layers, lent: Mapping[str, LentRecord]) -> set[str]:
    """Return the trees of layers, and the caps of images, that have lent blobs."""
    found = {tree for tree, blobs in zip(layers.tree, layers.blobs, strict=True) if not lent.keys().isdisjoint(blobs)}
    return found | {one.cap for one in images.values() if one.cap and not lent.keys().isdisjoint(one.layers)}


def lenders(store: Store, lent: Mapping[str, LentRecord]) -> Iterator[Finding]:
    """Yield the additional stores that images need and that are absent, each once; and lent blobs that are missing."""
    absent: dict[str, list[str]] = {}
    for digest, record in lent.items():
        if store.elsewhere is None or store.elsewhere.blob_path(digest) is None:
            absent.setdefault(record.place, []).append(digest)
    for place, digests in absent.items():
        error = lender_missing(digests[0], lent[digests[0]], store.elsewhere.stores if store.elsewhere else None)
        count = f"{len(digests)} blobs" if len(digests) > 1 else "1 blob"
        why = error.why.replace("is in", f"{count} that images need {'are' if len(digests) > 1 else 'is'} in", 1)
        yield Finding(Damage.LENT_ABSENT, place, why)


class TreeRecords:
    """Checks of a tree's record."""

    def __init__(self, store: Store) -> None:
        self._directories = store.directories
        self._boot = store.inventory().boot
        self._forms = store.forms.keys()
        self._graph = store.graph
        # A copied store is detected only once the graph was opened.
        self._graph.verify()

    def fault(
        self, key: str, form: str, boot: str, synced: bool, members: tuple[str, ...], is_there: bool | None = None
    ) -> Finding | None:
        """Return the finding for a tree, without checking its content; None if it is trusted.

        *is_there* is whether its directory exists, if the caller knows.
        """
        if not synced and boot != self._boot:
            why = "may be incomplete after a crash of the host; it is rebuilt when used"
            return Finding(Damage.TREE_UNTRUSTED, key, why)
        if self._graph.distrusts(form):
            why = "the store was copied, and copies of such trees may be incomplete"
            return Finding(Damage.TREE_UNTRUSTED, key, why)
        if not is_there and not os.path.isdir(self._directories.tree(key)):
            if members:
                why = "its directory is missing; the index is merged again when used"
                return Finding(Damage.TREE_UNTRUSTED, key, why)
            return Finding(Damage.TREE_MISSING, key, "its directory is missing")
        if not members and form not in self._forms:
            return Finding(Damage.TREE_MISSING, key, f"has the unknown form {form}")
        return None


def _root(store: Store) -> Iterator[Finding]:
    mode = stat.S_IMODE(os.stat(store.directories.root).st_mode)
    # A process that may only read another user's store could not see one that is closed.
    if mode & 0o077 and store.graph.access is not Access.READER:
        yield Finding(Damage.PERMISSIONS, store.directories.root, f"has mode {mode:04o}: other users have access")
    for path in with_default_acls(store.directories):
        why = "has a default ACL, which new trees and containers would inherit"
        yield Finding(Damage.PERMISSIONS, path, why)


def with_default_acls(directories: Directories) -> list[str]:
    """Return the directories of the layout with a default ACL."""
    return [path for path in (directories.root, *directories.own()) if has_default_acl(path)]


def _name_findings(snapshot: Snapshot, images: Container[str]) -> Iterator[Finding]:
    for name, digest in snapshot.names():
        if digest not in images:
            yield Finding(Damage.NAME_IMAGE, name, f"refers to {digest}, which is not in the store")


def _images(
    images: Mapping[str, _Image], layers: Container[str], trees: Container[str], recorded: AbstractSet[str]
) -> Iterator[Finding]:
    for digest, image in images.items():
        blobs = (digest, image.config, *image.layers) if image.config else (digest, *image.layers)
        if not all(map(recorded.__contains__, blobs)):
            for blob in sorted({blob for blob in blobs if blob not in recorded}):
                yield Finding(Damage.IMAGE_BLOB, digest, f"needs blob {blob}, which is not recorded")
        for member in image.manifests:
            if member not in images:
                yield Finding(Damage.IMAGE_BLOB, digest, f"lists image {member}, which is not recorded")
        if image.top and image.top not in layers:
            yield Finding(Damage.IMAGE_LAYER, digest, f"needs layer {image.top}, which is not recorded")
        if image.cap and image.cap not in trees:
            yield Finding(Damage.TREE_MISSING, image.cap, f"is needed by image {digest}, but not recorded")


def _attachments(snapshot: Snapshot, images: Container[str], recorded: AbstractSet[str]) -> Iterator[Finding]:
    found = snapshot.every("attachments", _Attachment)
    manifests = {key.partition("/")[2] for key in found}
    for key, one in found.items():
        subject, _, manifest = key.partition("/")
        if subject not in images and subject not in manifests:
            why = f"belongs to {subject}, which is not recorded; `arstore gc` removes it"
            yield Finding(Damage.ATTACHMENT_SUBJECT, key, why)
        for blob in sorted({manifest, *one.blobs} - recorded):
            yield Finding(Damage.ATTACHMENT_BLOB, key, f"needs blob {blob}, which is not recorded")


def _has_gaps(known: frozenset[str], layers: Layers, trees: Container[str], recorded: Container[str]) -> bool:
    """Whether *layers* may have a problem, checked for all at once."""
    if not (known.issuperset(filter(None, layers.parent)) and all(map(trees.__contains__, filter(None, layers.tree)))):
        return True
    # Most layers have one blob.
    return not (all(layers.blobs) and all(map(recorded.__contains__, map(itemgetter(0), layers.blobs))))


def _layers(
    chain_ids: list[str], known: frozenset[str], layers: Layers, trees: Container[str], recorded: Container[str]
) -> Iterator[Finding]:
    for chain_id, parent, blobs, _, tree in zip(chain_ids, *layers, strict=True):
        if parent not in known and parent:
            yield Finding(Damage.LAYER_PARENT, chain_id, f"needs layer {parent}, which is not recorded")
        if not any(blob in recorded for blob in blobs):
            yield Finding(Damage.LAYER_BLOB, chain_id, "none of its blobs is recorded")
        if tree not in trees and tree:
            yield Finding(Damage.TREE_MISSING, tree, f"is needed by layer {chain_id}, but not recorded")


def _containers(store: Store, snapshot: Snapshot) -> Iterator[Finding]:
    for container_id, container in snapshot.containers():
        if snapshot.image(container.image) is None:
            yield Finding(Damage.CONTAINER_IMAGE, container_id, f"needs image {container.image}, which is gone")
        place = store.directories.container(container_id)
        found = containers.Container(container_id, container, place, store.graph.path)
        # A container whose process has died is removed anyway, and may never have been durable.
        if found.abandoned:
            continue
        if not os.path.isdir(found.upper):
            yield Finding(Damage.CONTAINER_MISSING, container_id, "its upper directory is missing")
        elif found.has_lost_attributes:
            why = "the store was copied without extended attributes, so its deletions of files are lost"
            yield Finding(Damage.CONTAINER_ATTRIBUTES, container_id, why)
        else:
            yield from _request_findings(found)
        yield from _uses(store, snapshot, container_id, place)


def _request_findings(container: containers.Container) -> Iterator[Finding]:
    """Yield a finding if the recorded request is damaged; one of a newer arstore is not judged."""
    from arstore.store.container_document import RUN_NAME, read_request

    try:
        read_request(container.path)
    except StoreDamagedError as error:
        yield Finding(Damage.CONTAINER_REQUEST, container.id, f"{RUN_NAME} {error.why}")
    except StoreVersionError:
        return


def _uses(store: Store, snapshot: Snapshot, container_id: str, place: str) -> Iterator[Finding]:
    """Yield what a container uses and the store lacks."""
    try:
        uses = read_uses(place)
    except StoreDamagedError as error:
        yield Finding(Damage.CONTAINER_USES, container_id, error.why)
        return
    missing = [f"volume {name}" for name in uses.volumes if not os.path.isdir(store.directories.volume(name))]
    missing += [f"image {digest}" for digest in uses.images if snapshot.image(digest) is None]
    missing += [f"container {one}" for one in uses.containers if snapshot.container(one) is None]
    for what in missing:
        yield Finding(Damage.CONTAINER_USES, container_id, f"uses {what}, which is gone")


def _volumes(store: Store) -> Iterator[Finding]:
    for name in damaged_volumes(store.directories):
        yield Finding(Damage.VOLUME_RECORD, name, "its record cannot be read; what is in it is not affected")


def _index(store: Store, snapshot: Snapshot, images: Mapping[str, _Image]) -> Iterator[Finding]:
    found = _content(f"{store.directories.root}/index.json")
    if found is None:
        if images:
            yield Finding(Damage.INDEX_STALE, "index.json", "is missing")
    elif snapshot.passed_over:
        return
    elif found not in {(document := index_document(snapshot, images)), without_id(document, snapshot.own(ID) or "")}:
        yield Finding(Damage.INDEX_STALE, "index.json", "does not match the graph")


def _layout(store: Store, images: Mapping[str, _Image]) -> Iterator[Finding]:
    found = _content(f"{store.directories.root}/oci-layout")
    if found is None:
        if images:
            yield Finding(Damage.LAYOUT, "oci-layout", "is missing")
    elif found != LAYOUT_DOCUMENT:
        yield Finding(Damage.LAYOUT, "oci-layout", "is not a valid oci-layout file")


def _content(path: str) -> bytes | None:
    """Return the content of the file at *path*; None if it does not exist."""
    try:
        return read_file(path)
    except FileNotFoundError:
        return None
    except OSError:
        if os.path.isfile(path):
            raise
        # It is not a file; a repair replaces it unless it is a directory.
        return b""


def clutter(store: Store, known: Known) -> Iterator[Finding]:
    """Yield leftovers of dead processes, and files that are not *known*.

    Raises OSError and the errors of Graph.
    """
    from arstore.maintenance.clutter import find_clutter, strays

    found = outline(store.directories, known)
    there = find_clutter(store, found, known)
    for name in strays(found):
        yield Finding(Damage.STRAY, name, "is not part of the store, and `arstore gc` leaves it alone")
    for name in there.unrecorded.kept:
        why = "was written in, but is not recorded in the graph"
        yield Finding(Damage.CONTAINER_UNRECORDED, name, why)
    for name in there.orphans:
        yield Finding(Damage.ORPHAN, name, "is on disk, but not recorded in the graph")
    for name in there.of_launchers:
        yield Finding(Damage.ORPHAN, name, "was left by a launcher that was killed")
    # Partial blobs are kept on purpose.
    for name in (name for name in there.ingests if name != PARTIAL):
        yield Finding(Damage.STALE_INGEST, f"ingest/{name}", "belongs to a process that has died")
    for entry in MountTable(store.directories).list():
        if entry.state is MountState.STALE:
            yield Finding(Damage.STALE_MOUNT, entry.record.target, "is recorded, but nothing is mounted there")
