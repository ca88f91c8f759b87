"""Overlays whose ids are mapped: for containers with their own user namespace.

The layers and the upper directory are seen through detached mounts with the map, so the ids on disk are those of the
container, and everything that reads an upper directory needs no map. The overlay is made with the file system ids of
the container's root: an id that is not mapped could not make its files.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arstore.errors import MountError, reason
from arstore.linux.isolation.mapping import acting_as, host_id, kernel_map, mapped_clone, user_namespace
from arstore.linux.isolation.user_namespace import is_initial
from arstore.mounts.overlay import detached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.linux.isolation.mapping import IdRange
    from arstore.mounts.overlay import Overlay


def detached_mapped(overlay: Overlay, uids: Sequence[IdRange], gids: Sequence[IdRange], what: str = "overlay") -> int:
    """Return the writable *overlay* as a detached mount, with its ids mapped.

    Raises MountError, also for a kernel before 6.15, MountForbiddenError, OSError.
    """
    home = os.path.dirname(overlay.upper)
    with ExitStack() as stack:

        def kept(fd: int) -> int:
            stack.callback(os.close, fd)
            return fd

        try:
            namespace = kept(user_namespace(kernel_map(uids), kernel_map(gids)))
            lowers = [one._replace(fd=kept(mapped_clone(one.fd, namespace)), path="") for one in overlay.lowers]
            directory = kept(mapped_clone(kept(os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)), namespace))
        except OSError as error:
            why = reason(error) if is_initial() else "only the host's root may map the ids of mounts"
            raise MountError(what, f"its ids cannot be mapped: {why}", "leave out --uidmap") from error
        place = f"/proc/self/fd/{directory}"
        upper, work = (f"{place}/{os.path.basename(path)}" for path in (overlay.upper, overlay.work))
        with acting_as(host_id(uids, 0), host_id(gids, 0)):
            return detached(overlay._replace(lowers=tuple(lowers), upper=upper, work=work), what)
