"""A plain copy of an image's root file system, for hosts that may not mount, and for tools that want files.

It is made from the blobs, verified again on the way, so it needs no trees and works for an ordinary user, who gets
everything but owners, devices and privileged attributes.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.errors import ConflictError, from_os_error
from arstore.linux import capability
from arstore.store.ingest import remove_children, remove_tree
from arstore.store.layer import verified_entries
from arstore.store.lease import leased
from arstore.store.unpack import Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.store.unpack import UnpackReport


def unpack_image(store: Store, image: StoredImage, directory: str, progress: Progress) -> UnpackReport:
    """Fill *directory*, which is empty or does not exist yet, with the root file system of *image*.

    Raises ConflictError when it is not empty, NotFoundError when its parent does not exist, the errors of a layer's
    pass, and OSError; the directory is then as it was.
    """
    incoming = store.incoming(image)
    privileged = capability.has(capability.CAP_CHOWN) and capability.has(capability.CAP_MKNOD)
    with leased(store.graph, image.digest, "unpack"), _target(directory) as fd:
        unpacker = Unpacker(fd, privileged)
        try:
            for layer in incoming.layers:
                progress.start(layer.diff_id, layer.digest.short, layer.size)
                with (
                    open(store.directories.blob(layer.digest), "rb", buffering=0) as file,
                    verified_entries(file, layer.digest, layer.size, layer.diff_id) as reader,
                ):
                    unpacker.layer(reader)
                progress.advance(layer.diff_id, layer.size)
                progress.finish(layer.diff_id)
            return unpacker.finish()
        finally:
            unpacker.close()


@contextmanager
def _target(directory: str) -> Iterator[int]:
    """The open directory, made if it was missing; after a failure emptied, or removed again."""
    made = False
    try:
        os.mkdir(directory, 0o700)
        made = True
    except FileExistsError:
        pass
    except OSError as error:
        raise from_os_error(error, directory) from error
    if not made and (not os.path.isdir(directory) or os.listdir(directory)):
        raise ConflictError(directory, "is not an empty directory", "name one that does not exist yet")
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    except BaseException:
        _undo(directory, made)
        raise
    finally:
        os.close(fd)


def _undo(directory: str, made: bool) -> None:
    os.chmod(directory, 0o700)
    if made:
        remove_tree(directory)
        return
    remove_children(directory)
