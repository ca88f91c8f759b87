"""Import of images: everything missing is read once, in parallel, and published together.

The same code imports a new image, completes one that lacks a blob or a tree, and rebuilds trees that are not trusted:
a layer is read only if the store has no intact blob or no trusted tree for it. The code that reads layers is imported
with the first one that has to be read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.free_space import Room
from arstore.disk.partial import drop_beginning, fetched_name, open_beginning
from arstore.disk.paths import opened
from arstore.errors import DigestMismatchError, SizeMismatchError, TarError
from arstore.graph.records import BlobRecord, ImageRecord, LayerRecord, TreeRecord
from arstore.linux.files.sync import syncfs
from arstore.store.ingest.chain import Assembly
from arstore.store.ingest.incoming import IncomingImage, IncomingIndex, TakenImage, TakenLayer, rest_opener
from arstore.store.ingest.need import Need
from arstore.store.ingest.publish import Publication
from arstore.store.ingest.staged_files import StagedFiles
from arstore.tar.limits import ACCEPTED, DEFAULT_LIMITS, Limits
from arstore.tar.steps import Steps
from arstore.trace import reached
from arstore.trees.attributes import Dropped
from arstore.trees.contents import AUTO
from arstore.trees.forms import properties
from arstore.trees.memory_quota import Allowance
from arstore.trees.needs import NO_NEEDS, read_needs
from arstore.workers.shared_budget import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from arstore.disk.partial import Beginning
    from arstore.disk.staging import Ingest
    from arstore.store.ingest.incoming import BlobSource, IncomingAttachment, IncomingLayer
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.ingest.layer_jobs import Again, Job
    from arstore.store.ingest.layer_pass import LayerOutcome, LayerPass
    from arstore.store.progress import Progress
    from arstore.trees.format import TreeFormat
    from arstore.workers.pool import Outcome

    T = TypeVar("T")


_MANY = 256
"""Number of files from which on the file system is synced once, instead of each file."""


class _DeniedError(Exception):
    """The host does not permit an adapted tree to be built; the text gives the reason."""


@dataclass(slots=True)
class _Taken:
    """Results of the jobs: blob records by digest, reused blobs, and extended attributes that trees lack."""

    blobs: dict[str, BlobRecord] = field(default_factory=dict)
    reused: set[str] = field(default_factory=set)
    dropped: dict[str, Dropped] = field(default_factory=dict)
    """By the layer's diff ID."""
    denied: str = ""


class Intake:
    """One piece of work on a store, inside one ingest."""

    def __init__(
        self,
        inventory: Inventory,
        ingest: Ingest,
        blobs: BlobSource,
        forms: tuple[TreeFormat, ...],
        progress: Progress,
        spool: Ingest | None = None,
        limits: Limits | None = None,
        kept: Mapping[str, str] | None = None,
        file_digests: str = AUTO,
    ) -> None:
        self._inventory = inventory
        self._ingest = ingest
        self._blobs = blobs
        self._spool = spool
        self._kept = kept or {}
        self._file_digests = file_digests
        self._limits = limits or DEFAULT_LIMITS
        self._forms = forms
        self._progress = progress
        self._room = Room(ingest.path, self._limits, inventory.directories.root)
        # Trees of accepted blobs can always be rebuilt.
        self._is_outside = limits is not None
        self._tally: Tally | None = None
        self._adapted = 0
        self._expected = 0
        self._inflated = 0
        self._steps = Allowance()
        self._blobs_of: dict[str, dict[str, None]] = {}
        self._taken = _Taken()
        self._publication = Publication(sparing=inventory.again)
        self._files = StagedFiles(inventory, ingest, blobs, progress, self._room, self._publication)
        self._begun: dict[Digest, Beginning] = {}

    @property
    def dropped(self) -> Dropped:
        """The extended attributes that the trees of all layers lack, including reused trees."""
        found = Dropped()
        for one in self._taken.dropped.values():
            found.add(one)
        return found

    def missing(self, images: Sequence[IncomingImage]) -> dict[Digest, int]:
        """Return the blobs, with sizes, of the layers that `take` would read now, because they or trees are missing."""
        treeless = self._treeless(images)
        layers = {layer.digest: layer for image in images for layer in image.layers}.values()
        return {
            layer.digest: layer.size for layer in layers if layer.diff_id in treeless or self._is_unknown(layer.digest)
        }

    def need(self, images: Sequence[IncomingImage], attachments: Sequence[IncomingAttachment] = ()) -> Need:
        """Return the space that `take` would need now."""
        layers = {layer.digest: layer for image in images for layer in image.layers}
        treeless = self._treeless(images)
        coming = [layer for layer in layers.values() if self._inventory.layer_blob(layer.digest) is None]
        is_one_file = bool(self._forms) and self._forms[0].properties.keeps_tar
        trees = self._inventory.trusted_tree
        return Need(
            sum(layer.size for layer in coming) + sum(self._files.missing_of(attachments).values()),
            sum(_tree_size(layer, is_one_file) for layer in layers.values() if layer.diff_id in treeless),
            sum(layer.size for layer in coming if layer.digest in self._kept or self._spooled(layer)),
            self._limits.reserve,
            frozenset(tree for layer in layers.values() if (tree := trees(layer)) is not None),
            self._is_outside,
        )

    def staged(self) -> list[str]:
        """Return the paths of the blobs and trees that are to be published."""
        work = self._publication
        return [path for path, _ in (*work.blobs.values(), *work.trees.values())]

    def take(
        self,
        images: Sequence[IncomingImage],
        indexes: Sequence[IncomingIndex] = (),
        attachments: Sequence[IncomingAttachment] = (),
    ) -> Publication:
        """Read what is missing for *images* and *attachments*, and return what is to be published.

        Raises the errors of `take_layer` and OSError; on an error nothing outside the ingest has changed.
        """
        jobs = self._counted(self._plan(images), images)
        count = len(jobs) + 2 * len(images) + len(indexes) + sum(1 + len(one.blobs) for one in attachments)
        with opened(self._ingest.path) as fd:
            self._files.is_durable = count < _MANY
            publication = self._take(jobs, images, indexes, attachments)
            if not self._files.is_durable:
                syncfs(fd)
                reached("take.all-synced")
        reached("take.prepared")
        return publication

    def _take(
        self,
        jobs: list[Job],
        images: Sequence[IncomingImage],
        indexes: Sequence[IncomingIndex],
        attachments: Sequence[IncomingAttachment],
    ) -> Publication:
        extra = self._files.missing_of(attachments)
        if extra or any(not job.reads_store for job in jobs):
            self._room.expect(sum(job.layer.size for job in jobs if job.work.keep) + sum(extra.values()))
            self._room.check()
        self._run(jobs)
        reached("take.layers-read")
        for image in images:
            self._files.document(image.digest, image.manifest)
            self._files.document(image.config_digest, image.config)
        for index in indexes:
            self._files.document(index.digest, index.document)
        for attachment in attachments:
            self._files.attachment(attachment)
        for image in images:
            self._record_image(image)
        for chain_id, blobs in self._blobs_of.items():
            record = self._publication.layers[chain_id]
            self._publication.layers[chain_id] = record._replace(blobs=tuple(blobs))
        self._steps.settle()
        for index in indexes:
            self._record_index(index)
        self._publication.drop_unused_trees()
        return self._publication

    def keep_blobs(self) -> dict[str, str]:
        """Move the verified layer blobs that were read to the spool; return their paths by digest.

        A repeated attempt then need not read the source again. Raises OSError.
        """
        if self._spool is None:
            return {}
        kept: dict[str, str] = {}
        for digest, (path, record) in self._publication.blobs.items():
            # A blob that was published and taken back is no longer at this path.
            if not record.diff_id or not os.path.exists(path):
                continue
            kept[digest] = path
            if os.path.dirname(path) != self._spool.path:
                kept[digest] = self._spool.file(f"kept-{Digest(digest).hex}")
                os.rename(path, kept[digest])
        return kept

    def taken(self, image: IncomingImage) -> TakenImage:
        """Return the result for *image* after publication."""
        layers = tuple(
            TakenLayer(
                layer.digest,
                layer.diff_id,
                layer.chain_id,
                self._taken.blobs[layer.digest].tar_size,
                layer.size,
                layer.digest in self._taken.reused,
                self._dropped_of(layer),
            )
            for layer in image.layers
        )
        denied = self._taken.denied if self._publication.images[image.digest].cap is None else ""
        attached = tuple(digest for subject, digest in self._publication.attachments if subject == image.digest)
        return TakenImage(image.digest, image.config_digest, image.names, image.platform, layers, denied, attached)

    def _dropped_of(self, layer: IncomingLayer) -> int:
        dropped = self._taken.dropped.get(layer.diff_id)
        return dropped.count if dropped is not None else 0

    # --- planning ---------------------------------------------------------------------------------------------------

    def _plan(self, images: Sequence[IncomingImage]) -> list[Job]:
        jobs: list[Job] = []
        seen: dict[str, IncomingLayer] = {}
        treeless = self._treeless(images)
        for layer in (layer for image in images for layer in image.layers):
            known = seen.setdefault(layer.digest, layer)
            if known is not layer:
                _require_same(known, layer)
                continue
            job = self._job(layer, layer.diff_id in treeless)
            treeless.discard(layer.diff_id)
            if job is None:
                self._progress.start(layer.diff_id, layer.digest.short, layer.size)
                self._progress.finish(layer.diff_id, reused=True)
            else:
                jobs.append(job)
        return sorted(jobs, key=lambda job: -job.layer.size)

    def _counted(self, jobs: list[Job], images: Sequence[IncomingImage]) -> list[Job]:
        """Return the same jobs with a shared count of steps, which also covers the work outside of them.

        The limit depends on the bytes that the layers really have, not on their declared sizes, which may be false.
        """
        if not self._is_outside:
            return jobs
        layers = {layer.digest: layer for image in images for layer in image.layers}
        self._expected = sum(map(self._bytes_of, layers.values()))
        most = min(self._limits.steps + self._limits.steps_per_byte * self._expected, ACCEPTED.steps)
        # One number for each job, one for lookups in the trees below, and one for all adapted trees.
        limits = self._limits
        promised = sum(job.layer.size for job in jobs if job.is_fetched)
        tally = self._tally = Tally(most, len(jobs) + 2, promised, limits.steps_per_byte, limits.steps)
        self._adapted = len(jobs) + 1
        inflating = Tally(min(limits.inflated, max(limits.ratio_from, limits.ratio * self._expected)), len(jobs))
        self._steps = Allowance(steps=Steps(most, partial(tally.note, len(jobs))))
        return [
            _counting(job, tally, number, inflating) if job.work.limits is limits else job
            for number, job in enumerate(jobs)
        ]

    def _bytes_of(self, layer: IncomingLayer) -> int:
        """Return the number of bytes of the blob of *layer*, as far as that is known before it is read."""
        stored = self._inventory.layer_blob(layer.digest)
        if stored is not None:
            return stored.size
        place = self._blobs.place(layer.digest)
        if place is not None:
            return min(place.length, layer.size)
        if self._blobs.is_remote or layer.digest in self._kept:
            return layer.size
        blob = self._blobs.open_blob(layer.digest)
        try:
            return min(getattr(blob, "length", layer.size), layer.size)
        finally:
            blob.close()

    def _treeless(self, images: Sequence[IncomingImage]) -> set[str]:
        """Return the diff IDs without a trusted tree for some chain: a tree adapted to another chain does not count."""
        if not self._forms:
            return set()
        layers = {layer.chain_id: layer for image in images for layer in image.layers}
        trees = {layer: self._inventory.trusted_tree(layer) for layer in layers.values()}
        apart = {layer.diff_id for layer, tree in trees.items() if tree == layer.diff_id and self._is_apart(layer)}
        # A mounted tree stays as it is.
        self._publication.sparing |= apart
        return apart | {layer.diff_id for layer, tree in trees.items() if tree is None}

    def _is_apart(self, layer: IncomingLayer) -> bool:
        """Whether the tree of *layer* has a separate tar, and the blob, which has to be read, could take its place."""
        if layer.digest != layer.diff_id or self._inventory.intact_blob(layer.digest) is not None:
            return False
        record = self._inventory.tree_record(layer.diff_id)
        return record is not None and properties(record.form).keeps_tar

    def _is_unknown(self, digest: str) -> bool:
        stored = self._inventory.layer_blob(digest)
        return stored is None or not stored.diff_id

    def _job(self, layer: IncomingLayer, needs_tree: bool) -> Job | None:
        """Return the job for *layer*; None if the store has everything."""
        stored = self._inventory.layer_blob(layer.digest)
        if stored is not None and stored.size != layer.size:
            raise SizeMismatchError(f"layer {layer.digest}", f"has {stored.size} bytes, {layer.size} were declared")
        if stored is not None and stored.diff_id and stored.diff_id != layer.diff_id:
            raise DigestMismatchError(f"layer {layer.digest}", f"inflates to {stored.diff_id}, not to {layer.diff_id}")
        verified = stored is not None and bool(stored.diff_id)
        if stored is not None and verified and not needs_tree:
            self._taken.blobs[layer.digest] = BlobRecord(stored.size, stored.diff_id, stored.tar_size)
            self._taken.reused.add(layer.digest)
            self._reuse_blob(layer.digest)
            self._look_for_dropped(layer)
            return None
        from arstore.store.ingest.layer_jobs import Job
        from arstore.store.ingest.layer_pass import LayerPass

        tree = self._ingest.directory(f"tree-{layer.diff_id.hex}") if needs_tree else ""
        limits = ACCEPTED._replace(strict_xattrs=self._limits.strict_xattrs) if verified else self._limits
        forms = self._forms if tree else ()
        kept = self._inventory.blob_place(layer.digest) if stored else self._kept.get(layer.digest, "")
        blob, keep, is_fetched = (kept, False, False) if kept else self._staging(layer)
        work = LayerPass(layer.digest, layer.size, layer.diff_id, blob, keep, forms, tree, limits=limits)
        if tree:
            work = self._listed(work, layer.diff_id)
        begun = self._beginning(layer) if is_fetched else None
        is_whole = begun is not None and begun.size == layer.size
        return Job(layer, work, stored is not None, bool(kept), is_fetched and not is_whole, begun)

    def _listed(self, work: LayerPass, key: str) -> LayerPass:
        """Return the same work, which also lists the contents of the tree *key*."""
        path = self._ingest.file(f"contents-{Digest(key).hex}")
        return work._replace(contents=path, file_digests=self._file_digests)

    def _reuse_blob(self, digest: str) -> None:
        """Record that the published images use an existing blob, of the store or of an additional one."""
        lent = self._inventory.lent(digest)
        if lent is None:
            self._publication.reused_blobs.add(digest)
        else:
            self._publication.lent[digest] = lent

    def _beginning(self, layer: IncomingLayer) -> Beginning | None:
        """Return what an earlier fetch has left of the blob of *layer*, or None; it is open until `close`."""
        if rest_opener(self._blobs) is None:
            return None
        found = open_beginning(self._inventory.directories.ingest, layer.digest, layer.size)
        if found is not None:
            self._begun[layer.digest] = found
        return found

    def drop_beginnings(self) -> bool:
        """Delete the partial blobs whose fetch was resumed; return whether there were any."""
        for digest in self._begun:
            drop_beginning(self._inventory.directories.ingest, digest)
        return bool(self._begun)

    def close(self) -> None:
        """Close the files of partial blobs."""
        for one in self._begun.values():
            os.close(one.fd)
        self._begun = {}

    def _look_for_dropped(self, layer: IncomingLayer) -> None:
        """Note the extended attributes that the stored tree of *layer* lacks. Raises TarError in strict mode."""
        key = self._inventory.trusted_tree(layer)
        record = self._inventory.tree_records([key])[key] if key else None
        if key is None or record is None or NO_NEEDS in record.sums:
            return
        dropped = read_needs(self._inventory.tree_place(key)[1]).dropped
        if dropped.count and self._limits.strict_xattrs:
            raise TarError(f"layer {layer.digest}", str(dropped), "without --strict-xattrs this is accepted")
        self._taken.dropped[layer.diff_id] = dropped

    def _staging(self, layer: IncomingLayer) -> tuple[str, bool, bool]:
        """Return the blob's path in an ingest, whether it has to be written, and whether it has to be fetched.

        The transport may have spooled it already. Raises MissingBlobError.
        """
        place = self._blobs.place(layer.digest)
        if place is None and not self._blobs.is_remote:
            # Check before other layers are read. A remote source reports a missing blob when it is fetched.
            self._blobs.require_blob(layer.digest)
        if spooled := self._spooled(layer):
            return spooled, False, False
        is_fetched = place is None and self._blobs.is_remote
        if is_fetched and rest_opener(self._blobs) is not None:
            # The name marks a blob whose fetch can be resumed if this process dies.
            return self._ingest.file(fetched_name(layer.digest, layer.size)), True, True
        return self._ingest.file(f"blob-{layer.digest.hex}"), True, is_fetched

    def _spooled(self, layer: IncomingLayer) -> str:
        """Return the path of the file that the transport has spooled the blob to, if that file is just the blob."""
        place = self._blobs.place(layer.digest)
        if self._spool is None or place is None or place.offset:
            return ""
        path = self._spool.spooled(place.fd)
        return path if path and os.fstat(place.fd).st_size == place.length == layer.size else ""

    # --- reading ----------------------------------------------------------------------------------------------------

    def _run(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        from arstore.store.ingest.layer_jobs import Passes
        from arstore.store.ingest.one_file import settle

        for job in jobs:
            self._progress.start(job.layer.diff_id, job.layer.digest.short, job.layer.size)
        self._inventory.release()
        directories = self._inventory.directories
        passes = Passes(directories, self._ingest, self._blobs, self._limits, self._progress, self._room)
        done = passes.read(jobs, self._files.is_durable)
        for job, outcome in done:
            settle(job.work, outcome, directories)
        self._inflated = sum(outcome.tar_size for job, outcome in done if not job.reads_store)
        # Not earlier: this reads the graph, which must not be open while processes are forked.
        for job, outcome in done:
            self._finish(job, outcome)

    def _finish(self, job: Job, outcome: LayerOutcome) -> None:
        layer = job.layer
        record = BlobRecord(layer.size, layer.diff_id, outcome.tar_size)
        self._taken.blobs[layer.digest] = record
        if job.reads_store:
            self._reuse_blob(layer.digest)
        else:
            self._files.add(layer.digest, job.work.blob, record)
        self._add_tree(layer.diff_id, job.work, outcome)
        self._taken.dropped[layer.diff_id] = outcome.needs.dropped
        self._taken.denied = self._taken.denied or outcome.denied

    def _add_tree(self, key: str, work: LayerPass, outcome: LayerOutcome) -> None:
        if outcome.stat is None:
            return
        known = self._inventory.tree_record(key)
        if known is not None and known.form == outcome.form and key in self._inventory.again:
            # The new form could not represent it, and the result is the form that it already has.
            return
        implied = bool(outcome.needs.implied or outcome.needs.absent_links)
        stat = outcome.stat
        record = TreeRecord(outcome.form, self._inventory.boot, False, stat.entries, stat.size, implied, sums=stat.sums)
        self._publication.add_tree(key, work.tree, record, known)
        self._publication.contents[key] = work.contents

    # --- recording --------------------------------------------------------------------------------------------------

    def _record_image(self, image: IncomingImage) -> None:
        assembly = Assembly(self._inventory, self._ingest, self._publication, self._adapt, self._steps)
        trees, cap = ([""] * len(image.layers), None)
        if self._forms and not self._taken.denied:
            try:
                trees, cap = assembly.stack(image.layers)
            except _DeniedError as error:
                # As if the first tree had been denied: the image is imported without trees.
                self._taken.denied = str(error)
        parent = ""
        for layer, tree in zip(image.layers, trees, strict=True):
            tar_size = self._taken.blobs[layer.digest].tar_size
            record = LayerRecord(layer.diff_id, parent, (layer.digest,), tar_size, tree)
            self._publication.layers[layer.chain_id] = record
            # Two images may have one layer in two compressions: the last one read comes last.
            blobs = self._blobs_of.setdefault(layer.chain_id, {})
            blobs.pop(layer.digest, None)
            blobs[layer.digest] = None
            parent = layer.chain_id
        sizes = {layer.digest: layer.size for layer in image.layers}
        size = len(image.manifest) + len(image.config) + sum(sizes.values())
        self._publication.images[image.digest] = ImageRecord(
            image.media_type,
            size,
            image.platform,
            image.created,
            self._inventory.now,
            image.config_digest,
            tuple(layer.digest for layer in image.layers),
            image.top,
            cap,
        )
        for name in image.names:
            self._publication.names[name] = image.digest

    def _record_index(self, index: IncomingIndex) -> None:
        self._publication.images[index.digest] = ImageRecord(
            index.media_type, len(index.document), "", "", self._inventory.now, manifests=tuple(index.manifests)
        )
        for name in index.names:
            self._publication.names[name] = index.digest

    def _adapt(self, work: LayerPass, key: str) -> None:
        """Build an adapted tree from the layer's blob. Raises the errors of `take_layer`, and _DeniedError."""
        from arstore.store.ingest.layer_jobs import another_pass, attempt
        from arstore.store.ingest.layer_pass import LayerOutcome
        from arstore.store.ingest.one_file import prepared, settle
        from arstore.tar import codec
        from arstore.trees.preload import preload
        from arstore.workers import confinement
        from arstore.workers.pool import run_jobs

        def read(report: Callable[[int], None]) -> LayerOutcome | Again:
            with open(work.blob, "rb", buffering=0) as file:
                head = os.pread(file.fileno(), codec.HEAD, 0)
                # It also reads the trees below, in the store and in the ingest, which may have any form.
                preload(heads=[head], digests=[work.digest, work.diff_id], forms=self._inventory.forms.values())
                confined = confinement.making(self._ingest.path, *self._inventory.tree_roots(), work.blob)
                confined.enter()
                return attempt(work.moved(confined.inside), file, report)

        work = prepared(self._listed(self._bounded(work), key), self._inventory.directories)
        self._inventory.release()
        outcome = _only(run_jobs([read]))
        if not isinstance(outcome, LayerOutcome):
            self._adapt(another_pass(work, work.forms[1:]), key)
            return
        if outcome.stat is None:
            raise _DeniedError(outcome.denied)
        settle(work, outcome, self._inventory.directories)
        self._add_tree(key, work, outcome)
        self._taken.dropped[work.diff_id] = outcome.needs.dropped
        reached("take.tree-adapted")

    def _bounded(self, work: LayerPass) -> LayerPass:
        """Return the same work, limited to what is left for the source: a layer may be adapted for many images.

        Raises LimitError if this layer and those before inflate to too much.
        """
        if self._tally is None:
            return work
        self._inflated += self._taken.blobs[work.digest].tar_size
        self._limits.check_inflated(self._inflated, self._expected, "the source")
        limits = self._limits
        limits = ACCEPTED._replace(memory=limits.memory, reserve=limits.reserve, inodes=limits.inodes)
        counted = self._tally.noted(self._adapted)
        return work._replace(limits=limits, tally=self._tally, number=self._adapted, counted=counted)


def _tree_size(layer: IncomingLayer, is_one_file: bool) -> int:
    """Guess the bytes of the tree of *layer*: its tar is usually twice as large as a compressed blob."""
    if layer.digest != layer.diff_id:
        return 2 * layer.size
    return 0 if is_one_file else layer.size


def _only(outcomes: Iterable[Outcome[T]]) -> T:
    """Return the result of the only job of *outcomes*, or raise its error."""
    (value,) = [outcome.value for outcome in outcomes if outcome.value is not None]
    return value


def _counting(job: Job, tally: Tally, number: int, inflating: Tally) -> Job:
    """Return *job* with its work counted under *number*."""
    work = job.work._replace(tally=tally, number=number, inflating=inflating, is_promised=job.is_fetched)
    return replace(job, work=work)


def _require_same(one: IncomingLayer, other: IncomingLayer) -> None:
    """Require that two declarations of one blob agree. Raises DigestMismatchError, SizeMismatchError."""
    if one.diff_id != other.diff_id:
        why = f"is declared with two diff IDs, {one.diff_id} and {other.diff_id}"
        raise DigestMismatchError(f"layer {one.digest}", why)
    if one.size != other.size:
        raise SizeMismatchError(f"layer {one.digest}", f"is declared with two sizes, {one.size} and {other.size}")
