"""Additional stores of a command: from its options, else from the environment, else from a file.

    /etc/arstore/stores.conf                the host's
    $XDG_CONFIG_HOME/arstore/stores.conf    an ordinary user's, in place of the host's

    [[additional-store]]
    path = "/media/images/store"
    owner = "builder"       # may own it, in addition to this user and root

Only the first of these that is set applies: nothing is merged. storage.conf(5) of containers/storage also has a list
of additional stores, but in another format; it is not read.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from arstore.api.places import ADDITIONAL, stores_conf
from arstore.errors import HostError, UsageError, reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.store.additional import Wanted

OWNERS = "ARSTORE_ADDITIONAL_STORE_OWNERS"
"""Environment variable: users who may own additional stores, separated by colons."""

_TABLE = "additional-store"
_KEYS = frozenset({"path", "owner"})
_MOST = 1 << 20
"""Maximum size of stores.conf, in bytes."""


def wanted(given: Sequence[str], owners: Sequence[str], environ: Mapping[str, str], own: str) -> list[Wanted]:
    """Return the additional stores of the store at *own*, in order; *given* and *owners* come from the options.

    Raises UsageError for an invalid list, HostError for a file that cannot be used.
    """
    owner = _owner_of(owners or _parts(environ.get(OWNERS, "")))
    if given:
        return _distinct([(path, owner) for path in given], "--additional-store", own)
    if ADDITIONAL in environ:
        return _distinct([(path, owner) for path in _parts(environ[ADDITIONAL])], ADDITIONAL, own)
    path = stores_conf(environ, os.geteuid())
    return _distinct([(root, one | owner) for root, one in _read(path)], path, own) if path else []


def _parts(text: str) -> list[str]:
    return text.split(":") if text else []


def _distinct(found: Sequence[tuple[str, frozenset[int]]], where: str, own: str) -> list[Wanted]:
    """Return the stores, after checks that need no access to them. Raises UsageError."""
    from arstore.store.additional import Wanted

    made: dict[str, Wanted] = {}
    for given, owners in found:
        if not given:
            raise UsageError(where, "names a directory without a name", "give a directory, or leave it out")
        root = os.path.abspath(given)
        if root in made:
            raise UsageError(where, f"names {root} twice", "name each additional store once")
        if root == os.path.abspath(own):
            raise UsageError(where, f"names {root}, which is the store itself", "take it out of the list")
        made[root] = Wanted(root, owners)
    return list(made.values())


def _owner_of(names: Sequence[str]) -> frozenset[int]:
    return frozenset(map(user_id, names))


def user_id(name: str) -> int:
    """Return the number of the user *name*, a name or a number. Raises UsageError."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        if name.isascii() and name.isdecimal():
            return int(name)
    raise UsageError("the owner of an additional store", f"there is no user {name!r}", "give a user's name or number")


def _read(path: str) -> list[tuple[str, frozenset[int]]]:
    """Return the stores in the file at *path*, each with its owners; none if there is no file. Raises HostError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise HostError(path, f"cannot be read: {reason(error)}") from error
    if len(data) > _MOST:
        raise HostError(path, f"has more than {_MOST >> 20} MiB")
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise HostError(path, f"is not TOML: {error}") from error
    tables = document.pop(_TABLE, [])
    if document:
        raise HostError(path, f"has {next(iter(document))!r}, which is not known here", f"it takes [[{_TABLE}]] alone")
    if not isinstance(tables, list):
        raise HostError(path, f"{_TABLE} is not a list of tables", f"write [[{_TABLE}]]")
    return [_table(path, table) for table in tables]


def _table(path: str, table: object) -> tuple[str, frozenset[int]]:
    if not isinstance(table, dict) or not _KEYS.issuperset(table):
        unknown = next((key for key in table if key not in _KEYS), "") if isinstance(table, dict) else ""
        raise HostError(path, f"an {_TABLE} has {unknown!r}, which is not known here", "it takes path and owner")
    root, owner = table.get("path"), table.get("owner", "")
    if not isinstance(root, str) or not os.path.isabs(root):
        raise HostError(path, f"an {_TABLE} has no path that begins with /")
    if not isinstance(owner, str):
        raise HostError(path, f"the owner of {root} is not a user's name in quotes")
    return root, frozenset({user_id(owner)} if owner else ())
