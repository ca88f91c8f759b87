"""Publication: finished work gets its names, all of it or nothing.

Before publication every file is written, verified and durable inside an ingest. Then one write transaction of the graph
does this:

1. It checks that everything the work reuses is still recorded. If not, the transaction is aborted (VanishedError:
   another process removed it, and the caller starts again).
2. Blobs and trees are renamed to their places, and the directories of the new names are synced.
3. The records and the new `index.json` are written, and the transaction commits with an fsync.
4. The new `index.json` replaces the old one.

Trees that are to be replaced are announced before step 2 (see `replace_tree`). If the process dies in step 1, nothing
has changed. If it dies in step 2, there are files without a record, which the ingest lists; the next import or the
collector deletes them. After step 3 everything is published. Removal has the opposite order: records first, then files,
and a file leaves its place only inside a write transaction that finds it unrecorded (see `sweep`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, NotFoundError
from arstore.graph.hints import put_hint
from arstore.graph.records import TreeRecord
from arstore.linux.files.sync import sync_directory
from arstore.store.ingest.replace_tree import Replacement
from arstore.store.layout import published_change
from arstore.store.leftovers import places_of
from arstore.trace import reached
from arstore.trees.forms import MERGED, properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arstore.disk.paths import Directories
    from arstore.disk.staging import Ingest
    from arstore.graph.graph import Graph
    from arstore.graph.records import AttachmentRecord, BlobRecord, ImageRecord, LayerRecord, LentRecord
    from arstore.graph.write import Change
    from arstore.mounts.merge_plan import Run
    from arstore.store.ingest.inventory import Inventory


class VanishedError(Exception):
    """Something that the work reuses was removed in the meantime; never leaves the package."""


@dataclass(slots=True)
class Publication:
    """The work to be published: staged files by their paths in the ingest, and records.

    `reused_blobs` and `reused_trees` must already be in the graph. A recorded blob is replaced by the staged one only
    if it is in `replaced`, because its file was found missing or short. A recorded tree is replaced only while its
    record is the one in `distrusted`: any other was made by another process in the meantime, and may be mounted. `lent`
    are blobs that the images will use in place, in additional stores. `contents` has the files of pages of trees, for
    the index of contents.
    """

    blobs: dict[str, tuple[str, BlobRecord]] = field(default_factory=dict)
    trees: dict[str, tuple[str, TreeRecord]] = field(default_factory=dict)
    layers: dict[str, LayerRecord] = field(default_factory=dict)
    images: dict[str, ImageRecord] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    attachments: dict[tuple[str, str], AttachmentRecord] = field(default_factory=dict)
    """By the digests of the subject and of the manifest; an attachment of an attachment comes after it."""
    hints: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """Texts by table, subject and detail (`graph.hints`)."""
    reused_blobs: set[str] = field(default_factory=set)
    reused_trees: set[str] = field(default_factory=set)
    lent: dict[str, LentRecord] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    distrusted: dict[str, TreeRecord] = field(default_factory=dict)
    sparing: frozenset[str] = frozenset()
    contents: dict[str, str] = field(default_factory=dict)

    def add_tree(self, key: str, path: str, record: TreeRecord, distrusted: TreeRecord | None) -> None:
        """Add a tree built at *path*; *distrusted* is the record that it replaces, or None."""
        self.trees[key] = (path, record)
        if distrusted is not None:
            self.distrusted[key] = distrusted

    def add_run(self, run: Run, ingest: Ingest, place: Callable[[str], str], inventory: Inventory) -> None:
        """Make the merged index of *run* in *ingest*; *place* returns the directories of its members.

        Raises UnrepresentableError, StoreDamagedError, OSError.
        """
        from arstore.trees.erofs.merged_index import build

        directory = ingest.directory(f"run-{run.key.hex}")
        stat = build(run.members, place, directory)
        reached("take.run-merged")
        record = TreeRecord(MERGED.name, inventory.boot, False, stat.entries, stat.size, False, run.members)
        self.add_tree(run.key, directory, record, inventory.tree_record(run.key))

    def drop_unused_trees(self) -> None:
        """Drop the trees that no layer and no image uses: shared forms of layers that had to be adapted."""
        used = {layer.tree for layer in self.layers.values()} | {image.cap for image in self.images.values()}
        for key in [key for key, (_, record) in self.trees.items() if key not in used and not record.members]:
            del self.trees[key]


def publish(directories: Directories, graph: Graph, ingest: Ingest, work: Publication) -> dict[str, str]:
    """Publish *work*; return those of its names that moved from another image, with that image's digest.

    Raises VanishedError, OSError, and the errors of Graph; the store is then unchanged.
    """
    placed: list[str] = []
    moved: dict[str, str] = {}
    replacement = Replacement(directories, ingest, work.distrusted, work.sparing)
    try:
        replacement.announce(graph)
        with published_change(directories, graph) as change:
            _verify_reused(change, work)
            reached("publish.verified")
            ingest.note_places(_new_places(change, work))
            _place_trees(directories, change, ingest, work, replacement, placed)
            _place_blobs(directories, change, ingest, work, placed)
            for digest, lent in work.lent.items():
                if change.blob(digest) is None:
                    change.put_lent(digest, lent)
            for chain_id, layer in work.layers.items():
                change.put_layer(chain_id, _merged(change.layer(chain_id), layer))
            for digest, image in work.images.items():
                change.put_image(digest, _image_merged(change.image(digest), image))
            _record_attachments(change, work)
            for (table, subject, detail), text in work.hints.items():
                put_hint(change, table, subject, text, detail)
            for name, digest in work.names.items():
                before = change.name(name)
                if before is not None and before != digest:
                    moved[name] = before
                change.put_name(name, digest)
            reached("publish.recorded")
    except BaseException:
        reached("publish.failed")
        _take_back(directories, graph, ingest, replacement, placed)
        raise
    ingest.forget_places()
    if work.contents:
        from arstore.store.contents.shelf import Shelf

        Shelf(directories.contents).add({key: path for key, path in work.contents.items() if key in work.trees})
    return moved


def _record_attachments(change: Change, work: Publication) -> None:
    """Record the attachments of *work*. Raises NotFoundError if a subject is not in the store (any more)."""
    manifests: set[str] | None = None
    for (subject, digest), record in work.attachments.items():
        if change.image(subject) is None:
            if manifests is None:
                manifests = {key.partition("/")[2] for key in change.keys("attachments")}
            if subject not in manifests:
                raise NotFoundError(f"image {subject}", "is not in the store, so nothing can be attached to it")
        known = change.attachment(subject, digest)
        if known is not None:
            record = record._replace(imported=known.imported, tag=record.tag or known.tag)
        change.put_attachment(subject, digest, record)
        if manifests is not None:
            manifests.add(digest)


def _new_places(change: Change, work: Publication) -> Iterator[str]:
    """Yield the places of files that are not recorded yet."""
    blobs = (digest for digest in work.blobs if change.blob(digest) is None)
    return places_of(blobs, (key for key in work.trees if change.tree(key) is None))


def _verify_reused(change: Change, work: Publication) -> None:
    for digest in work.reused_blobs:
        if change.blob(digest) is None:
            raise VanishedError(digest)
    for key in work.reused_trees:
        if change.tree(key) is None:
            raise VanishedError(key)


def _place_blobs(
    directories: Directories, change: Change, ingest: Ingest, work: Publication, placed: list[str]
) -> None:
    touched: set[str] = set()
    for digest, (staged, record) in work.blobs.items():
        if change.blob(digest) is not None and digest not in work.replaced:
            continue
        path = directories.blob(digest)
        try:
            ingest.place(staged, path)
        except IsADirectoryError:
            ingest.take(path, f"replaced-{os.path.basename(path)}")
            ingest.place(staged, path)
        placed.append(path)
        reached("publish.blob-placed")
        touched.add(os.path.dirname(path))
        change.put_blob(digest, record)
        change.delete("lent", digest)
    for directory in touched:
        sync_directory(directory)
    reached("publish.directories-synced")


def _place_trees(
    directories: Directories,
    change: Change,
    ingest: Ingest,
    work: Publication,
    replacement: Replacement,
    placed: list[str],
) -> None:
    replaced: set[str] = set()
    held = replacement.held(change)
    # Merged indexes come last, when the fate of their members is known.
    for key, (staged, record) in sorted(work.trees.items(), key=lambda item: bool(item[1][1].members)):
        known = change.tree(key)
        if known is not None and not replacement.may_replace(change, key, held):
            continue
        members = map(change.tree, record.members)
        if not all(member is not None and properties(member.form).mergeable for member in members):
            continue
        replacement.place(key, staged)
        placed.append(directories.tree(key))
        reached("publish.tree-placed")
        change.put_tree(key, record)
        if known is not None:
            replaced.add(key)
    if replaced:
        _drop_runs(directories, change, ingest, replaced, work)


def _drop_runs(directories: Directories, change: Change, ingest: Ingest, replaced: set[str], work: Publication) -> None:
    """Remove the merged indexes over *replaced* trees, unless they were rebuilt with them."""
    for key, record in change.runs():
        if not replaced.isdisjoint(record.members) and (key not in work.trees or work.trees[key][1] != record):
            change.delete("trees", key)
            path = directories.tree(key)
            with suppress(FileNotFoundError):
                ingest.take(path, f"replaced-{os.path.basename(path)}")
            reached("publish.run-dropped")


def _merged(old: LayerRecord | None, new: LayerRecord) -> LayerRecord:
    """Merge the records of a layer: a known layer keeps its blobs and its tree, and gains the new ones."""
    if old is None:
        return new
    came = frozenset(new.blobs)
    blobs = (*(blob for blob in old.blobs if blob not in came), *new.blobs)
    return type(new)(new.diff_id, new.parent, blobs, new.size, new.tree or old.tree)


def _image_merged(old: ImageRecord | None, new: ImageRecord) -> ImageRecord:
    """Merge the records of an image: a known image keeps its import time, and its cap if the new one has no value."""
    if old is None:
        return new
    return new._replace(imported=old.imported, cap=old.cap if new.cap is None else new.cap)


def _take_back(
    directories: Directories, graph: Graph, ingest: Ingest, replacement: Replacement, placed: list[str]
) -> None:
    """Undo replacements, and move placed files back into the ingest, unless another process has recorded them."""
    # Files that stay are unrecorded, and garbage. Errors are ignored here: the first error is the one to report.
    with suppress(ArstoreError, OSError), graph.write() as change:
        replacement.undo(change)
        for number, path in enumerate(placed):
            kind, _, name = path.removeprefix(directories.root + "/").partition("/")
            known = change.blob(name.replace("/", ":")) if kind == "blobs" else _tree_of_hex(change, name)
            if known is None:
                with suppress(FileNotFoundError):
                    ingest.take(path, f"taken-back-{number}")
        reached("publish.taken-back")


def _tree_of_hex(change: Change, name: str) -> TreeRecord | None:
    return change.tree(f"sha256:{name}") or change.tree(f"sha512:{name}")
