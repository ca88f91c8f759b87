"""One pass over a layer's blob: everything that has to be known or kept of it, from one reading of its bytes.

    source -> verify digest and size, keep the blob -> inflate -> diff ID, keep the tar -> entries -> tree

Each of the four stages has a thread of its own (`readahead`).

Nothing here gives anything a name: all files are made where the caller says, inside an ingest. Memory is bounded by a
few buffers, whatever the layer's size, and by the number of directories in it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from arstore.digest import CHUNK, Digest, VerifiedReader
from arstore.disk.free_space import EVERY, Room
from arstore.errors import DigestMismatchError, LimitError
from arstore.graph.records import RULES
from arstore.linux.files.writing import write_all
from arstore.tar.compression import decompressed
from arstore.tar.limits import ACCEPTED, Limits, raising
from arstore.tar.reader import TarReader
from arstore.tar.steps import LAYER, Steps
from arstore.tar.whiteout import classify
from arstore.trace import reached
from arstore.trees.attributes import Attributes
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
        """What changes a layer's entries on their way into a tree."""

        def pay(self, steps: Steps, limits: Limits) -> None:
            """Take from *steps* what it costs, and keep within *limits*."""

        def survey(self, reader: EntryReader) -> None:
            """Take what has to be known of all entries before the first one is changed."""

        def attach(self, builder: TreeBuilder) -> None:
            """Take notice of the builder that gets the entries, and answer its hard links."""

        def entries(self, reader: EntryReader) -> Iterable[tuple[Entry, Content]]:
            """The entries to build from, each with the content to read before the next is taken."""


SMALL = 256 << 10
"""Bytes of a blob below which a layer is not worth threads, nor a process, of its own."""
_REPORT_EVERY = 4 << 20
"""Bytes between two progress reports."""


class LayerPass(NamedTuple):
    """What is known of a layer's blob beforehand, and what is wanted from the pass.

    `blob` is where the blob lies when the pass is over; it is written there when `keep` is set, and otherwise there
    already. `tree` is the directory to build the tree in, "" for none: the entries are then checked only. A pass builds
    the first of `forms`; the others are for further passes, if that one cannot represent the layer (`layer_jobs`).
    `adaptation` moves entries for the layer's parents, and has the blob read once more before; it is for blobs that are
    in their place. `limits` are for blobs from outside: what the store has accepted once is read again without them.
    `account` has the memory that is shared with other layers. Steps count in `tally`, under `number`, on from those
    that `counted` says; without one they are those of the limits. `inflating` counts the bytes of all layers' tars.
    Of a blob that `is_promised`, more may have been announced than comes, so its bytes count in `tally` as they come.
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

    def come(self, count: int) -> None:
        """Note that *count* more bytes of the blob have come, if its size is no more than what was announced."""
        if self.is_promised and self.tally is not None:
            self.tally.come(self.number, count)

    def check_inflated(self, size: int) -> None:
        """Note that this layer has inflated to *size* bytes so far. Raises LimitError when all have to too much."""
        if self.inflating is not None and self.inflating.note(self.number, size):
            why = f"its layers inflate to more than {self.inflating.most} bytes together"
            name = "ratio" if self.inflating.most < self.limits.inflated else "inflated"
            raise LimitError("the image", why, raising(name))

    def steps(self, report: Callable[[int], None]) -> Steps:
        """The steps that this pass may take; *report* is told of no bytes whenever a million more were."""
        tally = self.tally
        if tally is None:
            return Steps(self.limits.steps)

        def told(count: int) -> bool:
            is_too_much = tally.note(self.number, count)
            report(0)
            return is_too_much

        return Steps(tally.most, told, self.counted)

    def moved(self, to: Callable[[str], str]) -> LayerPass:
        """The same work where *to* tells other paths for the files it makes."""
        blob = to(self.blob) if self.keep else self.blob
        return self._replace(blob=blob, tree=to(self.tree) if self.tree else "")

    @property
    def form(self) -> TreeFormat | None:
        """The form to build; None when no tree is wanted."""
        return self.forms[0] if self.forms and self.tree else None


@answer
class LayerOutcome(NamedTuple):
    """What a pass found: all of it verified. `stat` is None when no tree was built; `denied` then says why not."""

    tar_size: int
    needs: Needs
    stat: TreeStat | None
    form: str = ""
    denied: str = ""


def take_layer(work: LayerPass, source: Reader, report: Callable[[int], None]) -> LayerOutcome:
    """Read *source* to its end and do what *work* asks, with the first of its forms.

    Raises UnrepresentableError when that form cannot represent the layer (the blob is whole and verified then), the
    errors of VerifiedReader, of `arstore.tar`, DigestMismatchError when the inflated tar does not have the
    diff ID, NoSpaceError before the file system is full, and OSError. When the host does not permit a tree to be built
    (an ordinary user's chown), the rest of the pass goes on without one.
    """
    steps = work.steps(report)
    steps.take(LAYER)
    if work.adaptation is not None:
        work.adaptation.pay(steps, work.limits)
        _survey(work, work.adaptation, steps)
    return _pass(work, source, report, steps)


def _survey(work: LayerPass, adaptation: Adaptation, steps: Steps) -> None:
    """Let *adaptation* read the blob, which is verified when the tree is built."""
    what = f"layer {work.digest}"
    with open(work.blob, "rb", buffering=0) as blob:
        adaptation.survey(TarReader(decompressed(blob, what, limits=work.limits), what, work.limits, steps=steps))


def _pass(work: LayerPass, source: Reader, report: Callable[[int], None], steps: Steps) -> LayerOutcome:
    what = f"layer {work.digest}"
    with _new_file(work.blob if work.keep else "") as keep, _new_file(_tar_path(work)) as tar:
        room = _room(work, what)
        verified = VerifiedReader(source, work.digest, work.size, what)
        stored = _Kept(verified, keep, report, work.sync, room, work.come)
        # A thread costs as much as a small layer.
        stage = nullcontext if work.size is not None and work.size < SMALL else ReadAhead
        with stage(stored) as kept, stage(decompressed(kept, what, limits=work.limits)) as inflated:
            plain = _Hashed(inflated, work.diff_id, tar, room, work.check_inflated)
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
    """Build the tree; what keeps this form, or this process, from doing so is returned when the rest has been read."""
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
    # What was kept of the layer is let go, and the rest of it read for its errors.
    built = built.with_traceback(None)
    _check_entries(reader, work.limits)
    if isinstance(built, UnrepresentableError):
        return built
    return Needs(), None, built.strerror or "not permitted"


def _filled(
    work: LayerPass, fd: int, reader: TarReader, watched: _Watched, steps: Steps
) -> tuple[Needs, TreeStat] | UnrepresentableError | PermissionError:
    """Build the tree. A fault of the blob's side is raised, whatever it looks like: it says nothing of the form."""
    assert work.form is not None, "a tree of no form"
    builder = work.form.builder(fd, work.limits, work.account, steps)
    if work.adaptation is not None:
        work.adaptation.attach(builder)
    try:
        needs, stat = _build_tree(builder, _entries(work, reader))
        sum_of_needs = write_needs(fd, needs)
        reached("take.tree-built")
    except (PermissionError, UnrepresentableError) as error:
        if error is watched.failure:
            raise
        return error
    finally:
        builder.close()
    return needs, stat._replace(sums=(*stat.sums, sum_of_needs, RULES))


def _entries(work: LayerPass, reader: TarReader) -> Iterable[tuple[Entry, Content]]:
    if work.adaptation is not None:
        return work.adaptation.entries(reader)
    return ((entry, reader) for entry in reader)


def _build_tree(builder: TreeBuilder, entries: Iterable[tuple[Entry, Content]]) -> tuple[Needs, TreeStat]:
    for entry, content in entries:
        builder.add(entry, content)
    return builder.finish()


def _check_entries(reader: TarReader, limits: Limits) -> None:
    """Read the entries for their errors alone."""
    attributes = Attributes(limits.strict_xattrs)
    for entry in reader:
        classify(entry.path)
        attributes.sift(entry)


class _Watched:
    """The stream that entries are read from. `failure` is what reading it has raised."""

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
    """A stream on its way to the inflater, written to a file as it passes, which is durable once the end was read."""

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
            # At the end, which is known to be the right one; the other stages still have work to do meanwhile.
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
        """Take what the inflater left, so that the blob is whole and verified."""
        while self.read(CHUNK):
            pass
        self._report(self._unreported)


class _Hashed:
    """The inflated stream, hashed (and written) as it passes."""

    def __init__(
        self,
        source: Reader,
        diff_id: Digest,
        tar: int,
        room: Room | None = None,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self._source = source
        self._room = room
        self._expected = diff_id
        self._hash = diff_id.new_hash()
        self._tar = tar
        self._check = check
        self._unchecked = 0
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(CHUNK if size < 0 else size)
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
        found = Digest.finished(self._expected.algorithm, self._hash)
        if found != self._expected:
            raise DigestMismatchError(what, f"inflates to {found}, but its diff ID is {self._expected}")


def _room(work: LayerPass, what: str) -> Room | None:
    """What watches over the file system while the blob and the tree are written; None for what may fill it."""
    place = work.blob if work.keep else work.tree
    if not place or not (work.keep or work.limits.reserve is None or work.limits.reserve):
        return None
    return Room(place, work.limits, what, (work.size or 0) if work.keep else 0)


def _tar_path(work: LayerPass) -> str:
    """Where the uncompressed tar is to be kept; "" when the form does not want it."""
    return f"{work.tree}/{TAR}" if work.form is not None and work.form.properties.keeps_tar else ""


@contextmanager
def _new_file(path: str) -> Iterator[int]:
    """A new file, open for writing; -1 when there is no path."""
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
    """The entries of a layer's blob; leaving the context reads to the end and verifies digest, size and diff ID.

    Raises as `take_layer`, when the context ends at the latest: what was made of the entries counts only after that.
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
