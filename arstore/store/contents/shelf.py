"""The directory `graph/contents/`: its segments, and their addition and removal.

    graph/contents/<number>   a segment; where several have a tree, that with the largest number counts
    graph/contents/new        a segment that is being written, or was when its process died

An import adds a segment with its trees, and merges smaller ones into it, so that their number grows with the logarithm of
the store: a segment is merged if those after it are more than half as large. Segments of more than `_MERGED` bytes are
only merged by `tidy`, so that an import never writes much more than its own. A segment is written under another name and
then renamed; nothing is synced, because a torn segment has another checksum and is ignored.

Writers hold flock(2) on the directory. Readers hold nothing: a file that vanishes was merged, and they list again.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.store.contents.segment import Segment, SegmentError, tree_id, write
from arstore.trace import reached
from arstore.trees.contents.page import PageError, split
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from arstore.store.contents.segment import Place
    from arstore.trees.contents.page import Page

_NEW = "new"
_MERGED = 32 << 20
_ATTEMPTS = 8
_MOST = 12
"""Number of segments from which on `tidy` merges them in any case."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Fault(NamedTuple):
    """A file in the directory that is not a sound segment: its name, and what is wrong."""

    name: str
    why: str


class Held(NamedTuple):
    """Where the pages of a tree are: the number of the segment, of the first page, and how many."""

    segment: int
    first: int
    count: int


class Index:
    """Open segments, the most recent first, and where in them each tree is."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = list(segments)
        self.trees: dict[bytes, Held] = {}
        for number in range(len(self.segments)):
            self._enter(number)

    def add(self, segment: Segment) -> None:
        """Take another segment, whose trees the others do not have."""
        self.segments.append(segment)
        self._enter(len(self.segments) - 1)

    def _enter(self, number: int) -> None:
        pages = self.segments[number].pages
        trees, first = self.trees, 0
        while first < len(pages):
            tree, last = pages[first].tree, first + 1
            while last < len(pages) and pages[last].tree == tree:
                last += 1
            if tree not in trees:
                trees[tree] = Held(number, first, last - first)
            first = last

    def drop(self, number: int) -> None:
        """Forget everything in the segment with this number, which turned out to be damaged."""
        self.trees = {tree: held for tree, held in self.trees.items() if held.segment != number}

    def pages(self, number: int) -> list[Place]:
        """Return the pages of a segment that count: no more recent one has their tree."""
        trees = self.trees
        found = []
        for at, page in enumerate(self.segments[number].pages):
            held = trees.get(page.tree)
            if held is not None and held.segment == number and held.first <= at < held.first + held.count:
                found.append(page)
        return found


class Shelf:
    """The segments in a directory, which may be missing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is anything."""
        return os.path.isdir(self.path)

    # --- reading ----------------------------------------------------------------------------------------------------

    @contextmanager
    def opened(self, but: Collection[str] = ()) -> Iterator[Index]:
        """Open the sound segments during the context, except those at the paths *but*. Raises OSError."""
        with ExitStack() as stack:
            yield Index(self._open(stack, but))

    def _open(self, stack: ExitStack, but: Collection[str]) -> list[Segment]:
        for _ in range(_ATTEMPTS):
            with ExitStack() as opened:
                found = []
                try:
                    for path in (f"{self.path}/{name}" for name in self._names()):
                        with suppress(SegmentError):
                            if path not in but:
                                found.append(opened.enter_context(Segment.open(path)))
                except FileNotFoundError:
                    continue
                stack.push(opened.pop_all())
                return found
        return []

    def _names(self) -> list[str]:
        """Return the names of the segments, the most recent first."""
        try:
            names = [name for name in os.listdir(self.path) if name.isdecimal() and name.isascii()]
        except FileNotFoundError:
            return []
        return sorted(names, key=int, reverse=True)

    def faults(self, deep: bool) -> list[Fault]:
        """Return the damaged segments, and files that are none; *deep* reads all of them. Raises OSError."""
        found = []
        with suppress(FileNotFoundError):
            found = [Fault(name, "is not a segment") for name in os.listdir(self.path) if not _is_name(name)]
        for name in self._names():
            with suppress(FileNotFoundError):
                try:
                    with Segment.open(f"{self.path}/{name}") as segment:
                        if deep:
                            _verify(segment)
                except SegmentError as error:
                    found.append(Fault(name, str(error)))
        return found

    # --- writing ----------------------------------------------------------------------------------------------------

    def add(self, contents: Mapping[str, str]) -> None:
        """Add trees by key, with the files of their pages. It is a cache: what fails is left out."""
        new = []
        for key, path in contents.items():
            with suppress(OSError, PageError), open(path, "rb") as file:
                new.append((tree_id(key), list(split(memoryview(file.read())))))
        self.put([(tree, pages) for tree, pages in new if pages])

    def put(self, new: Sequence[tuple[bytes, Sequence[Page]]]) -> bool:
        """Add trees by id, with their pages; return whether that worked."""
        if not new:
            return True
        with suppress(OSError, SegmentError):
            os.makedirs(self.path, 0o700, exist_ok=True)
            with self._locked(), ExitStack() as stack:
                names = self._names()
                self._write(names, self._small(names, stack), new)
                return True
        return False

    def tidy(self, keys: Collection[str]) -> None:
        """Remove pages of trees other than *keys*, if they are many; merge many segments; remove damaged ones.

        It is a cache: what fails is left.
        """
        kept = {tree_id(key) for key in keys}
        with suppress(OSError, SegmentError), self._locked(), ExitStack() as stack:
            for fault in self.faults(deep=False):
                os.unlink(f"{self.path}/{fault.name}")
            names = self._names()
            segments = [stack.enter_context(Segment.open(f"{self.path}/{name}")) for name in names]
            index = Index(segments)
            index.trees = {tree: held for tree, held in index.trees.items() if tree in kept}
            sources = [(segment, index.pages(number)) for number, segment in enumerate(segments)]
            rows = sum(page.head.rows for segment in segments for page in segment.pages)
            used = sum(page.head.rows for _, pages in sources for page in pages)
            if not used:
                for name in names:
                    os.unlink(f"{self.path}/{name}")
            elif 2 * used < rows or len(names) > _MOST:
                self._write(names, [(one, pages) for one, pages in sources if pages], [], len(names))

    def clear(self, names: Collection[str]) -> None:
        """Remove these files. Raises OSError."""
        with suppress(FileNotFoundError), self._locked():
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(f"{self.path}/{name}")

    def _small(self, names: Sequence[str], stack: ExitStack) -> list[tuple[Segment, Sequence[Place]]]:
        """Return the most recent segments that are merged into the next one, with the pages that count."""
        segments: list[Segment] = []
        total = 0
        for name in names:
            path = f"{self.path}/{name}"
            size = os.stat(path).st_size
            if size > _MERGED or (segments and size > 2 * total):
                break
            try:
                segments.append(stack.enter_context(Segment.open(path)))
            except SegmentError:
                break
            total += size
        index = Index(segments)
        return [(segment, index.pages(number)) for number, segment in enumerate(segments)]

    def _write(
        self,
        names: Sequence[str],
        merged: Sequence[tuple[Segment, Sequence[Place]]],
        new: Sequence[tuple[bytes, Sequence[Page]]],
        gone: int | None = None,
    ) -> None:
        """Write one segment in place of the *gone* first of *names* (by default of *merged*). Raises OSError."""
        fresh = {tree for tree, _ in new}
        sources = [(one, [page for page in pages if page.tree not in fresh]) for one, pages in merged]
        staged = f"{self.path}/{_NEW}"
        fd = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            write(fd, sources, new)
        except BaseException:
            os.unlink(staged)
            raise
        finally:
            os.close(fd)
        reached("contents.written")
        os.rename(staged, f"{self.path}/{int(names[0]) + 1 if names else 1}")
        reached("contents.placed")
        for name in names[: len(merged) if gone is None else gone]:
            os.unlink(f"{self.path}/{name}")
        reached("contents.merged")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.path, _OPEN)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _is_name(name: str) -> bool:
    return (name.isdecimal() and name.isascii()) or name == _NEW


def _verify(segment: Segment) -> None:
    """Read all of a segment. Raises SegmentError, OSError."""
    from arstore.store.contents.segment import DIGESTS, KEYS, NAMES

    for number in (KEYS, DIGESTS, NAMES):
        for _ in segment.section(number):
            pass
    for page in segment.pages:
        segment.names(page)


