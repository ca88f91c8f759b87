"""The store: everything that the other packages do with it goes through this class.

Opening it makes directories that are missing and reads nothing else, and what most commands do without is imported when
it is used. Several processes may have it open; what one publishes the others see in their next transaction.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.access import Access
from arstore.disk.owner import withdraw
from arstore.disk.paths import Directories
from arstore.errors import (
    BRING_BACK,
    WRONG_CONTENT,
    ArstoreError,
    HostError,
    MissingBlobError,
    NotFoundError,
    PermissionDeniedError,
    StoreDamagedError,
    UsageError,
    as_root,
)
from arstore.graph.graph import Graph
from arstore.store.images import StoredImage as StoredImage
from arstore.store.images import chain_of as chain_of
from arstore.store.images import hint, indexes_of, lookup, members_of
from arstore.store.images import images_of as images_of
from arstore.store.presence import is_nothing, make_directories, require
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from arstore.disk.staging import Ingest
    from arstore.graph.records import LayerRecord, TreeRecord
    from arstore.oci.config import ImageConfig
    from arstore.store.additional import Wanted
    from arstore.store.containers import Containers
    from arstore.store.elsewhere import Elsewhere
    from arstore.store.ingest.incoming import BlobSource, IncomingAttachment, IncomingImage, IncomingIndex, TakenImage
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.leftovers import Clearance
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.trees.attributes import Dropped
    from arstore.trees.erofs.shared_mounts import SharedMounts
    from arstore.trees.format import LowerDirectory, TreeFormat

_MOST_CLAIMED = 1024
"""Layers that one piece of work claims, the largest: the kernel goes through all locks of a file for each new one."""

_ATTEMPTS = 5
"""How often work is done again because something it reused was removed meanwhile."""


class MovedName(NamedTuple):
    """A name that stands for another image now: the digests of what it stood for, and of what it stands for."""

    name: str
    was: str
    digest: str


class Untagged(NamedTuple):
    """A name that was removed, the digest of what it stood for, and the names that this has left."""

    name: str
    digest: str
    left: tuple[str, ...]


class Store:
    """A store in two directories; a context manager that closes it."""

    def __init__(
        self,
        root: str,
        runroot: str,
        *,
        create: bool = True,
        additional: Sequence[Wanted] = (),
        may_lack: bool = False,
    ) -> None:
        """Open the store; with *create*, make it where there is none, and with *may_lack*, take that for an empty one.

        *additional* are stores whose images are used where they lie (`additional`). Raises NoStoreError without
        *create*; PermissionDeniedError, NoSpaceError or HostError when the directories cannot be made, and the errors
        of Graph when it is first read.
        """
        self.directories = Directories(os.path.abspath(root), os.path.abspath(runroot))
        is_void = may_lack and is_nothing(self.directories.root)
        if not (create or is_void):
            require(self.directories)
        if is_void:
            self.directories.create_runroot()
        else:
            make_directories(self.directories)
        self.graph = Graph(self.directories.graph, self.directories, create, _survives_copy, void=is_void)
        self.elsewhere: Elsewhere | None = None
        """What additional stores have; None where there are none."""
        if additional:
            from arstore.store.elsewhere import Elsewhere

            self.elsewhere = Elsewhere(self.directories, self.graph, lambda: self.forms, additional)
        self.relief: Callable[[], int] | None = None
        """Frees what no list of leftovers tells of, for an import that may not fit; returns the bytes."""
        self.has_taken = False  # anything, by this process
        self.moved: list[MovedName] = []
        """Names that this process has taken from one image and given to another."""
        self._clearance: Clearance | None = None
        self._containers: Containers | None = None
        self._forms: dict[str, TreeFormat] = {}
        self.dropped: Dropped | None = None
        """The extended attributes that the trees of all images that were taken do not have."""

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the graph, when nothing in the store is this process's any more; a later use opens it again."""
        self.release()
        withdraw(self.graph.path)

    def release(self) -> None:
        """Close the graph and those of additional stores, as before a fork; the next use opens them again."""
        self.graph.release()
        if self.elsewhere is not None:
            self.elsewhere.stores.release()

    @property
    def containers(self) -> Containers:
        """The containers."""
        if self._containers is None:
            from arstore.store.containers import Containers

            self._containers = Containers(self.directories, self.graph)
        return self._containers

    @property
    def clearance(self) -> Clearance:
        """What processes that died have left, and what is done about it before something comes in."""
        if self._clearance is None:
            from arstore.store.leftovers import Clearance

            self._clearance = Clearance(self.directories, self.graph, self.relief)
        return self._clearance

    @property
    def cleared(self) -> int:
        """The bytes that this has freed."""
        return self._clearance.freed if self._clearance is not None else 0

    @property
    def shared(self) -> SharedMounts:
        """The mounts of trees that other processes hold."""
        from arstore.trees.erofs.shared_mounts import SharedMounts

        return SharedMounts(self.directories.runroot)

    @property
    def forms(self) -> dict[str, TreeFormat]:
        """The forms of trees, by name; made when they are first asked for, because most commands need none."""
        if not self._forms:
            from arstore.trees.directory.form import DirectoryFormat
            from arstore.trees.erofs.form import ErofsFormat

            self._forms = {form.name: form for form in (DirectoryFormat(), ErofsFormat(self.shared))}
        return self._forms

    def inventory(self, again: frozenset[str] = frozenset(), own_trees: bool = False) -> Inventory:
        """A look at what is there and may be relied on, which the trees *again* are not.

        With *own_trees*, trees of additional stores are not counted.
        """
        from arstore.store.ingest.inventory import Inventory

        if self.elsewhere is not None:
            return self.elsewhere.inventory(again, own_trees)
        return Inventory(self.directories, self.graph, self.forms, again)

    # --- images and names -------------------------------------------------------------------------------------------

    def images(self) -> list[StoredImage]:
        """All images and indexes, by digest."""
        with self.graph.read() as snapshot:
            return images_of(snapshot)

    def find(self, text: str, exact: bool = False) -> StoredImage:
        """The image or index that *text* means: a name, a digest, or a unique start of one.

        A name may be written as other tools do, unless it has to be *exact*: what takes something away takes what was
        named, and nothing that is merely called alike. Raises InvalidReferenceError, NotFoundError, AmbiguousError.
        """
        from arstore.oci.reference import parse_query

        query = parse_query(text)
        with self.graph.read() as snapshot:
            name, digest = lookup(snapshot, query, exact)
            record = snapshot.image(digest) if digest else None
            told = hint(snapshot, query, exact) if record is None else ""
        if record is None and self.elsewhere is not None:
            if not exact:
                return self.ours(self.elsewhere.find(query, told))
            self.elsewhere.refuse(query)
        if record is None:
            raise NotFoundError(text, "no such image in the store", told)
        return StoredImage(Digest(digest), record, partial(self.names_of, digest), name)

    def names_of(self, digest: str) -> tuple[str, ...]:
        """The names of an image, sorted. Raises the errors of Graph."""
        with self.graph.read() as snapshot:
            return snapshot.names_of(digest)

    def find_image(self, text: str) -> StoredImage:
        """As `find`, but where *text* means an index, its image for this host (else its only one).

        Raises PlatformError too.
        """
        found = self.find(text)
        return self._of_index(found) if found.record.is_index else found

    def _of_index(self, index: StoredImage) -> StoredImage:
        from arstore.errors import PlatformError
        from arstore.oci.platform import host, recorded, select

        with self.graph_of(index).read() as snapshot:
            images = members_of(snapshot, index.record)
        order = select([recorded(record.platform) for _, record in images], host())
        if not order and len(images) != 1:
            have = ", ".join(record.platform for _, record in images) or "none"
            raise PlatformError(index.label, f"has no image for {host()}", f"it has {have}; name one by its digest")
        digest, record = images[order[0] if order else 0]
        return self.ours(StoredImage(Digest(digest), record, lambda: index.names, index.label, index.home))

    def members(self, index: StoredImage) -> list[StoredImage]:
        """The images of *index* and of the indexes in it, in their order, as far as they are in the store."""
        with self.graph_of(index).read() as snapshot:
            found = members_of(snapshot, index.record)
        home = index.home
        names_of = self.names_of if home is None else home.names_of
        return [StoredImage(Digest(digest), record, partial(names_of, digest), home=home) for digest, record in found]

    def graph_of(self, image: StoredImage) -> Graph:
        """The graph that has the records of *image*: this store's, or an additional one's."""
        return self.graph if image.home is None else image.home.graph

    def chain(self, image: StoredImage) -> list[tuple[str, LayerRecord]]:
        """The layers of *image* from the bottom up, with their chain IDs. Raises as `chain_of`."""
        with self.graph_of(image).read() as snapshot:
            return chain_of(snapshot, image)

    def ours(self, image: StoredImage) -> StoredImage:
        """*image* as this store has it, where it has it too: what is here comes first."""
        if image.home is None:
            return image
        with self.graph.read() as snapshot:
            record = snapshot.image(image.digest)
        return (
            image
            if record is None
            else StoredImage(image.digest, record, partial(self.names_of, image.digest), image.called)
        )

    def adopt(self, image: StoredImage) -> StoredImage:
        """*image* as one of this store, which it becomes if it is one of an additional store.

        Its documents are kept here, and its layers' blobs stay where they are: what stands on it (a name, a container)
        stands on something that this store knows. Raises the errors of `take`.
        """
        if image.home is None or self.elsewhere is None:
            return image
        from arstore.store.ingest.incoming import NoBlobs

        members = self.members(image) if image.record.is_index else [image]
        indexes = self._incoming_indexes(image) if image.record.is_index else []
        self.take([self.incoming(one) for one in members], indexes, NoBlobs(), self.tree_forms())
        return self.ours(image)

    def _incoming_indexes(self, index: StoredImage) -> list[IncomingIndex]:
        """*index*, and the indexes in it, as if they came in."""
        from arstore.store.ingest.incoming import IncomingIndex

        with self.graph_of(index).read() as snapshot:
            found = indexes_of(snapshot, index.digest)
            listed = [tuple(Digest(m) for m in one.manifests if snapshot.image(m) is not None) for _, one in found]
        return [
            IncomingIndex(Digest(digest), one.media_type, self.read_blob(digest), members)
            for (digest, one), members in zip(found, listed, strict=True)
        ]

    @contextmanager
    def held(self, image: StoredImage, purpose: str) -> Iterator[None]:
        """Hold *image* for the length of the context, as a lease does; of an additional store nothing can be held.

        Raises as `lease.leased`.
        """
        from arstore.store.collect.lease import leased

        if image.home is not None:
            yield
            return
        with leased(self.graph, image.digest, purpose):
            yield

    def tag(self, text: str, name: str) -> str:
        """Let *name* stand for the image that *text* means; return the name as stored.

        Raises as `find`, and InvalidReferenceError for the name.
        """
        from arstore.oci.reference import parse_name
        from arstore.store.layout import published_change

        wanted = str(parse_name(name))
        image = self.adopt(self.find(text))
        with published_change(self.directories, self.graph) as change:
            if change.image(image.digest) is None:
                raise NotFoundError(text, "was removed meanwhile")
            was = change.name(wanted)
            change.put_name(wanted, image.digest)
        if was is not None and was != image.digest:
            self.moved.append(MovedName(wanted, was, image.digest))
        return wanted

    def untag(self, text: str) -> Untagged:
        """Remove one name, written as it is stored but for the default tag; the image stays until it is collected.

        With a digest behind it, the name goes only if it stands for that. Raises InvalidReferenceError, NotFoundError.
        """
        from arstore.oci.reference import parse_query
        from arstore.store.layout import published_change

        query = parse_query(text)
        name = str(query.name) if query.name is not None else ""
        with published_change(self.directories, self.graph) as change:
            digest = change.name(name) if name else None
            if digest is None and self.elsewhere is not None:
                self.elsewhere.refuse(query)
            if digest is None:
                raise NotFoundError(text, "no such name in the store", hint(change, query, True))
            if query.digest not in {None, digest}:
                raise NotFoundError(text, f"the name stands for {digest}")
            change.delete("names", name)
        return Untagged(name, digest, self.names_of(digest))

    # --- blobs ------------------------------------------------------------------------------------------------------

    def blob_path(self, digest: str) -> str:
        """Where the blob lies: here, or in an additional store; where it would lie here, if it is nowhere.

        Raises AdditionalStoreError for one that is to lie in an additional store, and is in none that is there.
        """
        own = self.directories.blob(digest)
        if os.path.lexists(own):
            return own
        if self.elsewhere is not None and (found := self.elsewhere.blob_path(digest)) is not None:
            return found
        self.require_lender(digest)
        return own

    def require_lender(self, digest: str) -> None:
        """Raise AdditionalStoreError for a blob that was found nowhere, if it is to lie in an additional store."""
        with self.graph.read() as snapshot:
            lent = snapshot.lent(digest)
        if lent is not None:
            from arstore.store.additional import lender_missing

            raise lender_missing(digest, lent, self.elsewhere.stores if self.elsewhere is not None else None)

    def read_blob(self, digest: str) -> bytes:
        """A blob that is a document, whole. Raises MissingBlobError, StoreDamagedError when its bytes have changed."""
        try:
            with open(self.blob_path(digest), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            raise MissingBlobError(digest, "its file is missing from the store", "`arstore check` tells more") from None
        if Digest.of(data, Digest(digest).algorithm) != digest:
            raise StoreDamagedError(digest, "its file has been altered", BRING_BACK)
        return data

    def config(self, image: StoredImage) -> ImageConfig:
        """The config of *image*, which is no index. Raises MissingBlobError, ManifestError."""
        from arstore.oci.config import ImageConfig
        from arstore.oci.document import STORED

        return ImageConfig.parse(self.read_blob(image.record.config), bounds=STORED)

    # --- taking in --------------------------------------------------------------------------------------------------

    def tree_forms(self, name: str = "auto") -> tuple[TreeFormat, ...]:
        """Return the forms for new trees, best first; a layer takes the first that can represent it.

        Of *name*, then extracted files; of `auto`, all that this host can mount, by rank. Empty when this process may
        not make trees at all: they are a cache, and are then made by whoever first mounts. Raises UsageError for a form
        that is not known.
        """
        from arstore.linux.isolation.capability import may_make_any_file

        if not may_make_any_file():
            return ()
        from arstore.trees.forms import AUTO, FALLBACK

        if name == AUTO:
            from arstore.mounts.probe import can_mount

            ranked = sorted(self.forms.values(), key=lambda form: form.properties.rank)
            return tuple(one for one in ranked if one.properties.extracts or can_mount(self.directories, one))
        if name not in self.forms:
            raise UsageError(name, f"no such form of trees; there are {', '.join(self.forms)}")
        return tuple(dict.fromkeys((self.forms[name], self.forms[FALLBACK.name])))

    def take(
        self,
        images: Sequence[IncomingImage],
        indexes: Sequence[IncomingIndex],
        blobs: BlobSource,
        forms: tuple[TreeFormat, ...],
        progress: Progress | None = None,
        spool: Ingest | None = None,
        again: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        attachments: Sequence[IncomingAttachment] = (),
        hints: Mapping[tuple[str, str, str], str] | None = None,
        own_trees: bool = False,
    ) -> list[TakenImage]:
        """Bring *images* into the store, all of them or none, and return what they became; *blobs* has their layers.

        *attachments* are of these or of stored images; an attachment of an attachment comes after it. *hints*
        (`graph.hints`) are recorded with the images.

        Layers that another process is taking at this moment are waited for, and then reused.

        *limits* are for what is read from outside. The trees *again* are made anew, and take the place of what is there
        unless that is held by then. With *own_trees*, those that additional stores have are made here too. Raises the
        errors of Intake and of publication; the store is then as it was.
        """
        from arstore.disk.claims import Claims
        from arstore.disk.staging import Ingest
        from arstore.store.ingest.intake import Intake
        from arstore.store.ingest.publish import VanishedError, publish
        from arstore.store.progress import NoProgress

        self.graph.verify()
        attempts = 0
        kept: dict[str, str] = {}
        self.clearance.make()
        with Claims(self.directories.claims) as claims:
            while attempts < _ATTEMPTS:
                inventory = self.inventory(again, own_trees)
                with Ingest(self.directories) as ingest:
                    intake = Intake(inventory, ingest, blobs, forms, progress or NoProgress(), spool, limits, kept)
                    missing = intake.missing(images)
                    if not claims.take(sorted(missing, key=missing.__getitem__)[-_MOST_CLAIMED:]):
                        # Somebody else has just done some of the work, or given it up.
                        continue
                    self.clearance.make(sum(missing.values()), missing)
                    attempts += 1
                    reached("take.claimed")
                    try:
                        work = intake.take(images, indexes, attachments)
                        work.hints = hints or {}
                        moved = publish(self.directories, self.graph, ingest, work)
                        self.moved += [MovedName(name, was, work.names[name]) for name, was in moved.items()]
                        self._count_dropped(intake.dropped)
                        intake.drop_beginnings()
                        self.has_taken = True
                        return [intake.taken(image) for image in images]
                    except VanishedError:
                        pass
                    except (ArstoreError, OSError) as error:
                        if isinstance(error, MissingBlobError):
                            self.require_lender(error.what)
                        misled = isinstance(error, WRONG_CONTENT) and intake.drop_beginnings()
                        if not misled and not inventory.has_lost():
                            raise
                    finally:
                        intake.close()
                    kept |= intake.keep_blobs()
                    claims.release()
        raise HostError(self.directories.root, "what was reused is being removed again and again by somebody else")

    def _count_dropped(self, dropped: Dropped) -> None:
        if self.dropped is None:
            self.dropped = dropped
        else:
            self.dropped.add(dropped)

    def incoming(self, image: StoredImage) -> IncomingImage:
        """A stored image as if it came in again, for what has to be built from it."""
        from arstore.oci.chain import chain_ids
        from arstore.store.ingest.incoming import IncomingImage, IncomingLayer

        config = self.config(image)
        with self.graph_of(image).read() as snapshot:
            found = {d: snapshot.blob(d) or snapshot.lent(d) for d in image.record.layers}
        sizes = {digest: blob.size for digest, blob in found.items() if blob is not None}
        missing = [digest for digest in image.record.layers if digest not in sizes]
        if missing:
            raise MissingBlobError(missing[0], "is not in the store", BRING_BACK)
        layers = tuple(
            IncomingLayer(Digest(digest), sizes[digest], diff_id, chain_id)
            for digest, diff_id, chain_id in zip(
                image.record.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True
            )
        )
        return IncomingImage(
            image.digest,
            image.record.media_type,
            self.read_blob(image.digest),
            Digest(image.record.config),
            config.raw,
            layers,
            image.record.platform,
            image.record.created,
        )

    # --- trees ------------------------------------------------------------------------------------------------------

    def stack(self, image: StoredImage, progress: Progress | None = None) -> list[str]:
        """The keys of the trees that make *image*'s root file system, top first, each once; built where they are
        missing.

        Of a tree that a stack has twice only the topmost place counts. Raises PermissionDeniedError when trees would
        have to be built and this process may not, and the errors of `take`.
        """
        return [key for key, _ in self.stack_records(image, progress)]

    def stack_records(self, image: StoredImage, progress: Progress | None = None) -> list[tuple[str, TreeRecord]]:
        """What `stack` gives, with the records of the trees. Raises as it does."""
        found = self.trusted_stack(image)
        return self.build_stack(image, progress) if found is None else found

    def build_stack(
        self, image: StoredImage, progress: Progress | None = None, own_trees: bool = False
    ) -> list[tuple[str, TreeRecord]]:
        """Build those of the trees of *image* that are missing or not trusted; return them all. Raises as `stack`.

        With *own_trees*, those too that only additional stores have.
        """
        hint = "use `arstore unpack IMAGE DIR`, which needs no trees"
        if self.graph.access is Access.FROZEN:
            why = "its trees are missing, or may not be whole, and cannot be built on a read-only file system"
            raise PermissionDeniedError(image.label, why, hint)
        forms = self.tree_forms()
        if not forms:
            hint = ", or ".join(filter(None, (as_root(), "use `arstore unpack IMAGE DIR`, which needs no trees")))
            raise PermissionDeniedError(image.label, "its trees are not built, and this user may not build them", hint)
        from arstore.store.ingest.incoming import NoBlobs

        (taken,) = self.take([self.incoming(image)], [], NoBlobs(), forms, progress, own_trees=own_trees)
        found = self.trusted_stack(self.find(image.digest), own_trees)
        if found is None:
            why = f"its trees could not be built here: {taken.denied}" if taken.denied else "its trees are gone again"
            raise PermissionDeniedError(image.label, why)
        return found

    def trusted_stack(self, image: StoredImage, own_trees: bool = False) -> list[tuple[str, TreeRecord]] | None:
        """Look for the trees that make *image*'s root file system, top first, with their records; build nothing.

        None when one is missing or may not be relied on. Raises NotFoundError, StoreDamagedError.
        """
        image = self.ours(image)
        if image.record.cap is None:
            return None
        keys = [layer.tree for _, layer in reversed(self.chain(image))]
        if image.record.cap:
            keys.insert(0, image.record.cap)
        return self.inventory(own_trees=own_trees).trusted_records(list(dict.fromkeys(keys)))

    @contextmanager
    def blank(self, number: int) -> Iterator[LowerDirectory]:
        """An empty layer, to stand below an image that has too few trees for an overlay. Raises OSError."""
        from arstore.trees.format import LowerDirectory

        path = self.directories.make_blank(number)
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield LowerDirectory(fd, path)
        finally:
            os.close(fd)

    def sync_trees(self) -> int:
        """Make the trees of this boot durable, so that they outlive it; return how many there were. Raises OSError."""
        from arstore.store.durability import sync_trees

        return sync_trees(self.directories, self.graph)


def _survives_copy(form: str) -> bool:
    """Whether trees of the form with this name can be relied on after the store was copied."""
    from arstore.trees.forms import properties

    return properties(form).survives_copy
