"""The subordinate ids that own files of a store, recorded as soon as it has such files.

    <root>/ids.json    {"uids": [[0, 1000, 1], [1, 100000, 65536]], "gids": ...}: ranges of inside, outside, length

Extracted files and containers of an ordinary user belong to these ids. If the host grants the user other ids later,
nothing in a user namespace can read or remove them, and their owners mean other users of the images. A single id, that
of the store's user, is recorded too: some attributes of files have their meaning only in a namespace.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from arstore.disk.paths import IDS_FILE
from arstore.errors import HostError, StoreDamagedError
from arstore.linux.files.writing import replace_file
from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.user_namespace import IdMaps, IdRange

if TYPE_CHECKING:
    from collections.abc import Sequence


def are_recorded(root: str) -> bool:
    """Return whether the store at *root* may have files that were made in a user namespace."""
    return os.path.lexists(f"{root}/{IDS_FILE}")


def recorded(root: str) -> IdMaps | None:
    """Return the ids of the store's files; None if none was made in a user namespace.

    Raises StoreDamagedError, OSError.
    """
    path = f"{root}/{IDS_FILE}"
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read(1 << 16))
        return IdMaps(*(tuple(IdRange(*map(int, row)) for row in document[kind]) for kind in IdMaps._fields))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreDamagedError(path, "is not a record of ids", "`arstore unshare rm` removes it") from error


def record(root: str) -> None:
    """Record the ids of this process's user namespace, before it makes files of these. Raises OSError."""
    if user_namespace.is_initial():
        return
    maps, known = user_namespace.current(), recorded(root)
    if maps == known or (maps.is_single and known is not None):
        return
    text = json.dumps({kind: list(ranges) for kind, ranges in zip(maps._fields, maps, strict=True)})
    path = f"{root}/{IDS_FILE}"
    replace_file(path, text.encode() + b"\n", f"{path}.{os.getpid()}")


def require_same(root: str, maps: IdMaps) -> None:
    """Raise HostError if files of the store at *root* belong to other ids than *maps* has. Raises OSError."""
    known = recorded(root)
    if known is None or known.is_single or maps.is_single or all(map(_continues, maps, known)):
        return
    which = ", ".join(f"{one.outside}-{one.outside + one.length - 1}" for one in known.uids[1:])
    why = f"has files of the subordinate ids {which}, which this user does not have any more"
    raise HostError(root, why, "give the user this range in /etc/subuid and /etc/subgid again, before all others")


def _continues(now: Sequence[IdRange], then: Sequence[IdRange]) -> bool:
    """Whether every id of *then* means the same in *now*, which may have more."""
    return all(
        any(
            new.inside <= old.inside
            and old.inside + old.length <= new.inside + new.length
            and new.outside - new.inside == old.outside - old.inside
            for new in now
        )
        for old in then
    )
