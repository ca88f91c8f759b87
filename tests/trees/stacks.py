"""Stacks of layers for tests: built as trees and mounted, or unpacked. `spec_model` has the expected views."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from support import images, treelist
from trees.spec_model import Model, NoSuchStackError, Shown, Step
from trees.tree_contract import keep_tar

from arstore.digest import Digest
from arstore.mounts.overlay import Overlay, perform
from arstore.tar.entry import Kind
from arstore.tar.reader import TarReader
from arstore.trees.adaptation import OwnTree, cap_entries, plan
from arstore.trees.directory.form import DirectoryFormat, hides_below
from arstore.trees.directory.unpacker import Unpacker, UnpackReport
from arstore.trees.erofs.merging import merge
from arstore.trees.erofs.mounting import lower_directory
from arstore.trees.format import LowerDirectory
from arstore.trees.forms import MERGED_INDEX
from arstore.trees.merged_view import MergedView

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.trees.adaptation import Adaptation
    from arstore.trees.format import Needs, TreeFormat

Layer = list[images.Member]


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
        """Build the layer's tree, and a second one if it has to be adapted; return the needs of the shared tree."""
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
            adaptation.attach(builder)
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
        with open(directory / MERGED_INDEX, "x+b") as file:
            merge(members, file.fileno())
        return directory

    def paths_in_use(self) -> list[Path]:
        """The directories of the trees that count: of an adapted layer, only the adapted one."""
        return [Path(os.readlink(f"/proc/self/fd/{fd}")) for fd in self._fds]

    @contextmanager
    def mounted_with(self, runs: Sequence[tuple[int, int]], cap: bool = True) -> Iterator[Path]:
        """As `mounted`, with merged indexes in place of these *runs* of trees, counted from the top."""
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
        """The stack, mounted as an overlay by the kernel."""
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
    """The properties of a tree on disk that the model knows."""
    return {
        path: (item.kind, item.mode if item.kind != "l" else 0o777, item.mtime, item.target, item.sha256)
        for path, item in treelist.listing(directory).items()
    }


__all__ = ["Kind", "Layer", "Model", "NoSuchStackError", "Stack", "Step", "shown", "unpack"]
