"""One pass over a layer's blob, which reads its bytes once for everything that is needed or kept.

    source -> verify digest and size, keep the blob -> inflate -> diff ID, keep the tar -> entries -> tree

Each of the four stages has its own thread (`readahead`).

A pass publishes nothing: all files are made at the paths that the caller gives, inside an ingest. Memory is bounded by
a few buffers, whatever the layer's size, and by the number of directories in it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Protocol

from arstore.digest import CHUNK, Digest, VerifiedReader
from arstore.disk.free_space import EVERY, Room
from arstore.errors import DigestMismatchError, LimitError
from arstore.graph.records import RULES
from arstore.linux.files.writing import write_all
from arstore.tar.compression import Compression, decompressed
from arstore.tar.limits import ACCEPTED, Limits, raising
from arstore.tar.reader import TarReader
from arstore.tar.steps import LAYER, Steps
from arstore.tar.whiteout import classify
from arstore.trace import reached
from arstore.trees.attributes import Attributes
from arstore.trees.contents import OFF
from arstore.trees.contents.file_digests import FileDigests
from arstore.trees.contents.page import pages
from arstore.trees.format import Needs, TreeStat, UnrepresentableError
from arstore.trees.forms import TAR
from arstore.trees.needs import write_needs
from arstore.values import NamedTuple
from arstore.workers.readahead import ReadAhead
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arstore.digest import Reader
    from arstore.tar.entry import Entry
    from arstore.trees.format import Content, EntryReader, TreeBuilder, TreeFormat
    from arstore.workers.shared_budget import Account, Tally

    class Adaptation(Protocol):
        """Changes a layer's entries before they go into a tree."""

        def pay(self, steps: Steps, limits: Limits) -> None:
            """Take the cost of the adaptation from *steps*, and stay within *limits*."""

        def survey(self, reader: EntryReader) -> None:
            """Read all entries before the first one is changed."""

        def attach(self, builder: TreeBuilder) -> None:
            """Receive the builder that gets the entries, and resolve its hard links."""

        def entries(self, reader: EntryReader) -> Iterable[tuple[Entry, Content]]:
            """Yield the entries to build from; the content of each has to be read before the next is taken."""


SMALL = 256 << 10
"""Blob size in bytes below which a layer gets neither its own threads nor its own process."""
_REPORT_EVERY = 4 << 20
"""Bytes between two progress reports."""


class LayerPass(NamedTuple):
    """Input of a pass: facts about a layer's blob, and the results wanted.

    `blob` is the blob's path after the pass; with `keep` it is written there, otherwise it exists already. `tree` is
    the directory to build the tree in; for "" the entries are only checked. A pass builds the first of `forms`; the
    others are for further passes, if that one cannot represent the layer (`layer_jobs`). `adaptation` changes entries
    to fit the layer's parents, and reads the blob twice; it needs a blob that is already in place. `limits` are for
    blobs from outside; blobs that the store has accepted are read without them. `account` has the memory shared with
    other layers. Steps count in `tally`, under `number`, starting from `counted`; without a tally they are limited by
    `limits`. `inflating` counts the bytes of all layers' tars. If the blob `is_promised`, its declared size may exceed
    the real one, so its bytes count in `tally` as they arrive. If the blob `is_linked`, its file exists, and is the
    tree's tar as well (`one_file`). `contents` is the path of a file for the pages of the tree (`trees.contents`), with
    digests of its files as `file_digests` says; "" for none.
    """

    digest: Digest
    size: int | None
    diff_id: Digest
    blob: str
    keep: bool = False
    forms: tuple[TreeFormat, ...] = ()
    tree: str = ""
    adaptation: Adaptation | None = None
    sync: bool = True
    limits: Limits = ACCEPTED
    account: Account | None = None
    tally: Tally | None = None
    number: int = 0
    counted: int = 0
    inflating: Tally | None = None
    is_promised: bool = False
    is_linked: bool = False
    contents: str = ""
    file_digests: str = OFF

    def come(self, count: int) -> None:
        """Note that *count* more bytes of the blob have arrived, if its size is only declared so far."""
        if self.is_promised and self.tally is not None:
            self.tally.come(self.number, count)

    def check_inflated(self, size: int) -> None:
        """Note that this layer has inflated to *size* bytes so far. Raises LimitError if all together exceed theirs."""
        if self.inflating is not None and self.inflating.note(self.number, size):
            why = f"its layers inflate to more than {self.inflating.most} bytes together"
            name = "ratio" if self.inflating.most < self.limits.inflated else "inflated"
            raise LimitError("the image", why, raising(name))

    def steps(self, report: Callable[[int], None]) -> Steps:
        """Return the steps that this pass may take; *report* is called with 0 after every million steps."""
        tally = self.tally
        if tally is None:
            return Steps(self.limits.steps)

        def told(count: int) -> bool:
            is_too_much = tally.note(self.number, count)
            report(0)
            return is_too_much

        return Steps(tally.most, told, self.counted)

    def moved(self, to: Callable[[str], str]) -> LayerPass:
        """Return the same work with the paths of the files that it makes mapped by *to*."""
        blob = to(self.blob) if self.keep else self.blob
        tree, contents = (to(path) if path else "" for path in (self.tree, self.contents))
        return self._replace(blob=blob, tree=tree, contents=contents)

    @property
    def form(self) -> TreeFormat | None:
        """The form to build; None if no tree is wanted."""
        return self.forms[0] if self.forms and self.tree else None


@answer
class LayerOutcome(NamedTuple):
    """The verified results of a pass. `stat` is None if no tree was built; `denied` then gives the reason."""

    tar_size: int
    needs: Needs
    stat: TreeStat | None
    form: str = ""
    denied: str = ""


def take_layer(work: LayerPass, source: Reader, report: Callable[[int], None]) -> LayerOutcome:
    """Read *source* to its end and do *work*, with the first of its forms.

    If the host does not permit a tree to be built (chown by an ordinary user), the rest of the pass continues without.

    Raises UnrepresentableError if that form cannot represent the layer (the blob is complete and verified then), the
    errors of VerifiedReader and of `arstore.tar`, DigestMismatchError if the inflated tar does not have the diff ID,
    NoSpaceError before the file system is full, and OSError.
    """
    steps = work.steps(report)
    steps.take(LAYER)
    if work.adaptation is not None:
        work.adaptation.pay(steps, work.limits)
        _survey(work, work.adaptation, steps)
    return _pass(work, source, report, steps)


def _survey(work: LayerPass, adaptation: Adaptation, steps: Steps) -> None:
    """Let *adaptation* read the blob; it is verified later, when the tree is built."""
    what = f"layer {work.digest}"
    with open(work.blob, "rb", buffering=0) as blob:
        adaptation.survey(TarReader(decompressed(blob, what, limits=work.limits), what, work.limits, steps=steps))


def _pass(work: LayerPass, source: Reader, report: Callable[[int], None], steps: Steps) -> LayerOutcome:
    what = f"layer {work.digest}"
    with _blob_file(work) as keep, _new_file("" if work.is_linked else tar_path(work)) as tar:
        room = _room(work, what)
        verified = VerifiedReader(source, work.digest, work.size, what)
        stored = _Kept(verified, keep, report, work.sync, room, work.come)
        # For a small layer a thread would cost as much as the work.
        stage = nullcontext if work.size is not None and work.size < SMALL else ReadAhead
        with stage(stored) as kept, stage(inflater := decompressed(kept, what, limits=work.limits)) as inflated:
            is_plain = inflater.compression is Compression.NONE
            if work.is_linked and not is_plain:
                raise DigestMismatchError(what, "is compressed, so its own digest cannot be its diff ID")
            # What is not compressed has one digest, which the first stage verifies.
            is_verified = is_plain and work.digest == work.diff_id
            plain = _Hashed(inflated, None if is_verified else work.diff_id, tar, room, work.check_inflated)
            with stage(plain) as hashed:
                watched = _Watched(hashed)
                reader = TarReader(watched, what, work.limits, steps=steps)
                built = _build(work, reader, watched, steps)
                reader.drain()
                steps.look()
            plain.verify(what)
            reached("take.layer-verified")
        stored.finish()
    if isinstance(built, UnrepresentableError):
        raise built
    needs, stat, denied = built
    form = work.form.name if work.form is not None and stat is not None else ""
    return LayerOutcome(plain.size, needs, stat, form, denied)


def _build(
    work: LayerPass, reader: TarReader, watched: _Watched, steps: Steps
) -> tuple[Needs, TreeStat | None, str] | UnrepresentableError:
    """Build the tree; if the form cannot represent it, or the host denies it, return the error after reading on."""
    if work.form is None:
        _check_entries(reader, work.limits)
        return Needs(), None, ""
    fd = os.open(work.tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        built = _filled(work, fd, reader, watched, steps)
    finally:
        os.close(fd)
    if isinstance(built, tuple):
        return (*built, "")
    # Release what was kept of the layer, and read the rest for its errors.
    built = built.with_traceback(None)
    _check_entries(reader, work.limits)
    if isinstance(built, UnrepresentableError):
        return built
    return Needs(), None, built.strerror or "not permitted"


def _filled(
    work: LayerPass, fd: int, reader: TarReader, watched: _Watched, steps: Steps
) -> tuple[Needs, TreeStat] | UnrepresentableError | PermissionError:
    """Build the tree; errors from reading the blob are raised even if they have the class of a form's error."""
    assert work.form is not None, "a tree of no form"
    builder = work.form.builder(fd, work.limits, work.account, steps)
    if work.adaptation is not None:
        work.adaptation.attach(builder)
    digests = FileDigests(work.file_digests) if work.contents and work.file_digests != OFF else None
    try:
        needs, stat = _build_tree(
            builder, _entries(work, reader), digests, None if work.form.properties.extracts else reader
        )
        sum_of_needs = write_needs(fd, needs)
        reached("take.tree-built")
    except (PermissionError, UnrepresentableError) as error:
        if error is watched.failure:
            raise
        return error
    finally:
        builder.close()
    if work.contents:
        _write_contents(work, work.form, fd, needs, digests)
    return needs, stat._replace(sums=(*stat.sums, sum_of_needs, RULES))


def _write_contents(work: LayerPass, form: TreeFormat, tree_fd: int, needs: Needs, digests: FileDigests | None) -> None:
    """Write the pages of the tree. They are a cache, so errors of writing are ignored."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(OSError):
        fd = os.open(work.contents, flags, 0o600)
        try:
            if work.adaptation is not None and digests is not None:
                from arstore.trees.contents.missing_digests import add_missing

                add_missing(form, tree_fd, digests)
            for page in pages(form.rows(tree_fd), digests, frozenset(needs.implied)):
                for part in page.parts():
                    write_all(fd, part)
        finally:
            os.close(fd)


def _entries(work: LayerPass, reader: TarReader) -> Iterable[tuple[Entry, Content]]:
    if work.adaptation is not None:
        return work.adaptation.entries(reader)
    return ((entry, reader) for entry in reader)


def _build_tree(
    builder: TreeBuilder,
    entries: Iterable[tuple[Entry, Content]],
    digests: FileDigests | None,
    reader: TarReader | None,
) -> tuple[Needs, TreeStat]:
    if digests is None:
        for entry, content in entries:
            builder.add(entry, content)
    else:
        digests.feed(builder, entries, reader)
    return builder.finish()


def _check_entries(reader: TarReader, limits: Limits) -> None:
    """Read the entries only for their errors."""
    attributes = Attributes(limits.strict_xattrs)
    for entry in reader:
        classify(entry.path)
        attributes.sift(entry)


class _Watched:
    """The stream that entries are read from. `failure` is the error that reading has raised."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._source.read(size)
        except BaseException as error:
            self.failure = error
            raise


class _Kept:
    """A stream on its way to the inflater, written to a file as it passes; the file is synced at the end."""

    def __init__(
        self,
        source: VerifiedReader,
        fd: int,
        report: Callable[[int], None],
        sync: bool = True,
        room: Room | None = None,
        come: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._source = source
        self._room = room
        self._fd = fd
        self._report = report
        self._come = come
        self._unreported = 0
        self._synced = not sync

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(CHUNK if size < 0 else size)
        self._come(len(data))
        if data and self._fd >= 0:
            write_all(self._fd, data)
            if self._room is not None:
                self._room.came(len(data))
        elif self._fd >= 0 and not self._synced:
            # The end is verified here. The other stages still have work to do during the sync.
            reached("take.blob-written")
            os.fdatasync(self._fd)
            self._synced = True
            reached("take.blob-synced")
        self._unreported += len(data)
        if self._unreported >= _REPORT_EVERY:
            self._report(self._unreported)
            self._unreported = 0
        return data

    def finish(self) -> None:
        """Read what the inflater left, so that the blob is complete and verified."""
        while self.read(CHUNK):
            pass
        self._report(self._unreported)


class _Hashed:
    """The inflated stream, hashed (and written) as it passes; without a diff ID it is not hashed."""

    def __init__(
        self,
        source: Reader,
        diff_id: Digest | None,
        tar: int,
        room: Room | None = None,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self._source = source
        self._room = room
        self._expected = diff_id
        self._hash = None if diff_id is None else diff_id.new_hash()
        self._tar = tar
        self._check = check
        self._unchecked = 0
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(CHUNK if size < 0 else size)
        if self._hash is not None:
            self._hash.update(data)
        self.size += len(data)
        self._unchecked += len(data)
        if self._check is not None and (self._unchecked >= EVERY or not data):
            self._unchecked = 0
            self._check(self.size)
        if data and self._tar >= 0:
            write_all(self._tar, data)
        if self._room is not None:
            self._room.note(len(data))
        return data

    def verify(self, what: str) -> None:
        if self._expected is None or self._hash is None:
            return
        found = Digest.finished(self._expected.algorithm, self._hash)
        if found != self._expected:
            raise DigestMismatchError(what, f"inflates to {found}, but its diff ID is {self._expected}")


def _room(work: LayerPass, what: str) -> Room | None:
    """Return the check for free space while blob and tree are written; None if they may fill the file system."""
    place = work.blob if work.keep else work.tree
    if not place or not (work.keep or work.limits.reserve is None or work.limits.reserve):
        return None
    return Room(place, work.limits, what, (work.size or 0) if work.keep else 0)


def tar_path(work: LayerPass) -> str:
    """Return the path for the uncompressed tar; "" if the form does not keep it."""
    return f"{work.tree}/{TAR}" if work.form is not None and work.form.properties.keeps_tar else ""


@contextmanager
def _blob_file(work: LayerPass) -> Iterator[int]:
    """Open the file to keep the blob in; -1 if it exists already."""
    if not (work.keep and work.is_linked):
        with _new_file(work.blob if work.keep else "") as fd:
            yield fd
        return
    fd = os.open(work.blob, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _new_file(path: str) -> Iterator[int]:
    """Open a new file for writing; -1 if the path is ""."""
    if not path:
        yield -1
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def verified_entries(source: Reader, digest: Digest, size: int | None, diff_id: Digest) -> Iterator[TarReader]:
    """Yield the entries of a layer's blob; leaving the context reads to the end and verifies digest, size and diff ID.

    Raises the errors of `take_layer`, at the end of the context at the latest: results count only after that.
    """
    what = f"layer {digest}"
    stored = _Kept(VerifiedReader(source, digest, size, what), -1, lambda _count: None)
    with ReadAhead(decompressed(stored, what)) as ahead:
        plain = _Hashed(ahead, diff_id, -1)
        reader = TarReader(plain, what, ACCEPTED)
        yield reader
        reader.drain()
        plain.verify(what)
    stored.finish()
