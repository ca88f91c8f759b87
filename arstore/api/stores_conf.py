"""Additional stores of a command: from its options, else from the environment, config.toml or stores.conf.

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

from arstore.api.config.files import quoted, read, toml
from arstore.api.places import ADDITIONAL, host_stores_conf, stores_conf
from arstore.errors import ConfigFileError, UsageError
from arstore.linux.isolation.user_namespace import acting_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.api.config.settings import Settings
    from arstore.store.additional import Wanted

OWNERS = "ARSTORE_ADDITIONAL_STORE_OWNERS"
"""Environment variable: users who may own additional stores, separated by colons."""

_TABLE = "additional-store"


def wanted(
    given: Sequence[str],
    owners: Sequence[str],
    environ: Mapping[str, str],
    own: str,
    settings: Settings | None = None,
) -> list[Wanted]:
    """Return the additional stores of the store at *own*, in order; *given* and *owners* come from the options.

    Raises UsageError for an invalid list, ConfigFileError for a file that cannot be used.
    """
    owner = _owner_of(owners or _parts(environ.get(OWNERS, "")))
    if given:
        return _distinct([(path, owner) for path in given], "--additional-store", own)
    if ADDITIONAL in environ:
        return _distinct([(path, owner) for path in _parts(environ[ADDITIONAL])], ADDITIONAL, own)
    if settings is not None and settings.additional is not None:
        path, listed = settings.origins[_TABLE], list(settings.additional)
    else:
        path = stores_conf(environ, acting_uid())
        listed = _read(path) if path else []
    return _distinct([(root, _owner_in(path, name) | owner) for root, name in listed], path, own)


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


def _owner_in(path: str, name: str) -> frozenset[int]:
    """Return the owner *name* from the file at *path*; none for "". Raises ConfigFileError."""
    try:
        return frozenset({user_id(name)} if name else ())
    except UsageError as error:
        raise ConfigFileError(path, f"{_TABLE}.owner: {error.why}", error.hint) from None


def user_id(name: str) -> int:
    """Return the number of the user *name*, a name or a number. Raises UsageError."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        if name.isascii() and name.isdecimal():
            return int(name)
    raise UsageError("the owner of an additional store", f"there is no user {name!r}", "give a user's name or number")


def _read(path: str) -> list[tuple[str, str]]:
    """Return the stores in the file at *path*, each with its owner or "". Raises ConfigFileError."""
    from arstore.api.config.document import additional_stores

    document = toml(path, read(path, host_stores_conf())[0])
    for key in document:
        if key != _TABLE:
            raise ConfigFileError(path, f"unknown key {quoted(key)}", f"it takes [[{_TABLE}]] alone")
    return [(root, owner) for root, owner in additional_stores(path, document.get(_TABLE, []), _absolute)]


def _absolute(path: str, key: str, value: object) -> str:
    if not isinstance(value, str) or not os.path.isabs(value):
        raise ConfigFileError(path, f"{key} is not a path that begins with /")
    return value
