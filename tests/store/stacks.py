"""Stacks of layers for tests: built as trees and mounted, unpacked, and as a simple model says they should look.

The model is an extraction in a chroot, layer by layer: first what a layer's marks hide is removed, then its members are
put in their order, through whatever symlinks are there by then.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from store.tree_contract import keep_tar
from support import images, treelist

from arstore.digest import Digest
from arstore.store.adapt import OwnTree, cap_entries, plan
from arstore.store.directory import DirectoryFormat, hides_below
from arstore.store.erofs.files import MERGED
from arstore.store.erofs.merging import merge
from arstore.store.erofs.mounting import lower_directory
from arstore.store.merged import MergedView
from arstore.store.overlay import Overlay, perform
from arstore.store.tree import LowerDirectory
from arstore.store.unpack import Unpacker, UnpackReport
from arstore.tar.entry import Kind
from arstore.tar.reader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.store.adapt import Adaptation
    from arstore.store.tree import Needs, TreeFormat

Layer = list[images.Member]
Shown = tuple[object, ...]


# --- trees ----------------------------------------------------------------------------------------------------------


class Stack:
    """Trees of layers, bottom first, each adapted to those before it."""

    def __init__(self, directory: Path, form: TreeFormat | None = None) -> None:
        self.form = form or DirectoryFormat()
        self.directory = directory
        self.paths: list[Path] = []
        self.needs: list[Needs] = []
        self.adapted: list[bool] = []
        self._resources = ExitStack()
        self._fds: list[int] = []

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def view(self) -> MergedView:
        layers = zip(reversed(self._fds), reversed(self.needs), strict=True)
        return MergedView([(self.form, fd, frozenset(needs.implied)) for fd, needs in layers])

    def add(self, layer: Layer | bytes) -> Needs:
        """Build the layer's tree; a second one where it has to be adapted. The needs of the shared tree."""
        data = layer if isinstance(layer, bytes) else images.tar(layer)
        fd, needs = self._build(data, None)
        shared = needs
        adaptation = plan(needs, self.view(), OwnTree(self.form, fd, frozenset(needs.implied)))
        if adaptation is not None:
            fd, needs = self._build(data, adaptation)
            assert needs.absent_links == []
        self._fds.append(fd)
        self.needs.append(needs)
        self.adapted.append(adaptation is not None)
        return shared

    def cap(self) -> list[object]:
        return list(cap_entries(self.view(), {path for needs in self.needs for path in needs.masked}))

    def _build(self, data: bytes, adaptation: Adaptation | None) -> tuple[int, Needs]:
        if adaptation is not None:
            adaptation.survey(TarReader(io.BytesIO(data)))
        reader = TarReader(io.BytesIO(data))
        pairs = adaptation.entries(reader) if adaptation is not None else ((entry, reader) for entry in reader)
        fd = self._new()
        keep_tar(self.form, fd, data)
        builder = self.form.builder(fd)
        if adaptation is not None:
            builder.answer = adaptation.answer_for(builder)
        try:
            for entry, content in pairs:
                builder.add(entry, content)
            needs, _ = builder.finish()
        finally:
            builder.close()
        return fd, needs

    def _new(self) -> int:
        path = self.directory / f"tree{len(os.listdir(self.directory))}"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._resources.callback(os.close, fd)
        self.paths.append(path)
        return fd

    def merged(self, start: int, end: int) -> Path:
        """A merged index over the trees from *start* to before *end*, counted from the top."""
        members = []
        for path in list(reversed(self.paths_in_use()))[start:end]:
            key = Digest.of(path.name.encode())
            with suppress(FileExistsError):
                (self.directory / key.hex).symlink_to(path.name)
            members.append((key, str(path)))
        directory = self.directory / f"merged{start}-{end}"
        directory.mkdir()
        with open(directory / MERGED, "x+b") as file:
            merge(members, file.fileno())
        return directory

    def paths_in_use(self) -> list[Path]:
        """The directories of the trees that count: of an adapted layer, only that one."""
        return [Path(os.readlink(f"/proc/self/fd/{fd}")) for fd in self._fds]

    @contextmanager
    def mounted_with(self, runs: Sequence[tuple[int, int]], cap: bool = True) -> Iterator[Path]:
        """As `mounted`, with merged indexes in the place of these *runs* of trees, counted from the top."""
        starts = {start: self.merged(start, end) for start, end in runs}
        covered = {number for start, end in runs for number in range(start, end)}
        paths = list(reversed(self.paths_in_use()))
        with ExitStack() as stack:
            lowers: list[LowerDirectory] = []
            for number, path in enumerate(paths):
                if number in starts or number not in covered:
                    lower = lower_directory if number in starts else self.form.lower
                    lowers.append(stack.enter_context(lower(str(starts.get(number, path)))))
                    if hides_below(lowers[-1]):
                        break
            if cap and (entries := self.cap()):
                lowers.insert(0, stack.enter_context(self.form.lower(str(self._cap_tree(entries)))))
            with self._overlay(lowers) as target:
                yield target

    def _cap_tree(self, entries: list[object]) -> Path:
        fd = self._new()
        keep_tar(self.form, fd, b"")
        builder = self.form.builder(fd)
        for entry in entries:
            builder.add(entry, None)
        builder.finish()
        builder.close()
        return self.paths[-1]

    @contextmanager
    def _overlay(self, lowers: Sequence[LowerDirectory]) -> Iterator[Path]:
        place = Path(tempfile.mkdtemp(dir=self.directory))
        (place / "empty").mkdir()
        (place / "target").mkdir()
        fd = os.open(place / "empty", os.O_PATH)
        try:
            perform(Overlay((*lowers, LowerDirectory(fd, str(place / "empty"))), nodev=True), str(place / "target"))
        finally:
            os.close(fd)
        try:
            yield place / "target"
        finally:
            subprocess.run(["umount", place / "target"], check=True)

    @contextmanager
    def mounted(self, cap: bool = True) -> Iterator[Path]:
        """What the stack shows through the kernel's overlay."""
        with self.mounted_with((), cap) as target:
            yield target


def unpack(layers: Sequence[Layer | bytes], directory: Path, privileged: bool = True) -> UnpackReport:
    """Unpack layers, bottom first, into a new directory."""
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpacker = Unpacker(fd, privileged)
        try:
            for layer in layers:
                data = layer if isinstance(layer, bytes) else images.tar(layer)
                unpacker.layer(lambda data=data: nullcontext(TarReader(io.BytesIO(data))))
            return unpacker.finish()
        finally:
            unpacker.close()
    finally:
        os.close(fd)


def shown(directory: Path) -> dict[bytes, Shown]:
    """What the model knows about a tree on disk."""
    return {
        path: (item.kind, item.mode if item.kind != "l" else 0o777, item.mtime, item.target, item.sha256)
        for path, item in treelist.listing(directory).items()
    }


# --- the model ------------------------------------------------------------------------------------------------------


class NoSuchStackError(Exception):
    """A stack that no extraction would take."""


@dataclass
class Thing:
    """One inode of the model."""

    kind: str
    mode: int = 0o755
    mtime: int = 0
    target: str = ""
    content: bytes = b""
    children: dict[str, Thing] = field(default_factory=dict)

    def shown(self) -> Shown:
        content = hashlib.sha256(self.content).hexdigest() if self.kind == "f" else ""
        return (self.kind, self.mode if self.kind != "l" else 0o777, self.mtime, self.target.encode(), content)


@dataclass(frozen=True)
class Step:
    """A member of a model's layer; `kind` is that of an entry, `w` a whiteout, `o` an opaque mark."""

    kind: str
    path: str
    target: str = ""
    mode: int = 0o644
    mtime: int = 0
    content: bytes = b""

    def __repr__(self) -> str:
        return f"Step({self.kind!r}, {self.path!r}, {self.target!r}, {self.mode:#o}, {self.mtime}, {self.content!r})"

    def member(self) -> images.Member:
        make = {
            "f": lambda: images.file(self.path, self.content, self.mode, mtime_ns=self.mtime),
            "d": lambda: images.directory(self.path or "./", self.mode, mtime_ns=self.mtime),
            "l": lambda: images.symlink(self.path, self.target, mtime_ns=self.mtime),
            "h": lambda: images.hardlink(self.path, self.target),
            "p": lambda: images.fifo(self.path, self.mode, mtime_ns=self.mtime),
            "w": lambda: images.whiteout(self.path),
            "o": lambda: images.opaque(self.path),
        }
        return make[self.kind]()


class Model:
    """The expected root file system."""

    def __init__(self) -> None:
        self.root = Thing("d")
        self.unordered = False
        """Whether some layer says different things about one path: what then stays of lower layers is order's doing."""

    def apply(self, layer: Sequence[Step]) -> None:
        before = _copy(self.root, {})
        self._added = dict[tuple[int, str], tuple[str, Thing, bool]]()
        self._through = dict[int, Thing]()
        self._hidden = set[tuple[int, str]]()
        self._redirected = False
        self._own_symlinks = 0
        for step in layer:
            if step.kind in "wo":
                self._hide(step)
        for step in layer:
            if step.kind not in "wo":
                self._put(step, before)
        self._own_symlinks = 0
        for step in layer:
            if step.kind in "wo":
                parent = step.path if step.kind == "o" else step.path.rpartition("/")[0]
                self._directory(parent, force=False)
                self.unordered |= self._own_symlinks > 0

    def shown(self) -> dict[bytes, Shown]:
        found: dict[bytes, Shown] = {}
        todo = [("", self.root)]
        while todo:
            path, thing = todo.pop()
            found[path.encode()] = thing.shown()
            todo += [(f"{path}/{name}" if path else name, child) for name, child in thing.children.items()]
        return found

    def _hide(self, step: Step) -> None:
        parent, _, name = step.path.rpartition("/")
        found = self._walk(step.path if step.kind == "o" else parent)
        if found is None:
            return
        for gone in list(found.children) if step.kind == "o" else [name]:
            thing = found.children.pop(gone, None)
            self._hidden.add((id(found), gone))
            self.unordered |= thing is not None and any(id(one) in self._through for one in _things(thing))

    def _put(self, step: Step, before: Thing) -> None:
        if not step.path:
            self.root.mode, self.root.mtime = step.mode, step.mtime
            return
        parent, _, name = step.path.rpartition("/")
        directory = self._directory(parent)
        assert directory is not None
        there = directory.children.get(name)
        self._note(directory, name, step.kind)
        if step.kind == "h":
            redirected = self._redirected
            target = self._target(step.target, before)
            self._redirected = redirected
            if there is not None and any(one is target for one in _things(there)) and there is not target:
                raise NoSuchStackError(step.path)
            self.unordered |= step.path == step.target
            if there is not target:
                directory.children[name] = target
        elif step.kind == "d" and there is not None and there.kind == "d":
            there.mode, there.mtime = step.mode, step.mtime
        else:
            directory.children[name] = Thing(step.kind, step.mode, step.mtime, step.target, step.content)

    def _note(self, directory: Thing, name: str, kind: str) -> None:
        """Remember that this layer has put something there, and whether that contradicts what it said before."""
        before, _, redirected = self._added.get((id(directory), name), ("", directory, self._redirected))
        self.unordered |= redirected != self._redirected and "i" not in (before, kind)
        there = directory.children.get(name)
        self.unordered |= kind in "di" and before not in ("", "d", "i")
        self.unordered |= redirected != self._redirected and before == "i" and kind != "d"
        if there is not None and (there.kind != "d" or kind not in "di"):
            self.unordered |= any(id(one) in self._through for one in _things(there))
        self._added[id(directory), name] = (kind, directory, self._redirected)

    def _target(self, path: str, before: Thing) -> Thing:
        parent, _, name = path.rpartition("/")
        for root in (self.root, before):
            directory = self._walk(parent, root)
            found = directory.children.get(name) if directory is not None else None
            if found is not None and found.kind == "d":
                raise NoSuchStackError(path)
            if found is not None:
                return found
        raise NoSuchStackError(path)

    def _walk(self, path: str, root: Thing | None = None) -> Thing | None:
        trail, missing = self._follow(path, root or self.root)
        return None if missing else trail[-1]

    def _directory(self, path: str, force: bool = True) -> Thing | None:
        trail, missing = self._follow(path, self.root)
        node = trail[-1]
        for name in missing:
            if not force and (id(node), name) in self._added:
                return None
            self._note(node, name, "i")
            node.children[name] = Thing("d")
            node = node.children[name]
            if self._redirected:
                self._through[id(node)] = node
        return node

    def _follow(self, path: str, root: Thing) -> tuple[list[Thing], list[str]]:
        trail, missing = [root], list[str]()
        todo = path.split("/")[::-1]
        links = 0
        self._redirected = False
        while todo:
            name = todo.pop()
            child = None if missing else trail[-1].children.get(name)
            if name in ("", "."):
                continue
            if self._redirected and self._added.get((id(trail[-1]), name), ("i",))[0] != "i":
                self.unordered = True
            self.unordered |= self._redirected and (id(trail[-1]), name) in self._hidden
            if name == "..":
                if missing or trail[1:]:
                    (missing or trail).pop()
            elif child is not None and child.kind == "d":
                trail.append(child)
                if self._redirected:
                    self._through[id(child)] = child
            elif child is not None and child.kind == "l":
                links += 1
                if links > 40:
                    raise NoSuchStackError(path)
                if (id(trail[-1]), name) not in self._added:
                    self._redirected = True
                    self._through[id(child)] = child
                else:
                    self._own_symlinks += 1
                if child.target.startswith("/"):
                    trail = [root]
                todo += child.target.split("/")[::-1]
            else:
                missing.append(name)
        return trail, missing


def _things(root: Thing) -> Iterator[Thing]:
    todo = [root]
    while todo:
        thing = todo.pop()
        yield thing
        todo += thing.children.values()


def _copy(thing: Thing, seen: dict[int, Thing]) -> Thing:
    """The directories anew, everything else shared: what stood where before a layer came."""
    if thing.kind != "d":
        return thing
    return Thing("d", thing.mode, thing.mtime, children={n: _copy(c, seen) for n, c in thing.children.items()})


__all__ = ["Kind", "Layer", "Model", "NoSuchStackError", "Stack", "Step", "shown", "unpack"]
