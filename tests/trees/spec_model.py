"""Model of a stack of layers as the image-spec defines it, in memory, to compare arstore's views with.

Written from layer.md of the OCI image-spec, "Applying Changesets" and "Whiteouts", without code of arstore:

- "Whiteout files MUST only apply to resources in lower/parent layers", and are "applied first [...] regardless of the
  ordering". So all marks of a layer count before its entries, against the state of the layers below it. A mark's path
  runs through symlinks of lower layers, as in every extractor, but not through one that its layer replaces or hides.
- "In the absence of any whiteout files in a layer changeset, the archive is extracted like a regular tar archive": one
  entry after the other, in a chroot, and parents that are missing are made (0755, time 0).
- "If the entry and the existing path are both directories, then the existing path's attributes MUST be replaced [...]
  In all other cases [...] removing the file path [...] recreating the file path".
- A hard link whose target was removed may still mean the lower layers' file: a layer may link to a file that it hides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support import images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Shown = tuple[object, ...]
MARKS = "wWo"


class NoSuchStackError(Exception):
    """A stack that cannot be extracted."""


class LoopError(NoSuchStackError):
    """More symlinks on the path than are followed."""


@dataclass
class Thing:
    """One inode."""

    kind: str
    mode: int = 0o755
    mtime: int = 0
    target: str = ""
    content: bytes = b""
    children: dict[str, Thing] = field(default_factory=dict)

    def shown(self) -> Shown:
        content = hashlib.sha256(self.content).hexdigest() if self.kind == "f" else ""
        return (self.kind, self.mode if self.kind != "l" else 0o777, self.mtime, self.target.encode(), content)

    def things(self) -> Iterator[Thing]:
        """It, and everything in it."""
        todo = [self]
        while todo:
            thing = todo.pop()
            yield thing
            todo += thing.children.values()


@dataclass(frozen=True)
class Step:
    """A member of a layer; `kind` is that of an entry, `w` a whiteout, `W` one as a device 0:0, `o` an opaque mark.

    A mark may be a member of any kind: it is a symlink if it has a `target`, a directory if its mode is 0777.
    """

    kind: str
    path: str
    target: str = ""
    mode: int = 0o644
    mtime: int = 0
    content: bytes = b""

    def __repr__(self) -> str:
        return f"Step({self.kind!r}, {self.path!r}, {self.target!r}, {self.mode:#o}, {self.mtime}, {self.content!r})"

    @property
    def directory(self) -> str:
        """The directory that a mark refers to."""
        return self.path if self.kind == "o" else self.path.rpartition("/")[0]

    def member(self) -> images.Member:
        if self.kind in "wo":
            return self._mark()
        make = {
            "f": lambda: images.file(self.path, self.content, self.mode, mtime_ns=self.mtime),
            "d": lambda: images.directory(self.path or "./", self.mode, mtime_ns=self.mtime),
            "l": lambda: images.symlink(self.path, self.target, mtime_ns=self.mtime),
            "h": lambda: images.hardlink(self.path, self.target),
            "p": lambda: images.fifo(self.path, self.mode, mtime_ns=self.mtime),
            "W": lambda: images.device(self.path, "c", 0, 0),
        }
        return make[self.kind]()

    def _mark(self) -> images.Member:
        parent, _, name = self.path.rpartition("/")
        if self.kind == "o":
            parent, name = self.path, ".wh..opq"
        path = f"{parent}/.wh.{name}" if parent else f".wh.{name}"
        if self.target:
            return images.symlink(path, self.target)
        return images.directory(path) if self.mode == 0o777 else images.file(path, self.content)


class Model:
    """The expected root file system."""

    def __init__(self) -> None:
        self.root = Thing("d")

    def apply(self, layer: Sequence[Step]) -> None:
        """Apply one layer on top of those before. Raises NoSuchStackError."""
        before = _copy(self.root)
        for step in layer:
            if step.kind in MARKS:
                self._hide(step, layer, before)
        for step in layer:
            if step.kind not in MARKS:
                self._put(step, before)

    def shown(self) -> dict[bytes, Shown]:
        return {path.encode(): thing.shown() for path, thing in self.paths().items()}

    def paths(self) -> dict[str, Thing]:
        """Every path, with its inode."""
        found: dict[str, Thing] = {}
        todo = [("", self.root)]
        while todo:
            path, thing = todo.pop()
            found[path] = thing
            todo += [(f"{path}/{name}" if path else name, child) for name, child in thing.children.items()]
        return found

    # --- marks ------------------------------------------------------------------------------------------------------

    def _hide(self, step: Step, layer: Sequence[Step], before: Thing) -> None:
        if is_moot(step, layer, before):
            return
        try:
            trail, missing = _follow(step.directory, before)
        except NoSuchStackError:
            return
        node: Thing | None = self.root
        for name in [] if missing else trail:
            node = node.children.get(name) if node is not None else None
        if node is None or missing:
            return
        if step.kind == "o":
            node.children.clear()
        else:
            node.children.pop(step.path.rpartition("/")[2], None)

    # --- entries ----------------------------------------------------------------------------------------------------

    def _put(self, step: Step, before: Thing) -> None:
        if not step.path:
            self.root.mode, self.root.mtime = step.mode, step.mtime
            return
        parent, _, name = step.path.rpartition("/")
        directory = self._directory(parent)
        there = directory.children.get(name)
        if step.kind == "h":
            target = self._target(step.target, before)
            if there is not None and there is not target and any(one is target for one in there.things()):
                raise NoSuchStackError(step.path)
            if there is None and step.path == step.target:
                raise NoSuchStackError(step.path)
            directory.children[name] = target
        elif step.kind == "d" and there is not None and there.kind == "d":
            there.mode, there.mtime = step.mode, step.mtime
        else:
            directory.children[name] = Thing(step.kind, step.mode, step.mtime, step.target, step.content)

    def _target(self, path: str, before: Thing) -> Thing:
        parent, _, name = path.rpartition("/")
        for root in (self.root, before):
            trail, missing = _follow(parent, root)
            found = None if missing else _at(root, trail).children.get(name)
            if found is not None and found.kind == "d":
                raise NoSuchStackError(path)
            if found is not None:
                return found
        raise NoSuchStackError(path)

    def _directory(self, path: str) -> Thing:
        trail, missing = _follow(path, self.root)
        node = _at(self.root, trail)
        for name in missing:
            node.children[name] = Thing("d")
            node = node.children[name]
        return node


def loops_alone(layer: Sequence[Step]) -> bool:
    """Whether a layer runs into a loop of symlinks by itself, whatever symlinks lower layers have."""
    model = Model()
    for step in layer:
        try:
            if step.kind not in MARKS:
                model._put(step, model.root)
        except LoopError:
            return True
        except NoSuchStackError:
            pass
    return False


def is_moot(step: Step, layer: Sequence[Step], before: Thing) -> bool:
    """Whether a mark's path would run through a symlink that its own layer replaces or hides."""
    parts = step.directory.split("/") if step.directory else []
    node: Thing | None = before
    for depth, name in enumerate(parts):
        node = node.children.get(name) if node is not None else None
        if node is None or node.kind != "d":
            link = "/".join(parts[: depth + 1])
            break
    else:
        return False
    if node is None or node.kind != "l":
        return False
    above = {"", *(link[:end] for end, letter in enumerate(link) if letter == "/")}
    return any(
        (other.path == link and other.kind != "o")
        or (other.kind == "o" and other.path in above)
        or (other.kind != "d" and other.kind != "o" and other.path in above)
        for other in layer
    )


def _at(root: Thing, trail: Sequence[str]) -> Thing:
    for name in trail:
        root = root.children[name]
    return root


def _follow(path: str, root: Thing) -> tuple[list[str], list[str]]:
    """Follow *path* in a chroot: names of existing directories from *root*, and the missing names from there."""
    trail: list[str] = []
    missing: list[str] = []
    todo = path.split("/")[::-1]
    links = 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if missing or trail:
                (missing or trail).pop()
            continue
        child = None if missing else _at(root, trail).children.get(name)
        if child is not None and child.kind == "d":
            trail.append(name)
        elif child is not None and child.kind == "l":
            links += 1
            if links > 40:
                raise LoopError(path)
            if child.target.startswith("/"):
                trail = []
            todo += child.target.split("/")[::-1]
        else:
            missing.append(name)
    return trail, missing


def _copy(thing: Thing) -> Thing:
    """Copy the directories and share everything else: the state before a layer."""
    if thing.kind != "d":
        return thing
    return Thing("d", thing.mode, thing.mtime, children={name: _copy(child) for name, child in thing.children.items()})
