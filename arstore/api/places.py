"""Default directories of the store and its runtime state: system directories for root, XDG directories for other users.

Out of scope: the files in them (`arstore.disk.paths`).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import ConfigFileError, PermissionDeniedError, UsageError, reason

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_ROOT = "/var/lib/ar"
SYSTEM_RUNROOT = "/run/ar"

CONFIG = "ARSTORE_CONFIG"
"""Environment variable: the configuration file, which replaces those of the user and the host."""
_CONFIG_FILE = "arstore/config.toml"

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


def default_runroot(
    environ: Mapping[str, str],
    uid: int,
    own_root: str | None = None,
    configured: str | None = None,
    *,
    make: bool = True,
) -> str:
    """Return the default directory of runtime state, which is discarded at reboot.

    A root that the user chose (*own_root*) has a separate runroot below the default one, so that two stores never see
    each other's mounts. *configured* replaces the usual directory. If only a directory in /tmp is left, it is created
    unless *make* is false. Raises PermissionDeniedError if that directory belongs to another user; OSError.
    """
    place = configured or usual_runroot(environ, uid, make=make)
    if own_root is None:
        return place
    from arstore.digest import short_hash

    mark = short_hash(os.fsencode(os.path.realpath(own_root)), 6)
    return os.path.join(place, "stores", mark)


def usual_runroot(environ: Mapping[str, str], uid: int, *, make: bool = True) -> str:
    """Return the directory of runtime state that this user has by default. Raises PermissionDeniedError, OSError."""
    return SYSTEM_RUNROOT if uid == 0 else os.path.join(_runtime_directory(environ, uid, make), "arstore")


def config_files(environ: Mapping[str, str], uid: int, given: str | None = None, etc: str = "/etc") -> list[str]:
    """Return the configuration files to read, the most important first; an empty list if there are none.

    *given* (`--config`), or else ARSTORE_CONFIG, replaces all others; /dev/null means no file. Otherwise they are the
    user's and the host's. Raises UsageError for an empty name, ConfigFileError for a place that cannot be examined.
    """
    named = environ.get(CONFIG) if given is None else given
    if named is not None:
        if not named:
            what = CONFIG if given is None else "--config"
            raise UsageError(what, "is empty", "give a file, or leave it out; /dev/null stands for no file")
        return [] if named == os.devnull else [os.path.abspath(named)]
    host = host_config(etc)
    found = [path for path in (user_config(environ),) if _is_there(path, hidden=False)]
    return [*found, host] if _is_there(host) else found


def host_config(etc: str = "/etc") -> str:
    """Return the configuration file of the host."""
    return f"{etc}/{_CONFIG_FILE}"


def user_config(environ: Mapping[str, str]) -> str:
    """Return the configuration file of the user (XDG basedir-spec)."""
    return f"{_config_home(environ)}/{_CONFIG_FILE}"


def _is_there(path: str, *, hidden: bool | None = None) -> bool:
    """Return whether *path* exists, even as a dangling symlink. *hidden* is the answer if it cannot be examined.

    A directory that this user may not search belongs to another user, as after su(1). If *hidden* is None, such a place
    raises ConfigFileError.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if hidden is not None:
            return hidden
        raise ConfigFileError(path, f"cannot be read: {reason(error)}") from error
    return True


def _config_home(environ: Mapping[str, str]) -> str:
    config = environ.get("XDG_CONFIG_HOME", "")
    return config if os.path.isabs(config) else os.path.join(os.path.expanduser("~"), ".config")


def host_stores_conf(etc: str = "/etc") -> str:
    """Return the stores.conf of the host."""
    return f"{etc}/{_STORES_CONF}"


def stores_conf(environ: Mapping[str, str], uid: int, etc: str = "/etc") -> str:
    """Return the path of the user's stores.conf, else of the host's; "" if neither exists (`stores_conf`)."""
    places = [host_stores_conf(etc)]
    if uid:
        places.insert(0, f"{_config_home(environ)}/{_STORES_CONF}")
    return next(filter(os.path.lexists, places), "")


def _runtime_directory(environ: Mapping[str, str], uid: int, make: bool) -> str:
    given = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given):
        return given
    usual = f"/run/user/{uid}"
    if os.access(usual, os.W_OK):
        return usual
    own = f"/tmp/arstore-{uid}"
    return _private(own, os.geteuid()) if make else own


def _private(path: str, owner: int) -> str:
    """Create a private directory. Raises PermissionDeniedError if another user may have prepared it; OSError."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o077:
            hint = "set XDG_RUNTIME_DIR or --runroot to a directory of your own"
            raise PermissionDeniedError(path, "exists, and is not a private directory of this user", hint) from None
    return path
