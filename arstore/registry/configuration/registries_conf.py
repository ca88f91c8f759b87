"""`registries.conf`, version 2: rewritten names, mirrors, blocked and insecure registries.

containers-registries.conf(5), as podman 5 reads it. The main file is the user's, or else the host's; the files in
`registries.conf.d` next to it are read after it. A table replaces another one with the same prefix. Files that other
readers refuse are refused; unknown keys are kept in `unknown`, so that the user can be warned.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError, reason
from arstore.oci.document import shown
from arstore.pattern import pattern
from arstore.registry.configuration.places import Places, read_file
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

ALL, DIGEST_ONLY, TAG_ONLY = "all", "digest-only", "tag-only"
_TOP = frozenset(
    {"unqualified-search-registries", "credential-helpers", "short-name-mode", "aliases", "registry"}
    | {"additional-layer-store-auth-helper"}
)
_REGISTRY = frozenset({"prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "mirror"})
_MIRROR = frozenset({"location", "insecure", "pull-from-mirror"})
_MODES = frozenset({"", "enforcing", "permissive", "disabled"})
_MARK = pattern("[/:@]")
_LOCATION = pattern(r"[A-Za-z0-9._~\[\]:/-]{1,1024}")
_HOST = pattern(r"(?:\*\.)?[A-Za-z0-9_.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](?::[0-9]{1,5})?")


class Mirror(NamedTuple):
    """Another place to read from; `pulls` is ALL, DIGEST_ONLY or TAG_ONLY."""

    location: str
    insecure: bool = False
    pulls: str = ALL


class RegistryTable(NamedTuple):
    """A `[[registry]]`: the settings for names that begin with `prefix`."""

    prefix: str
    location: str
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()

    def matches(self, name: str, ports: bool = False) -> int:
        """The number of characters of *name* that the prefix matches; -1 if it does not match.

        A host without a port matches the same host with a port only if *ports*.
        """
        if self.prefix.startswith("*."):
            host = _MARK.split(name, maxsplit=1)[0]
            return len(host) if host.endswith(self.prefix[1:]) and len(host) > len(self.prefix) - 1 else -1
        if not name.startswith(self.prefix):
            return -1
        following = name[len(self.prefix) : len(self.prefix) + 1]
        if following == ":" and "/" not in self.prefix and not ports:
            return -1
        return len(self.prefix) if following in {"", "/", ":", "@"} else -1


class RegistriesConf(NamedTuple):
    """The merged configuration. `helpers` are credential helpers, `search` registries for short names."""

    tables: tuple[RegistryTable, ...] = ()
    search: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ("containers-auth.json",)
    mode: str = "permissive"
    aliases: Mapping[str, str] = {}
    unknown: tuple[str, ...] = ()

    def table_for(self, name: str) -> RegistryTable | None:
        """The table with the longest prefix that *name* (`host/path[:tag|@digest]`) begins with."""
        return self._longest([table for table in self.tables if table.matches(name) >= 0])

    def blocks(self, name: str) -> str:
        """The prefix that blocks *name*; "" if it is not blocked.

        Other readers treat a host without a port like the same host with one. Here this applies to blocking only.
        """
        found = self._longest([table for table in self.tables if table.matches(name, ports=True) >= 0])
        return found.prefix if found is not None and found.blocked else ""

    @staticmethod
    def _longest(tables: list[RegistryTable]) -> RegistryTable | None:
        return max(tables, key=lambda table: len(table.prefix), default=None)


def read_registries(places: Places) -> RegistriesConf:
    """Read all files. Raises RegistryConfigError for one that cannot be used."""
    merged: dict[str, Any] = {"tables": {}, "aliases": {}, "unknown": []}
    for path, is_main in _files(places):
        found = _read(path, is_main, places)
        if found is not None:
            _merge(merged, found)
        elif is_main and places.environ.get("CONTAINERS_REGISTRIES_CONF") == path:
            raise RegistryConfigError(path, "does not exist", "CONTAINERS_REGISTRIES_CONF names it")
    return RegistriesConf(
        tuple(merged["tables"].values()),
        tuple(merged.get("search", ())),
        tuple(merged.get("helpers", ("containers-auth.json",))),
        merged.get("mode") or "permissive",
        {name: target for name, target in merged["aliases"].items() if target},
        tuple(merged["unknown"]),
    )


def _read(path: str, is_main: bool, places: Places) -> dict[str, Any] | None:
    """The settings of one file; None if it does not exist. A TOML reader is loaded only for a file that has changed."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        status = None
    if places.kept is not None and status is not None:
        known = places.kept.recall(path, status)
        if known is not None and known.get("is_main") == is_main:
            return _restored(known)
    data = read_file(path)
    if data is None:
        return None
    found = parse_registries(data, path, is_main)
    if places.kept is not None and status is not None:
        tables = [[*table[:-1], [list(one) for one in table.mirrors]] for table in found["tables"].values()]
        places.kept.remember(path, status, {**found, "tables": tables, "is_main": is_main})
    return found


def _restored(known: dict[str, Any]) -> dict[str, Any]:
    """The settings from their kept form."""
    tables = [
        RegistryTable(*one)._replace(mirrors=tuple(Mirror(*mirror) for mirror in one[-1])) for one in known["tables"]
    ]
    found = {name: value for name, value in known.items() if name != "is_main"}
    return {**found, "tables": {table.prefix: table for table in tables}}


def registries_files(places: Places) -> list[str]:
    """The files that count and exist, in the order of reading. Raises RegistryConfigError."""
    return [path for path, _ in _files(places) if os.path.exists(path)]


def _files(places: Places) -> list[tuple[str, bool]]:
    named = places.environ.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        return [(named, True)]
    user = places.user_file("registries.conf")
    system = f"{places.etc}/containers/registries.conf"
    if user and os.path.exists(user):
        return [(user, True), *((one, False) for one in _drop_ins(f"{user}.d"))]
    found = [(system, True), *((one, False) for one in _drop_ins(f"{system}.d"))]
    return found + [(one, False) for one in (_drop_ins(f"{user}.d") if user else ())]


def _drop_ins(directory: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if name.endswith(".conf")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RegistryConfigError(directory, f"cannot be read: {reason(error)}") from error


def _merge(into: dict[str, Any], found: dict[str, Any]) -> None:
    into["tables"].update(found.pop("tables"))
    into["aliases"].update(found.pop("aliases"))
    into["unknown"] += found.pop("unknown")
    into.update(found)


def parse_registries(data: bytes, path: str, is_main: bool = True) -> dict[str, Any]:
    """The settings of one file, named as in `RegistriesConf`; missing settings are left out.

    Raises RegistryConfigError.
    """
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RegistryConfigError(path, f"is not TOML: {shown(str(error), 200)}") from error
    file = _File(path)
    if isinstance(document.get("registries"), dict):
        document = file.converted(document, is_main)
    found: dict[str, Any] = {"tables": {}, "unknown": [], "aliases": {}}
    found["unknown"] += [f"{path}: {shown(key, 60)}" for key in sorted(document.keys() - _TOP)]
    for key, name in (("unqualified-search-registries", "search"), ("credential-helpers", "helpers")):
        if key in document:
            found[name] = file.texts(document, key)
    for one in found.get("search", ()):
        if _HOST.fullmatch(one) is None or one.startswith("*"):
            raise file.error(f"unqualified-search-registries: {shown(one, 80)} is not a registry")
    if "short-name-mode" in document:
        found["mode"] = file.text(document, "short-name-mode")
        if found["mode"] not in _MODES:
            raise file.error(f"short-name-mode {shown(found['mode'], 40)} is not known")
    aliases = document.get("aliases", {})
    if not isinstance(aliases, dict) or not all(isinstance(one, str) for one in aliases.values()):
        raise file.error("aliases is not a table of strings")
    found["aliases"] = aliases
    tables = [file.registry(members, found["unknown"]) for members in file.tables(document, "registry")]
    _check_places(file, tables)
    found["tables"] = {table.prefix: table for table in tables}
    return found


def _check_places(file: _File, tables: Sequence[RegistryTable]) -> None:
    """Refuse a location that is insecure in one table and secure in another. Raises RegistryConfigError."""
    seen: dict[str, RegistryTable] = {}
    for table in tables:
        other = seen.setdefault(table.location, table)
        if table.location and (other.insecure, other.blocked) != (table.insecure, table.blocked):
            raise file.error(f"has two tables for {table.location} that differ in insecure or blocked")


class _File:
    """Reads the members of a file's tables, and names the file in errors."""

    def __init__(self, path: str) -> None:
        self._path = path

    def error(self, why: str) -> RegistryConfigError:
        """The error for this file with the reason *why*."""
        return RegistryConfigError(self._path, why)

    def text(self, members: Mapping[str, Any], key: str) -> str:
        """The string under *key*; "" if it is missing."""
        value = members.get(key, "")
        if not isinstance(value, str):
            raise self.error(f"{key} is not a string")
        return value

    def flag(self, members: Mapping[str, Any], key: str) -> bool:
        """The Boolean under *key*; False if it is missing."""
        value = members.get(key, False)
        if not isinstance(value, bool):
            raise self.error(f"{key} is neither true nor false")
        return value

    def texts(self, members: Mapping[str, Any], key: str) -> list[str]:
        """The list of strings under *key*."""
        value = members.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.error(f"{key} is not a list of strings")
        return value

    def tables(self, members: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        """The list of tables under *key*."""
        value = members.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.error(f"{key} is not a list of tables ([[{key}]])")
        return value

    def location(self, members: Mapping[str, Any], key: str) -> str:
        """The registry or repository under *key*, without a slash at its end."""
        text = self.text(members, key).rstrip("/")
        if text.startswith(("http://", "https://")) or "://" in text:
            raise self.error(f"{key} {shown(text, 80)} has a scheme, which is not allowed there")
        wildcard = key == "prefix" and text.startswith("*.")
        if text and _LOCATION.fullmatch(text.removeprefix("*.") if wildcard else text) is None:
            raise self.error(f"{key} {shown(text, 80)} is not a registry or repository")
        if wildcard and _MARK.search(text):
            raise self.error(f"prefix {shown(text, 80)}: after *. only a host may follow")
        return text

    def registry(self, members: dict[str, Any], unknown: list[str]) -> RegistryTable:
        """One `[[registry]]`."""
        prefix, location = self.location(members, "prefix"), self.location(members, "location")
        if "pull-from-mirror" in members:
            raise self.error("pull-from-mirror is allowed for mirrors only, not for a registry")
        if not prefix and not location:
            raise self.error("a [[registry]] has neither prefix nor location")
        prefix = prefix or location
        if not location and not prefix.startswith("*."):
            raise self.error(f"the [[registry]] for {shown(prefix, 80)} has no location")
        unknown += self._unknown(members, _REGISTRY, prefix)
        by_digest = self.flag(members, "mirror-by-digest-only")
        mirrors = [self._mirror(one, by_digest, unknown) for one in self.tables(members, "mirror")]
        insecure, blocked = self.flag(members, "insecure"), self.flag(members, "blocked")
        return RegistryTable(prefix, location, insecure, blocked, tuple(mirrors))

    def _mirror(self, members: dict[str, Any], by_digest: bool, unknown: list[str]) -> Mirror:
        location = self.location(members, "location")
        if not location:
            raise self.error("a [[registry.mirror]] has no location")
        pulls = self.text(members, "pull-from-mirror")
        where = f"mirror {shown(location, 80)}: pull-from-mirror"
        if pulls and by_digest:
            raise self.error(f"{where} and mirror-by-digest-only exclude each other")
        if pulls not in {"", ALL, DIGEST_ONLY, TAG_ONLY}:
            raise self.error(f"{where} is {shown(pulls, 40)}, which is not known")
        unknown += self._unknown(members, _MIRROR, location)
        pulls = pulls or (DIGEST_ONLY if by_digest else ALL)
        return Mirror(location, self.flag(members, "insecure"), pulls)

    def _unknown(self, members: dict[str, Any], known: frozenset[str], where: str) -> list[str]:
        return [f"{self._path}: {shown(where, 60)}: {shown(key, 60)}" for key in sorted(members.keys() - known)]

    def converted(self, document: dict[str, Any], is_main: bool) -> dict[str, Any]:
        """Version 1 (`[registries.search]`, `.insecure`, `.block`) converted to version 2."""
        if document.keys() - {"registries"} or not is_main:
            raise self.error("mixes the old form ([registries.search] …) with the new one, or is not the main file")
        old = document["registries"]
        lists = {}
        for key in ("search", "insecure", "block"):
            members = old.get(key, {})
            if not isinstance(members, dict):
                raise self.error(f"registries.{key} is not a table")
            lists[key] = self.texts(members, "registries")
        tables: dict[str, dict[str, Any]] = {}
        for key, flag in (("insecure", "insecure"), ("block", "blocked")):
            for one in lists[key]:
                tables.setdefault(one, {"location": one})[flag] = True
        return {"unqualified-search-registries": lists["search"], "registry": list(tables.values())}
