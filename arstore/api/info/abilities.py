"""Actions that this user can take here, and what the others lack: a right, a program, a setting of the kernel."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from arstore.api.info.store_state import GUEST
from arstore.disk.access import require_local, require_writable
from arstore.errors import ArstoreError, from_os_error
from arstore.linux import kernel
from arstore.linux.isolation.capability import MAKES_ANY_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Document = dict[str, Any]

_LIMITS = frozenset({"memory", "pids"})
"""The limits that are needed for that."""


def abilities(
    store: Mapping[str, Any], features: Mapping[str, Document], runtime: Document, space: Document | None
) -> list[Document]:
    """Return a list of actions: `action`, `possible` (None: unknown until it is tried), and `why`.

    *space* is what a user namespace gives this user (`namespaces`).
    """
    broken = str(store["error"])
    writing = broken or _writing(str(store["root"]))
    absent = f"there is no store: {store['absent']}" if store["exists"] is False else ""
    trees = kernel.lacking(*MAKES_ANY_FILE) if space is None or not space["possible"] else ""
    mounting = _mounting(features, space)
    inside = "in `arstore unshare`" if space is not None and space["kind"] == "entered" else ""
    owners = _owners(space)
    if space is not None and not space["possible"]:
        trees = f"{trees}; user namespaces: {space['why']}"
    # A mount is recorded in the store, unless its file system is read-only.
    recording = writing if store.get("access") == GUEST else ""
    running = _all(writing, mounting, trees, _runtime(runtime))
    tried = None if runtime["works"] is None else True
    groups = features["cgroups"]
    limits = "" if set(groups["limits"]) >= _LIMITS else f"control groups: {groups['detail'] or 'none are mounted'}"
    openpgp = "" if _has_openpgp() else "gpg is not installed, nor the extra `sequoia`"
    return [
        _ability("read the store's images", broken or absent),
        _ability("import and pull images", writing),
        _ability("copy images between registries and files", ""),
        _ability("unpack images", broken, note=owners or _unpacking(space)),
        _ability("build layer trees for mounting", _all(writing, trees), note=owners),
        _ability("mount images", _all(broken, mounting, recording), note=inside),
        _ability("run containers", running, tried, str(runtime["why"])),
        _ability("limit a container's memory and processes", _all(running, limits), tried),
        _ability("verify OpenPGP signatures", openpgp),
    ]


def _all(*missing: str) -> str:
    """Return everything that is missing, each thing once."""
    return "; ".join(dict.fromkeys(filter(None, missing)))


def _ability(action: str, missing: str, possible: bool | None = True, note: str = "") -> Document:
    return {"action": action, "possible": False if missing else possible, "why": missing or note}


def _writing(root: str) -> str:
    """Return why this process may not write to the store at *root*, or make one there; "" if it may."""
    place = root
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    try:
        require_local(root, place)
        if place == root and os.listdir(root):
            require_writable(root)
            return ""
    except ArstoreError as error:
        return str(error)
    except OSError as error:
        return str(from_os_error(error))
    if os.access(place, os.W_OK | os.X_OK):
        return ""
    read_only = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    return f"{place} is on a read-only file system" if read_only else f"this user may not write to {place}"


def _owners(space: Document | None) -> str:
    """Return why files get one owner; "" if they keep theirs."""
    if space is None or not space["possible"] or not space["why"]:
        return ""
    hint = f"; {space['hint']}" if space["hint"] else ""
    return f"with one owner for all files, because {space['why']}{hint}"


def _unpacking(space: Document | None) -> str:
    if space is not None and space["possible"]:
        return "without devices, which a user namespace cannot make"
    return "without owners, devices and some attributes, because this user is not root" if os.geteuid() else ""


def _mounting(features: Mapping[str, Document], space: Document | None) -> str:
    if space is not None:
        return str(space["overlay"] if space["possible"] else f"user namespaces: {space['why']}")
    for name in ("mounting", "overlay"):
        if not features[name]["available"]:
            return str(features[name]["detail"])
    return ""


def _runtime(runtime: Document) -> str:
    return str(runtime["why"]) if runtime["path"] is None else ""


def _has_openpgp() -> bool:
    from importlib.util import find_spec

    return bool(shutil.which("gpg") or shutil.which("gpg2") or find_spec("pysequoia"))
