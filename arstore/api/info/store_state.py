"""The state of a store and of its additional stores, read without a lock, a lease or any other trace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.access import Access, access_to, name_of_user, unreadable_store
from arstore.disk.free_space import free_space
from arstore.disk.paths import Directories
from arstore.errors import ArstoreError, NoStoreError, from_os_error
from arstore.graph.datafile import DATA
from arstore.graph.graph import Graph
from arstore.graph.identity import ID
from arstore.graph.snapshot import FORMAT_KEY
from arstore.linux.mounting.mountinfo import mount_below
from arstore.store.collect.protected import protected
from arstore.store.presence import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from arstore.store.additional import Wanted

_MOST = 512 << 20
"""Bytes of a graph that is read: it may have to be copied into memory."""
GUEST = "read only: it belongs to another user"
_TABLES = ("images", "names", "layers", "trees", "containers", "lent")


def store_state(root: str, runroot: str, additional: Sequence[Wanted], protects: Sequence[str] = ()) -> dict[str, Any]:
    """Return whether there is a store at *root* and what is in it.

    *protects* are patterns of protected images. `exists` is None if this user cannot see that. `error` says why the
    store cannot be read, `absent` why there is none.
    """
    directories = Directories(root, runroot)
    found: dict[str, Any] = {"root": root, "exists": None, "absent": "", "error": "", **_place(root)}
    try:
        require(directories)
        found["exists"] = True
        found |= _owner(root)
        found |= _content(directories, protects)
    except NoStoreError as error:
        found |= {"exists": False, "absent": error.why.removeprefix("there is no store: ")}
    except ArstoreError as error:
        found["error"] = str(error)
    except PermissionError as error:
        found["error"] = str(unreadable_store(root) if found["exists"] else from_os_error(error))
    except OSError as error:
        found["error"] = str(from_os_error(error))
    found["additional"] = _additional(directories, additional)
    return found


def _place(root: str) -> dict[str, Any]:
    """Return the file system on which the store is, or would be."""
    place = root
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    found: dict[str, Any] = {"file_system": None, "free": None, "size": None}
    try:
        found["free"], found["size"] = free_space(place)
        mount = mount_below(place)
        found["file_system"] = mount.fs_type if mount is not None else None
    except OSError:
        pass
    return found


def _owner(root: str) -> dict[str, Any]:
    words = {Access.OWNER: "read and write", Access.FROZEN: "read-only file system"}
    return {"owner": name_of_user(os.stat(root).st_uid), "access": words.get(access_to(root), GUEST)}


def _content(directories: Directories, protects: Sequence[str]) -> dict[str, Any]:
    """Raises the errors of Graph, OSError."""
    size = os.stat(f"{directories.graph}/{DATA}").st_size
    if size > _MOST:
        return {"error": f"its graph has {size} bytes, and is too large to be read here"}
    # As an additional store is read: not even its owner leaves a lock or a lease.
    graph = Graph(directories.graph, directories, create=False, only_read=True)
    try:
        with graph.read(lenient=True) as snapshot:
            counts = {name: len(snapshot.keys(name)) for name in _TABLES}
            counts["protected"] = len(protected(snapshot, protects))
            version = snapshot.own(FORMAT_KEY.decode().partition("/")[2])
            store_id = snapshot.own(ID)
    finally:
        graph.release()
    return {"id": store_id, "format": version, **counts}


def _additional(own: Directories, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    from arstore.store.additional import AdditionalStore, AdditionalStores

    stores = AdditionalStores(own, wanted, dict)
    found = []
    try:
        for root, one in stores.every():
            usable = isinstance(one, AdditionalStore)
            found.append({"root": root, "usable": usable, "why": "" if usable else str(one)})
    except ArstoreError as error:
        found.append({"root": "", "usable": False, "why": str(error)})
    finally:
        stores.release()
    return found
