"""Detection of a store at a root, and the directories of a new one.

A command that only reads makes nothing. A missing store has its own error, so that an empty mount point or a mistyped
path is never taken for a store without images.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.access import unreadable_store
from arstore.disk.paths import RESERVED, STORE_FILE, own_names
from arstore.errors import HostError, NoStoreError
from arstore.graph.datafile import MAP_SIZE
from arstore.graph.graph import FORMAT
from arstore.graph.identity import UNFINISHED, holds_content, none_at
from arstore.graph.record_checksum import is_sealed, unsealed
from arstore.graph.snapshot import FORMAT_KEY

if TYPE_CHECKING:
    from arstore.disk.paths import Directories

_DIRECTORIES = (frozenset({"blobs", "trees"}), frozenset({"graph", "trees"}))
"""Names found in every store, however damaged, and together in neither an OCI layout nor a system directory."""
_SMALL = 64 << 10
"""Size in bytes that the file of a graph without records never reaches."""


def require(directories: Directories) -> None:
    """Require that there is a store, or the remains of one. Raises NoStoreError, OSError."""
    root = directories.root
    try:
        os.stat(f"{root}/{STORE_FILE}", follow_symlinks=False)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        require_reachable(root)
        raise none_at(root, "the path leads through a file") from None
    except PermissionError:
        raise unreadable_store(root) from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        require_reachable(root)
        raise none_at(root, "the path leads through a symlink that leads in a circle") from None
    else:
        return
    if not os.path.lexists(root):
        raise none_at(root, "it does not exist")
    require_reachable(root)
    names = _root_names(root)
    if not names:
        raise none_at(root, "it is empty")
    if _may_be_store(root, names):
        if _is_unfinished(directories):
            raise none_at(root, UNFINISHED)
        return
    if _is_layout(names):
        raise NoStoreError(root, "there is no store: it is an OCI image layout", f"`arstore import {root}` reads it")
    shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
    raise NoStoreError(root, f"there is no store: it holds {shown}", "name the store with --root")


def is_nothing(root: str) -> bool:
    """Whether *root* does not exist, or is an empty directory. Raises OSError."""
    return not os.path.lexists(root) or (os.path.isdir(root) and not own_names(root))


def require_reachable(root: str) -> None:
    """Require that a root that is a symlink resolves. Raises NoStoreError."""
    if not os.path.islink(root):
        return
    try:
        os.stat(root)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            return
        where = os.readlink(root)
        leads = "in a circle" if error.errno == errno.ELOOP else f"to {where}, which does not exist"
        hint = "check that the file system that it leads to is mounted, or remove the symlink"
        raise NoStoreError(root, f"there is no store: it is a symlink that leads {leads}", hint) from None


def make_directories(directories: Directories) -> None:
    """Make the missing directories of a store, or those of a new one.

    Raises HostError if the root is in use for something else; OSError.
    """
    require_reachable(directories.root)
    root, names = directories.root, _root_names(directories.root)
    hint = "name an empty or a new directory"
    if names and not _may_be_store(root, names):
        if _is_layout(names):
            raise HostError(root, "is an OCI image layout, not a store", hint)
        # A system directory may well contain one of our names, such as `containers`.
        if not RESERVED.issuperset(names) and stat.S_IMODE(os.stat(root).st_mode) & 0o077:
            why = "is used for something else and open to other users; as a store it would be closed to them"
            raise HostError(root, why, hint)
    try:
        was_used = STORE_FILE in names or holds_content(directories)
    except PermissionError:
        # It belongs to another user, and `create` reports that.
        was_used = True
    # Where a graph is missing, a new directory would only hide the loss.
    directories.create(graph=not was_used)


def _root_names(root: str) -> list[str]:
    """List the root without the names that mkfs makes; empty if it is not a readable directory. Raises OSError."""
    try:
        return own_names(root)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _may_be_store(root: str, names: list[str]) -> bool:
    if STORE_FILE in names or os.path.lexists(f"{root}/graph/data.mdb"):
        return True
    return any(found.issubset(names) for found in _DIRECTORIES)


def _is_layout(names: list[str]) -> bool:
    return not {"oci-layout", "blobs"}.isdisjoint(names)


def _is_unfinished(directories: Directories) -> bool:
    """Whether a store without `store.json` was never finished; without LMDB, which would write. Raises OSError."""
    from arstore.graph.lmdb_pages import walk

    path = f"{directories.graph}/data.mdb"
    rows: dict[bytes, bytes] = {}
    with suppress(FileNotFoundError):
        size = os.stat(path).st_size
        if size > _SMALL or (size and walk(path, MAP_SIZE, rows.__setitem__).faults):
            return False
    key, version = FORMAT_KEY, rows.get(FORMAT_KEY)
    is_ours = version is None or (is_sealed(key, version) and unsealed(key, version) == str(FORMAT).encode())
    return is_ours and all(key.startswith(b"meta/") for key in rows) and not holds_content(directories)
