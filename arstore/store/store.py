"""The store: all other packages use it through this class.

Opening a store makes missing directories and reads nothing else. Modules that most commands do not need are imported on
first use. Several processes may have a store open; each sees what another has published in its next transaction.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.access import Access, require_writable
from arstore.disk.owner import withdraw
from arstore.disk.paths import Directories
from arstore.errors import (
    BRING_BACK,
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
from arstore.trees.contents import AUTO
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from arstore.disk.staging import Ingest
    from arstore.graph.records import LayerRecord, TreeRecord
    from arstore.oci.config import ImageConfig
    from arstore.oci.platform import Platform
    from arstore.store.additional import Wanted
    from arstore.store.containers import Containers
    from arstore.store.elsewhere import Elsewhere
    from arstore.store.ingest.incoming import BlobSource, IncomingAttachment, IncomingImage, IncomingIndex, TakenImage
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.ingest.need import Need
    from arstore.store.leftovers import Clearance
    from arstore.store.progress import Progress
    from arstore.store.volumes import Volumes
    from arstore.tar.limits import Limits
    from arstore.trees.attributes import Dropped
    from arstore.trees.erofs.shared_mounts import SharedMounts
    from arstore.trees.format import LowerDirectory, TreeFormat


class MovedName(NamedTuple):
    """A name that moved to another image: the digests of the old and of the new one."""

    name: str
    was: str
    digest: str


class Untagged(NamedTuple):
    """A removed name, the digest of its image, and the image's remaining names."""

    name: str
    digest: str
    left: tuple[str, ...]


class Store:
    """A store in two directories; as a context manager, it closes itself."""

    def __init__(
        self,
        root: str,
        runroot: str,
        *,
        create: bool = True,
        additional: Sequence[Wanted] = (),
        may_lack: bool = False,
    ) -> None:
        """Open the store; *create* makes a missing one, and *may_lack* treats a missing one as empty.

        *additional* are stores whose images are used in place (`additional`). Raises NoStoreError without *create*;
        PermissionDeniedError, NoSpaceError or HostError when the directories cannot be made; and the errors of Graph
        when it is first read.
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
        """Access to additional stores; None if there are none."""
        if additional:
            from arstore.store.elsewhere import Elsewhere

            self.elsewhere = Elsewhere(self.directories, self.graph, lambda: self.forms, additional)
        self.relief: Callable[[], int] | None = None
        """Frees leftovers that no list names, for an import that may not fit; returns the bytes freed."""
        self.give_up: Callable[[int, int, frozenset[str]], int] | None = None
        """Gives up cached trees for an import that may not fit otherwise; see `Clearance`."""
        self.fit: Callable[[Need, Sequence[str]], None] | None = None
        """Keeps the store within its budget: gives up cached trees, or raises BudgetError; None without a budget."""
        self.protects: tuple[str, ...] = ()
        """Patterns of the names and digests of images that are protected (`store.protection`)."""
        self.given_up = (0, 0)
        """Number of images whose trees this process has given up for others, and bytes freed."""
        self.has_taken = False  # anything, by this process
        self.moved: list[MovedName] = []
        """Names that this process has moved from one image to another."""
        self._clearance: Clearance | None = None
        self._containers: Containers | None = None
        self._volumes: Volumes | None = None
        self._forms: dict[str, TreeFormat] = {}
        self.tree = "auto"
        """The form of new trees where nothing else is asked for: the name of a form, or `auto`."""
        self.file_digests = AUTO
        """The digests of files that imports compute: one of `trees.contents.MODES`."""
        self.dropped: Dropped | None = None
        """Extended attributes that could not be kept in the trees of the images taken in."""

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the graph, once nothing in the store belongs to this process; a later use opens it again."""
        self.release()
        withdraw(self.graph.path)

    def release(self) -> None:
        """Close the graph and those of additional stores, as needed before a fork; the next use opens them again."""
        self.graph.release()
        if self.elsewhere is not None:
            self.elsewhere.stores.release()

    @property
    def volumes(self) -> Volumes:
        """The store's named volumes."""
        if self._volumes is None:
            from arstore.store.volumes import Volumes

            self._volumes = Volumes(self.directories, self.graph)
        return self._volumes

    @property
    def containers(self) -> Containers:
        """The store's containers."""
        if self._containers is None:
            from arstore.store.containers import Containers

            self._containers = Containers(self.directories, self.graph)
        return self._containers

    @property
    def clearance(self) -> Clearance:
        """Deletion of dead processes' leftovers, done before something comes in."""
        if self._clearance is None:
            from arstore.store.leftovers import Clearance

            self._clearance = Clearance(self.directories, self.graph, self.relief, self.give_up)
        return self._clearance

    @property
    def cleared(self) -> int:
        """Bytes freed by deleting leftovers."""
        return self._clearance.freed if self._clearance is not None else 0

    @property
    def shared(self) -> SharedMounts:
        """Mounts of trees that other processes hold."""
        from arstore.trees.erofs.shared_mounts import SharedMounts

        return SharedMounts(self.directories.runroot)

    @property
    def forms(self) -> dict[str, TreeFormat]:
        """The tree formats by name; made on first use, because most commands do not need them."""
        if not self._forms:
            from arstore.linux.isolation import user_namespace
            from arstore.trees.directory.form import DirectoryFormat
            from arstore.trees.erofs.form import ErofsFormat
            from arstore.trees.forms import SINGLE, USER

            maps = None if user_namespace.is_initial() else user_namespace.current()
            extracted = (DirectoryFormat(), DirectoryFormat(USER, maps), DirectoryFormat(SINGLE, maps))
            self._forms = {form.name: form for form in (*extracted, ErofsFormat(self.shared))}
        return self._forms

    def inventory(self, again: frozenset[str] = frozenset(), own_trees: bool = False) -> Inventory:
        """Return a view of the content that is there and trusted, except for the trees *again*.

        With *own_trees*, trees of additional stores are not counted.
        """
        from arstore.store.ingest.inventory import Inventory

        if self.elsewhere is not None:
            return self.elsewhere.inventory(again, own_trees)
        return Inventory(self.directories, self.graph, lambda: self.forms, again)

    # --- images and names -------------------------------------------------------------------------------------------

    def images(self) -> list[StoredImage]:
        """Return all images and indexes, sorted by digest."""
        with self.graph.read() as snapshot:
            return images_of(snapshot)

    def find(self, text: str, exact: bool = False) -> StoredImage:
        """Return the image or index that *text* means: a name, a digest, or a unique start of a digest.

        A name may be spelled as other tools do, unless *exact* is set: a command that removes something removes exactly
        what was named, never something with a similar name. Raises InvalidReferenceError, NotFoundError,
        AmbiguousError.
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
        """Return the names of an image, sorted. Raises the errors of Graph."""
        with self.graph.read() as snapshot:
            return snapshot.names_of(digest)

    def find_image(self, text: str, platform: Platform | None = None) -> StoredImage:
        """Return the image that *text* means; for an index, its image for this host (else its only one).

        With *platform*, the image must run there. Raises PlatformError, and the errors of `find`.
        """
        found = self.find(text)
        if found.record.is_index:
            return self._of_index(found, platform)
        if platform is not None:
            from arstore.errors import PlatformError
            from arstore.oci.platform import recorded, select

            if not select([recorded(found.record.platform)], platform):
                raise PlatformError(found.label, f"is for {found.record.platform}, not for {platform}")
        return found

    def _of_index(self, index: StoredImage, platform: Platform | None = None) -> StoredImage:
        from arstore.errors import PlatformError
        from arstore.oci.platform import host, recorded, select

        with self.graph_of(index).read() as snapshot:
            images = members_of(snapshot, index.record)
        wanted = platform or host()
        order = select([recorded(record.platform) for _, record in images], wanted)
        if not order and (platform is not None or len(images) != 1):
            have = ", ".join(record.platform for _, record in images) or "none"
            raise PlatformError(index.label, f"has no image for {wanted}", f"it has {have}; name one by its digest")
        digest, record = images[order[0] if order else 0]
        return self.ours(StoredImage(Digest(digest), record, lambda: index.names, index.label, index.home))

    def members(self, index: StoredImage) -> list[StoredImage]:
        """Return the images of *index* and of nested indexes, in order; those not in the store are left out."""
        with self.graph_of(index).read() as snapshot:
            found = members_of(snapshot, index.record)
        home = index.home
        names_of = self.names_of if home is None else home.names_of
        return [StoredImage(Digest(digest), record, partial(names_of, digest), home=home) for digest, record in found]

    def graph_of(self, image: StoredImage) -> Graph:
        """Return the graph with the records of *image*: this store's, or an additional store's."""
        return self.graph if image.home is None else image.home.graph

    def chain(self, image: StoredImage) -> list[tuple[str, LayerRecord]]:
        """Return the layers of *image* from the bottom up, with chain IDs. Raises NotFoundError, StoreDamagedError."""
        with self.graph_of(image).read() as snapshot:
            return chain_of(snapshot, image)

    def ours(self, image: StoredImage) -> StoredImage:
        """Return *image* as this store records it, if it does: the own store comes first."""
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
        """Return *image* as an image of this store; one of an additional store is recorded here first.

        Its documents are copied here, and its layers' blobs stay where they are. So a name or a container always refers
        to an image that this store records. Raises the errors of `take`.
        """
        if image.home is None or self.elsewhere is None:
            return image
        from arstore.store.ingest.incoming import NoBlobs

        members = self.members(image) if image.record.is_index else [image]
        indexes = self._incoming_indexes(image) if image.record.is_index else []
        self.take([self.incoming(one) for one in members], indexes, NoBlobs(), self.tree_forms())
        return self.ours(image)

    def _incoming_indexes(self, index: StoredImage) -> list[IncomingIndex]:
        """Return *index* and its nested indexes, as for an import."""
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
        """Hold a lease on *image* during the context; images of additional stores cannot be held.

        Raises the errors of `lease.leased`.
        """
        from arstore.store.collect.lease import leased

        if image.home is not None:
            yield
            return
        with leased(self.graph, image.digest, purpose):
            yield

    def tag(self, text: str, name: str) -> str:
        """Name the image that *text* means *name*; return the name as stored.

        Raises InvalidReferenceError for the name, and the errors of `find`.
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
        """Remove one name, spelled as stored (the default tag may be left out); the image stays until collected.

        If *text* has a digest, the name is removed only if it refers to that. Raises InvalidReferenceError,
        NotFoundError.
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
                raise NotFoundError(text, f"the name refers to {digest}")
            change.delete("names", name)
        return Untagged(name, digest, self.names_of(digest))

    # --- blobs ------------------------------------------------------------------------------------------------------

    def blob_path(self, digest: str) -> str:
        """Return the path of the blob, here or in an additional store; if it is nowhere, the path it would have here.

        Raises AdditionalStoreError if it is recorded as lent, and no additional store has it now.
        """
        own = self.directories.blob(digest)
        if os.path.lexists(own):
            return own
        if self.elsewhere is not None and (found := self.elsewhere.blob_path(digest)) is not None:
            return found
        self.require_lender(digest)
        return own

    def require_lender(self, digest: str) -> None:
        """Raise AdditionalStoreError for a missing blob, if it is recorded as lent."""
        with self.graph.read() as snapshot:
            lent = snapshot.lent(digest)
        if lent is not None:
            from arstore.store.additional import lender_missing

            raise lender_missing(digest, lent, self.elsewhere.stores if self.elsewhere is not None else None)

    def read_blob(self, digest: str) -> bytes:
        """Return a document's bytes. Raises MissingBlobError, StoreDamagedError if its bytes have changed."""
        try:
            with open(self.blob_path(digest), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            raise MissingBlobError(digest, "its file is missing from the store", "`arstore check` shows more") from None
        if Digest.of(data, Digest(digest).algorithm) != digest:
            raise StoreDamagedError(digest, "its file has been altered", BRING_BACK)
        return data

    def config(self, image: StoredImage) -> ImageConfig:
        """Return the config of *image*, which must not be an index. Raises MissingBlobError, ManifestError."""
        from arstore.oci.config import ImageConfig
        from arstore.oci.document import STORED

        return ImageConfig.parse(self.read_blob(image.record.config), bounds=STORED)

    # --- taking in --------------------------------------------------------------------------------------------------

    @property
    def makes_trees(self) -> bool:
        """Whether this process may make trees."""
        from arstore.linux.isolation.capability import may_make_any_file

        return may_make_any_file()

    def tree_forms(self, name: str = "") -> tuple[TreeFormat, ...]:
        """Return the formats for new trees, best first; each layer uses the first that can represent it.

        Without a *name*, it is that of `tree`.
        For a *name*, this format, then extracted files; for `auto`, all that this host can mount, by rank. Empty if
        this process may not make trees: they are a cache, and the first mount makes them. Raises UsageError for an
        unknown format.
        """
        if not self.makes_trees:
            return ()
        from arstore.trees.forms import AUTO, FORMS, extracted, is_usable, properties

        name = name or self.tree
        files = self.forms[extracted().name]
        if name == AUTO:
            from arstore.mounts.probe import can_mount

            ranked = sorted(self.forms.values(), key=lambda form: form.properties.rank)
            others = (one for one in ranked if not one.properties.extracts and is_usable(one.properties))
            return (*(one for one in others if can_mount(self.directories, one)), files)
        if name not in self.forms:
            raise UsageError(name, f"no such tree format; there are {', '.join(FORMS)}")
        chosen = self.forms[name] if is_usable(properties(name)) else files
        return tuple(dict.fromkeys((chosen, files)))

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
        """Bring *images* into the store, all or none, and return what they became; *blobs* reads their layers.

        *attachments* belong to these or to stored images; an attachment of an attachment comes after it. *hints*
        (`graph.hints`) are recorded with the images.

        If another process is taking the same layers, wait for it, and reuse them.

        *limits* apply to everything read from outside. The trees *again* are rebuilt, and replace the existing ones
        unless these are in use by then. With *own_trees*, trees that additional stores have are built here too. Raises
        the errors of Intake and of publication; the store is then unchanged.
        """
        from arstore.store.ingest.taking import Taking

        taking = Taking(self, blobs, forms, progress, spool, again, limits, own_trees)
        return taking.take(images, indexes, attachments, hints or {})

    def note_taken(self, moved: Mapping[str, str], names: Mapping[str, str], dropped: Dropped) -> None:
        """Note what was published: *names* with the digests that they have now, and had before if they *moved*.

        *dropped* are the extended attributes that trees lack.
        """
        self.has_taken = True
        self.moved += [MovedName(name, was, names[name]) for name, was in moved.items()]
        if self.dropped is None:
            self.dropped = dropped
        else:
            self.dropped.add(dropped)

    def incoming(self, image: StoredImage) -> IncomingImage:
        """Return a stored image as for an import, so that its trees can be built."""
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
        """Return the keys of the trees of *image*'s root file system, top first, each once; build missing trees.

        If a tree occurs twice in a stack, only its topmost place counts. Raises PermissionDeniedError if trees would
        have to be built and this process may not; and the errors of `take`.
        """
        return [key for key, _ in self.stack_records(image, progress)]

    def stack_records(self, image: StoredImage, progress: Progress | None = None) -> list[tuple[str, TreeRecord]]:
        """Return the keys and records of the trees of `stack`. Raises the errors of `stack`."""
        found = self.trusted_stack(image)
        return self.build_stack(image, progress) if found is None else found

    def build_stack(
        self, image: StoredImage, progress: Progress | None = None, own_trees: bool = False
    ) -> list[tuple[str, TreeRecord]]:
        """Build those trees of *image* that are missing or not trusted; return all. Raises the errors of `stack`.

        With *own_trees*, trees that only additional stores have are built too.
        """
        hint = "use `arstore unpack IMAGE DIR`, which needs no trees"
        if self.graph.access is Access.FROZEN:
            why = "its trees are missing or incomplete, and cannot be built on a read-only file system"
            raise PermissionDeniedError(image.label, why, hint)
        require_writable(self.directories.root)
        forms = self.tree_forms()
        if not forms:
            from arstore.linux.isolation import rootless

            hint = ", or ".join(filter(None, (as_root(), "use `arstore unpack IMAGE DIR`, which needs no trees")))
            why = f" ({rootless.refused})" if rootless.refused else ""
            raise PermissionDeniedError(
                image.label, f"its trees are not built, and this user may not build them{why}", hint
            )
        from arstore.store.ingest.incoming import NoBlobs

        (taken,) = self.take([self.incoming(image)], [], NoBlobs(), forms, progress, own_trees=own_trees)
        found = self.trusted_stack(self.find(image.digest), own_trees)
        if found is None:
            why = f"its trees could not be built here: {taken.denied}" if taken.denied else "its trees are gone again"
            raise PermissionDeniedError(image.label, why)
        return found

    def trusted_stack(self, image: StoredImage, own_trees: bool = False) -> list[tuple[str, TreeRecord]] | None:
        """Find the trees of *image*'s root file system, top first, with their records; build nothing.

        None if one is missing or not trusted. Raises NotFoundError, StoreDamagedError.
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
        """Provide an empty layer, to put below an image with too few trees for an overlay. Raises OSError."""
        from arstore.trees.format import LowerDirectory

        path = self.directories.make_blank(number)
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield LowerDirectory(fd, path)
        finally:
            os.close(fd)

    def sync_trees(self) -> int:
        """Make the trees of this boot durable, so that they outlive it; return their number. Raises OSError."""
        from arstore.store.durability import sync_trees

        return sync_trees(self.directories, self.graph)


def _survives_copy(form: str) -> bool:
    """Whether trees of this format are still trusted after the store was copied."""
    from arstore.trees.forms import properties

    return properties(form).survives_copy
