"""Checks of trees: content against the sums recorded when they were made, and merged indexes against their members.

Only trusted trees are checked: trees that a power cut may have damaged are rebuilt anyway.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from blake3 import blake3

from arstore.digest import Digest
from arstore.disk.access import Access
from arstore.disk.paths import opened
from arstore.disk.staging import Ingest
from arstore.errors import ArstoreError, StoreDamagedError, reason
from arstore.maintenance.check.findings import Damage, Finding
from arstore.store.ingest.layer_pass import LayerPass, take_layer
from arstore.trees.directory.verification import differences, listing_of
from arstore.trees.erofs.merged_index import fault as run_fault
from arstore.trees.erofs.merged_index import glance as run_glance
from arstore.trees.format import Made
from arstore.trees.forms import LISTING, TAR, properties
from arstore.trees.needs import NAME as NEEDS

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from arstore.graph.records import LayerRecord, TreeRecord
    from arstore.store.store import Store


class Aspect(Enum):
    """The way in which a tree is checked."""

    INDEX = 1
    FILES = 2
    UNRECORDED = 3
    """Files for which no sums were recorded."""


@dataclass(slots=True, frozen=True)
class TreeCandidate:
    """A tree to check: its record, a layer that it shows (None for caps and merged indexes), and its inode.

    The tar of a tree that `is_blob` is also the blob of its layer, and is read as that.
    """

    key: str
    record: TreeRecord
    layer: LayerRecord | None
    inode: int
    is_blob: bool = False

    @property
    def content(self) -> Aspect:
        """The way in which its content is checked."""
        if not properties(self.record.form).extracts:
            return Aspect.INDEX
        return Aspect.FILES if self.record.sums else Aspect.UNRECORDED

    @property
    def bytes(self) -> int:
        """Approximate number of bytes that a deep check reads."""
        return self.layer.size if self.layer is not None and not self.is_blob else self.record.size


def candidates(
    store: Store, chains: Mapping[str, LayerRecord], records: Mapping[str, TreeRecord]
) -> Iterator[TreeCandidate]:
    """Yield the trees with these *records* that are in place and trusted. Raises OSError."""
    boot = store.inventory().boot
    layers = {layer.tree: layer for layer in chains.values() if layer.tree}
    # Listing them takes a fifth of the time of a stat(2) for each.
    with os.scandir(store.directories.trees) as entries:
        inodes = {entry.name: entry.inode() for entry in entries if entry.is_dir(follow_symlinks=False)}

    def inode(key: str) -> int:
        record = records.get(key)
        if record is None or (not record.synced and record.boot != boot):
            return 0
        if store.graph.distrusts(record.form):
            return 0
        if not record.members and record.form not in store.forms:
            return 0
        return inodes.get(key.partition(":")[2], 0)

    for key, record in records.items():
        if (found := inode(key)) and all(map(inode, record.members)):
            yield TreeCandidate(key, record, layers.get(key), found)


def with_blobs(store: Store, trees: Iterable[TreeCandidate], digests: Container[str]) -> Iterator[TreeCandidate]:
    """Yield *trees*, and note which have a tar that is one of the blobs with these *digests*."""
    for tree in trees:
        is_blob = tree.layer is not None and tree.layer.diff_id in digests and _is_blob(store, tree, tree.layer.diff_id)
        yield replace(tree, is_blob=True) if is_blob else tree


def _is_blob(store: Store, tree: TreeCandidate, digest: str) -> bool:
    if not properties(tree.record.form).keeps_tar:
        return False
    try:
        blob = os.stat(store.directories.blob(digest), follow_symlinks=False)
        tar = f"{store.directories.tree(tree.key)}/{TAR}"
        return blob.st_nlink > 1 and os.path.samestat(blob, os.stat(tar, follow_symlinks=False))
    except OSError:
        return False


def altered(store: Store, tree: TreeCandidate, report: Callable[[int], None]) -> Finding | None:
    """Return the finding for one tree, or None; all of it is read. The graph is not read."""
    try:
        if tree.content is Aspect.UNRECORDED:
            return _unrecorded(store, tree, report)
        found = _run_fault(store, tree) if tree.record.members else _fault(store, tree, report)
    except StoreDamagedError as error:
        # For a merged index, a member is damaged, which has its own finding.
        found = "" if tree.record.members else f"{error.what}: {error.why}"
    except OSError as error:
        found = f"cannot be read: {reason(error)}"
    return Finding(Damage.TREE_ALTERED, tree.key, found) if found else None


def _run_fault(store: Store, tree: TreeCandidate) -> str:
    place = store.directories.tree
    return run_fault(place(tree.key), tree.record.size, tree.record.members, place)


def glance(store: Store, tree: TreeCandidate) -> Finding | None:
    """Return the finding from names and sizes of one trusted tree, or None."""
    try:
        with opened(store.directories.trees) as parent:
            found = _glimpse(store, tree, parent, tree.key.partition(":")[2])
    except OSError as error:
        found = f"cannot be read: {reason(error)}"
    return Finding(Damage.TREE_ALTERED, tree.key, found) if found else None


def _glimpse(store: Store, tree: TreeCandidate, parent: int, name: str) -> str:
    record = tree.record
    if record.members:
        return run_glance(parent, name, record.size)
    form = store.forms[record.form]
    if form.properties.keeps_tar and tree.layer is None:
        return ""
    found, size = form.glance(parent, name, named_sums(record.sums))
    if not found and size and tree.layer is not None and size != tree.layer.size:
        found = f"its tar has {size} bytes, the layer's has {tree.layer.size}"
    return found


def named_sums(sums: tuple[str, ...]) -> dict[str, str]:
    """Return the sums of a tree's record, by file name."""
    return dict(part.split(":", 1) for part in sums) if sums else {}


def _fault(store: Store, tree: TreeCandidate, report: Callable[[int], None]) -> str:
    with opened(store.directories.tree(tree.key)) as fd:
        sums = named_sums(tree.record.sums)
        form = store.forms[tree.record.form]
        if tree.layer is not None:
            made = Made(tree.layer.diff_id, tree.layer.size, sums, tree.is_blob)
        elif form.properties.keeps_tar:
            return ""
        else:
            made = Made("", 0, sums)
        found = form.fault(fd, made, report)
        return found or _needs_fault(fd, sums.get(NEEDS, ""))


def _unrecorded(store: Store, tree: TreeCandidate, report: Callable[[int], None]) -> Finding | None:
    """Return the finding for a tree of files without recorded sums: its layer is extracted again, and compared.

    That needs space for a second copy in the store. It is not possible for a tree that differs from its layer.
    """
    layer = tree.layer
    blob = next((one for one in layer.blobs if os.path.isfile(store.directories.blob(one))), "") if layer else ""
    if layer is None or not blob or tree.key != layer.diff_id or store.graph.access is not Access.OWNER:
        return Finding(Damage.TREE_UNRECORDED, tree.key, "its files have no recorded sums; `--repair` rebuilds it")
    with Ingest(store.directories) as ingest, open(store.directories.blob(blob), "rb", buffering=0) as file:
        place = ingest.directory("tree")
        form = store.forms[tree.record.form]
        work = LayerPass(Digest(blob), None, Digest(layer.diff_id), "", forms=(form,), tree=place, sync=False)
        try:
            outcome = take_layer(work, file, report)
        except ArstoreError:
            # The blob is damaged, which has its own finding, and says nothing about the tree.
            return Finding(Damage.TREE_UNRECORDED, tree.key, "its files have no recorded sums, and its blob is damaged")
        sums = named_sums(outcome.stat.sums) if outcome.stat is not None else {}
        if LISTING not in sums:
            return Finding(Damage.TREE_UNRECORDED, tree.key, "its files have no recorded sums")
        with opened(place) as listed_fd, opened(store.directories.tree(tree.key)) as fd:
            found = differences(fd, form.properties.files[0], listing_of(listed_fd, sums[LISTING]), report)
    return Finding(Damage.TREE_ALTERED, tree.key, found) if found else None


def _needs_fault(tree_fd: int, wanted: str) -> str:
    """Return why the file of needs does not match the recorded sum; "" if it does."""
    try:
        fd = os.open(NEEDS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=tree_fd)
    except FileNotFoundError:
        return f"{NEEDS} is missing" if wanted not in {"", "-"} else ""
    try:
        with open(fd, "rb", closefd=False) as file:
            data = file.read()
    finally:
        os.close(fd)
    if not wanted:
        return ""
    return "" if blake3(data).hexdigest(16) == wanted else f"{NEEDS} does not have the recorded digest"


def is_still_there(store: Store, tree: TreeCandidate) -> bool:
    """Whether the tree was neither removed nor replaced since it was listed. Raises the errors of Graph."""
    with store.graph.read(lenient=True) as snapshot:
        record = snapshot.tree(tree.key)
    if record is None or record._replace(synced=False) != tree.record._replace(synced=False):
        return False
    try:
        return os.stat(store.directories.tree(tree.key), follow_symlinks=False).st_ino == tree.inode
    except OSError:
        return True
