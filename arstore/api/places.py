"""Default directories of the store and its runtime state: system directories for root, XDG directories for other users.

Out of scope: the files in them (`arstore.disk.paths`).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_ROOT = "/var/lib/ar"
SYSTEM_RUNROOT = "/run/ar"

ADDITIONAL = "ARSTORE_ADDITIONAL_STORES"
"""Environment variable: additional stores, separated by colons as in PATH. If it is set but empty, there are none."""
_STORES_CONF = "arstore/stores.conf"


def default_root(environ: Mapping[str, str], uid: int) -> str:
    """Return the default root: SYSTEM_ROOT for root, `arstore` in $XDG_DATA_HOME for others (XDG basedir-spec)."""
    if uid == 0:
        return SYSTEM_ROOT
    data = environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):
        data = os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(data, "arstore")


def default_runroot(environ: Mapping[str, str], uid: int, own_root: str | None = None) -> str:
    """Return the default directory of runtime state, which is discarded at reboot.

    A root that the user chose (*own_root*) has a separate runroot below the default one, so that two stores never see
    each other's mounts. Raises PermissionDeniedError if only a directory in /tmp is left and it belongs to another
    user; OSError.
    """
    place = SYSTEM_RUNROOT if uid == 0 else os.path.join(_runtime_directory(environ, uid), "arstore")
    if own_root is None:
        return place
    from arstore.digest import short_hash

    mark = short_hash(os.fsencode(os.path.realpath(own_root)), 6)
    return os.path.join(place, "stores", mark)


def stores_conf(environ: Mapping[str, str], uid: int, etc: str = "/etc") -> str:
    """Return the path of the user's stores.conf, else of the host's; "" if neither exists (`stores_conf`)."""
    places = [f"{etc}/{_STORES_CONF}"]
    if uid:
        config = environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(config):
            config = os.path.join(os.path.expanduser("~"), ".config")
        places.insert(0, f"{config}/{_STORES_CONF}")
    return next(filter(os.path.lexists, places), "")


def _runtime_directory(environ: Mapping[str, str], uid: int) -> str:
    given = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given):
        return given
    usual = f"/run/user/{uid}"
    return usual if os.access(usual, os.W_OK) else _private(f"/tmp/arstore-{uid}", uid)


def _private(path: str, uid: int) -> str:
    """Create a private directory. Raises PermissionDeniedError if another user may have prepared it; OSError."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
            hint = "set XDG_RUNTIME_DIR or --runroot to a directory of your own"
            raise PermissionDeniedError(path, "exists, and is not a private directory of this user", hint) from None
    return path
