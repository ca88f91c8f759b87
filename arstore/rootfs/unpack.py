"""A plain copy of an image's root file system, for hosts where mounting is forbidden, and for tools that need files.

It is made from the blobs, which are verified again while they are read, so it needs no trees. It works for ordinary
users, who get everything but owners, devices and privileged attributes. A worker confined to the directory makes it.
"""

from __future__ import annotations

import io
import os
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_children, remove_tree
from arstore.errors import ConflictError, HostError, from_os_error, naming
from arstore.linux.isolation import capability
from arstore.store.ingest.layer_pass import verified_entries
from arstore.store.last_use import note_use
from arstore.tar import codec
from arstore.trees.directory.unpacker import Unpacker
from arstore.trees.preload import preload
from arstore.values import NamedTuple
from arstore.workers import confinement
from arstore.workers.pool import run_jobs

_MOST_OPEN = 200
"""Most blobs that are open at once, well below the usual limit of 1024 descriptors."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from arstore.digest import Digest
    from arstore.store.ingest.incoming import IncomingLayer
    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.trees.directory.unpacker import UnpackReport
    from arstore.trees.format import EntryReader


def unpack_image(
    store: Store, image: StoredImage, directory: str, progress: Progress, *, strict_xattrs: bool = False
) -> UnpackReport:
    """Fill *directory*, which is empty or does not exist yet, with the root file system of *image*.

    Extended attributes that cannot be kept are left out and counted; with *strict_xattrs* they are a TarError. Raises
    ConflictError when *directory* is not empty, NotFoundError when its parent does not exist, SourceError, StoreError,
    HostError, OSError; the directory is then as it was.
    """
    incoming = store.incoming(image)
    privileged = capability.has(capability.CAP_CHOWN) and capability.has(capability.CAP_MKNOD)
    places = {layer.digest: store.blob_path(layer.digest) for layer in incoming.layers}
    work = _Work(directory, privileged, incoming.layers, places, strict_xattrs)
    with store.held(image, "unpack"), naming(directory), _target(directory):
        # The graph must not be open during a fork.
        store.release()
        report = _watched(work, progress)
    note_use(store, image)
    return report


def _watched(work: _Work, progress: Progress) -> UnpackReport:
    """Run the work in a worker, and report each finished layer to *progress*."""
    left = list(reversed(work.layers))
    for layer in left[-1:]:
        progress.start(layer.diff_id, layer.digest.short, layer.size)
    for outcome in run_jobs([work.run]):
        if outcome.done and outcome.value is not None:
            return outcome.value
        layer = left.pop()
        progress.advance(layer.diff_id, layer.size)
        progress.finish(layer.diff_id)
        for layer in left[-1:]:
            progress.start(layer.diff_id, layer.digest.short, layer.size)
    raise HostError(work.directory, "the worker ended without a result")


class _Work(NamedTuple):
    """The work of the worker."""

    directory: str
    privileged: bool
    layers: tuple[IncomingLayer, ...]
    places: Mapping[Digest, str]
    strict_xattrs: bool

    def run(self, report: Callable[[int], None]) -> UnpackReport:
        """Run in the worker: open the blobs, give up privileges that the work does not need, and only then read.

        *report* is called at each layer's end. If the image has very many layers, the blobs are opened one by one, and
        the root directory does not change.
        """
        few = len(self.layers) <= _MOST_OPEN
        with ExitStack() as stack:
            opened = []
            for layer in self.layers:
                with ExitStack() as closing:
                    opened.append(self._open(layer, stack if few else closing))
            readable = () if few else sorted(set(map(os.path.dirname, self.places.values())))
            confined = confinement.making(os.path.abspath(self.directory), *readable)
            confined.shed()
            confined.enter()
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            unpacker = Unpacker(fd, self.privileged, self.strict_xattrs)
            for number, layer in enumerate(self.layers):
                with ExitStack() as closing:
                    file = opened[number] if few else self._open(layer, closing)
                    unpacker.layer(partial(_entries, file, layer))
                report(layer.size)
            return unpacker.finish()

    def _open(self, layer: IncomingLayer, stack: ExitStack) -> io.FileIO:
        """Open the layer's blob, and import the modules that decompress and verify it."""
        file = stack.enter_context(io.FileIO(self.places[layer.digest]))
        preload(heads=[os.pread(file.fileno(), codec.HEAD, 0)], digests=[layer.digest, layer.diff_id])
        return file


def _entries(file: io.FileIO, layer: IncomingLayer) -> AbstractContextManager[EntryReader]:
    """Read the entries of the layer's blob, from its beginning."""
    file.seek(0)
    return verified_entries(file, layer.digest, layer.size, layer.diff_id)


@contextmanager
def _target(directory: str) -> Iterator[None]:
    """Create the directory if it is missing; after an error, empty it, or remove it if it was created."""
    made = False
    try:
        os.mkdir(directory, 0o700)
        made = True
    except FileExistsError:
        pass
    except OSError as error:
        raise from_os_error(error, directory) from error
    if not made and (not os.path.isdir(directory) or os.listdir(directory)):
        raise ConflictError(directory, "is not an empty directory", "give a directory that does not exist yet")
    try:
        yield
    except BaseException:
        _undo(directory, made)
        raise


def _undo(directory: str, made: bool) -> None:
    os.chmod(directory, 0o700)
    if made:
        remove_tree(directory)
        return
    remove_children(directory)
