"""The settings of a user: what the configuration files say, merged key by key.

The user's file comes before the host's, as with git and containers.conf(5); a limit is a key, and a list of additional
stores is taken as a whole. `--config FILE` or ARSTORE_CONFIG replaces both. In the host's file, `root` and `runroot`
are for root alone, because a store belongs to one user (decision 24); podman's storage.conf does the same.

Options and the environment come before all of this; they are not read here.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

from arstore.api import places
from arstore.api.config.cache import Cache
from arstore.api.config.files import look
from arstore.errors import ConfigFileError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from arstore.tar.limits import Limits

_FOR_ROOT = frozenset({"root", "runroot"})
"""Keys that only root takes from the host's file."""
_PATHS = frozenset({"root", "runroot", "runtime", "policy"})
_LIMITS = "limits."
_ADDITIONAL = "additional-store"


class Making(NamedTuple):
    """Settings for new trees: their form, and the digests of their files; None for the defaults."""

    tree: str | None = None
    file_digests: str | None = None


class Settings(NamedTuple):
    """Values of configuration files; None for a key that no file has.

    Sizes are bytes, 0 for no limit. `protects` are patterns of images' names.

    `limits` has fields of `tar.limits.Limits`. `additional` is a list of additional stores, each with its owner or "".
    `origins` has the file of each key by dotted name. `files` were read, the most important first.
    """

    root: str | None = None
    runroot: str | None = None
    runtime: str | None = None
    tree: str | None = None
    policy: str | None = None
    log_level: str | None = None
    require_label: bool | None = None
    max_size: int | None = None
    high_water: int | None = None
    low_water: int | None = None
    protects: tuple[str, ...] = ()
    limits: Mapping[str, int] = {}
    additional: Sequence[tuple[str, str]] | None = None
    origins: Mapping[str, str] = {}
    files: tuple[str, ...] = ()
    file_digests: str | None = None

    @property
    def making(self) -> Making:
        """The settings for new trees."""
        return Making(self.tree, self.file_digests)

    def limited(self, limits: Limits) -> Limits:
        """Return *limits* with those of the files in place of the same ones."""
        changes: dict[str, Any] = dict(self.limits)
        return limits._replace(**changes)


def read_settings(
    files: Sequence[str], environ: Mapping[str, str], uid: int, *, etc: str = "/etc", keep: bool = True
) -> Settings:
    """Return the settings in *files*, the most important first (`places.config_files`).

    *keep* writes the parsed form of a file that had to be parsed to the cache. Raises ConfigFileError.
    """
    host = places.host_config(etc)
    cache = Cache(places.usual_runroot(environ, uid, make=False))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for path in files[::-1]:
        for key, value in _values(path, host, cache, keep).items():
            if path == host and uid != 0 and key in _FOR_ROOT:
                continue
            merged[key] = _expanded(path, key, value) if key in _PATHS else value
            origins[key] = path
    return _settings(merged, origins, tuple(files))


def _values(path: str, host: str, cache: Cache, keep: bool) -> dict[str, Any]:
    """Return the values of one file, from the cache if that has them. Raises ConfigFileError."""
    known = cache.recall(path, look(path, host))
    if known is not None:
        return known
    from arstore.api.config.document import parse
    from arstore.api.config.files import read

    data, status = read(path, host)
    values = parse(path, data)
    if keep:
        cache.remember(path, status, values)
    return values


def _settings(merged: Mapping[str, Any], origins: Mapping[str, str], files: tuple[str, ...]) -> Settings:
    limits = {
        key.removeprefix(_LIMITS).replace("-", "_"): number for key, number in merged.items() if key[:7] == _LIMITS
    }
    stores = merged.get(_ADDITIONAL)
    _require_order(merged, origins)
    return Settings(
        root=merged.get("root"),
        runroot=merged.get("runroot"),
        runtime=merged.get("runtime"),
        tree=merged.get("tree"),
        policy=merged.get("policy"),
        log_level=merged.get("log-level"),
        require_label=merged.get("load.require-label"),
        max_size=merged.get("max-size"),
        high_water=merged.get("high-water"),
        low_water=merged.get("low-water"),
        protects=tuple(merged.get("protect", ())),
        limits=limits,
        additional=None
        if stores is None
        else [(_expanded(origins[_ADDITIONAL], _ADDITIONAL, root), owner) for root, owner in stores],
        origins=origins,
        files=files,
        file_digests=merged.get("file-digests"),
    )


def _require_order(merged: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Require low-water <= high-water <= max-size, of those that are given and not 0. Raises ConfigFileError."""
    given = [key for key in ("low-water", "high-water", "max-size") if merged.get(key)]
    for low, high in pairwise(given):
        if merged[low] > merged[high]:
            raise ConfigFileError(origins[low], f"{low} is {merged[low]} bytes, and {high} only {merged[high]}")
    if merged.get("low-water") and not merged.get("high-water"):
        raise ConfigFileError(origins["low-water"], "low-water needs high-water", "set both, or high-water alone")


def _expanded(path: str, key: str, text: str) -> str:
    """Return *text*, the value of *key* in the file *path*, with the home directory for a leading ~.

    Raises ConfigFileError.
    """
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise ConfigFileError(path, f"{key} begins with ~, but this user has no home directory", "set HOME")
    return found
