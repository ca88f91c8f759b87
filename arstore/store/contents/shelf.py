"""The directory `graph/contents/`: its segments, and their addition and removal.

    graph/contents/<number>   a segment; where several have a tree, that with the largest number counts
    graph/contents/new        a segment that is being written, or was when its process died

An import adds a segment with its trees, and merges smaller ones into it, so that their number grows with the logarithm
of the store: a segment is merged if those after it are more than half as large. Segments of more than `_MERGED` bytes
are only merged by `tidy`, so that an import never writes much more than its own. A segment is written under another
name and then renamed. Nothing is synced: a torn segment has another checksum, and is ignored.

Writers hold flock(2) on the directory. Readers hold nothing: a file that vanishes was merged, and they list again.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.store.contents.segment import Segment, SegmentError, announce, tree_id, write
from arstore.trace import reached
from arstore.trees.contents.page import PageError, split
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

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


class Index:
    """Open segments, the most recent first, and where in them each tree is."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = list(segments)
        self.trees: dict[bytes, int] = {}
        """For each tree the number of its segment."""
        self._pages: list[list[int]] = []
        for segment in self.segments:
            self._enter(segment)

    def add(self, segment: Segment) -> None:
        """Take another segment, whose trees the others do not have."""
        self.segments.append(segment)
        self._enter(segment)

    def _enter(self, segment: Segment) -> None:
        trees = self.trees
        number = len(self._pages)
        found = []
        for page, tree in enumerate(segment.trees):
            if trees.setdefault(tree, number) == number:
                found.append(page)
        self._pages.append(found)

    def keep(self, trees: Collection[bytes]) -> None:
        """Forget all other trees."""
        self.trees = {tree: number for tree, number in self.trees.items() if tree in trees}
        for number, pages in enumerate(self._pages):
            listed = self.segments[number].trees
            self._pages[number] = [page for page in pages if listed[page] in trees]

    def pages(self, number: int) -> list[int]:
        """Return the numbers of the pages of a segment that count: no more recent one has their tree."""
        return self._pages[number]


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

    def read_ahead(self, section: int) -> None:
        """Let the kernel read this section and the directories of all segments, while something else is done."""
        for name in self._names():
            with suppress(OSError, SegmentError), open(f"{self.path}/{name}", "rb", buffering=0) as file:
                announce(file.fileno(), section)

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
        """Return damaged segments and foreign files; *deep* reads all of them. Raises OSError."""
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
        with suppress(OSError):
            self.put([(tree, pages) for tree, pages in new if pages])

    def put(self, new: Sequence[tuple[bytes, Sequence[Page]]]) -> None:
        """Add trees by id, with their pages. Raises OSError."""
        if not new:
            return
        os.makedirs(self.path, 0o700, exist_ok=True)
        with self._locked(), ExitStack() as stack:
            names = self._names()
            try:
                self._write(names, self._small(names, stack), new)
            except SegmentError:
                # One that would have been merged is damaged, which a check will report.
                self._write(names, [], new)

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
            index.keep(kept)
            sources = [(segment, index.pages(number)) for number, segment in enumerate(segments)]
            rows = sum(segment.row_starts[-1] for segment in segments)
            used = sum(segment.total("rows", pages) for segment, pages in sources)
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

    def _small(self, names: Sequence[str], stack: ExitStack) -> list[tuple[Segment, Sequence[int]]]:
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
        merged: Sequence[tuple[Segment, Sequence[int]]],
        new: Sequence[tuple[bytes, Sequence[Page]]],
        gone: int | None = None,
    ) -> None:
        """Write one segment in place of the *gone* first of *names* (by default of *merged*). Raises OSError."""
        fresh = {tree for tree, _ in new}
        sources = [(one, [page for page in pages if one.trees[page] not in fresh]) for one, pages in merged]
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
    for page in map(segment.page, range(len(segment.trees))):
        segment.names(page)
