"""`Store`: every operation on a store. Each method opens the files that it needs, does one thing, and returns a value.

Threads: `import_images`, `import_image`, `import_root`, `pull`, `copy`, `save`, `mounted`, `unpack`, `run`, `load`,
`disk_usage`, `check`, and methods that start containers fork. A process must not fork while its other threads hold
locks, so call these methods from a program's only thread, or from a separate process; otherwise a RuntimeWarning is
issued once. All other methods can be called in programs with threads. Use one `Store` object for each directory: two
objects of one directory share nothing, and must not be used at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.methods.contents import ContentMethods
from arstore.api.methods.copies import CopyMethods
from arstore.api.methods.images import ImageMethods
from arstore.api.methods.imports import ImportMethods
from arstore.api.methods.runs import RunMethods
from arstore.api.methods.upkeep import UpkeepMethods

if TYPE_CHECKING:
    from arstore.api.methods.containers import Containers
    from arstore.api.methods.volumes import Volumes


class Store(ImageMethods, ImportMethods, CopyMethods, RunMethods, ContentMethods, UpkeepMethods):
    """A store in a root and a runroot; a context manager. Opening creates nothing: the first import creates the store.

    Every method raises NoStoreError if the store does not exist, StoreDamagedError or StoreVersionError if it cannot be
    read, and HostError or OSError if the operating system refuses. Methods that are subject to the signature policy
    raise RejectedError and PolicyError.
    """

    @property
    def containers(self) -> Containers:
        """The containers of the store, and what can be done with them."""
        from arstore.api.methods.containers import Containers

        return Containers(self)

    @property
    def volumes(self) -> Volumes:
        """The named volumes of the store."""
        from arstore.api.methods.volumes import Volumes

        return Volumes(self)
