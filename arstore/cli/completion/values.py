"""The values that complete an option or an argument: what the store has, transports, files.

The kind of a value is read from the metavar that `--help` shows, such as IMAGE or DIR. Names of images come from the
store's index.json, and containers and mounts from the names of files: no lock is taken, and nothing is created.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from arstore.cli.parameter import Argument, Choice, FilePath
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from arstore.api.config.settings import Settings
    from arstore.cli.parameter import Option, Parameter

FILES, DIRECTORIES = "files", "directories"
_REF_NAME = "org.opencontainers.image.ref.name"
_SUBJECT = "arstore.subject"
"""Annotation of attachments in the index; the same as `graph.records.SUBJECT`, whose module is not loaded here."""
_TRANSPORTS = (
    ("docker://", "a registry"),
    ("oci:", "an OCI layout"),
    ("oci-archive:", "an OCI archive"),
    ("docker-archive:", "an archive of docker save"),
    ("dir:", "a directory of skopeo"),
    ("store:", "an image of the store"),
)
_PATHS = ("oci:", "oci-archive:", "docker-archive:", "dir:", "jwe:")
_PLATFORMS = ("amd64", "arm64", "arm/v7", "386", "ppc64le", "s390x", "riscv64")
_SIGNALS = ("TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH")
_HEX = pattern(r"[0-9a-f]{2,}")


class Candidate(NamedTuple):
    """A word that fits, what it means, and whether the word goes on after it."""

    text: str
    help: str = ""
    is_part: bool = False


class Answer(NamedTuple):
    """Words that fit, and the kind of paths that fit too: those that begin with `path`, each after `prefix`."""

    candidates: tuple[Candidate, ...] = ()
    paths: str = ""
    path: str = ""
    prefix: str = ""

    def behind(self, prefix: str) -> Answer:
        """Return the same for a word that begins with *prefix*."""
        found = tuple(one._replace(text=prefix + one.text) for one in self.candidates)
        return self._replace(candidates=found, prefix=prefix + self.prefix)


class _Store:
    """A store, as far as it is known without opening it."""

    def __init__(self, given: Sequence[tuple[Option, str]], environ: Mapping[str, str]) -> None:
        self._given = {one.name: value for one, value in given}
        self._more = [value for one, value in given if one.name == "additional_store"]
        self._environ = environ

    @cached_property
    def _settings(self) -> Settings | None:
        """Settings from the configuration files. Raises UsageError, ConfigFileError."""
        from arstore.api.opening import settings_of

        config = self._given.get("config")
        return settings_of(None if config is None else os.path.expanduser(config), keep=False)

    @property
    def root(self) -> str:
        """The store's root. Raises UsageError, ConfigFileError."""
        from arstore.api.places import default_root
        from arstore.linux.isolation.user_namespace import acting_uid

        root = self._given.get("root") or self._environ.get("ARSTORE_ROOT")
        if root:
            return os.path.expanduser(root)
        configured = self._settings and self._settings.root
        return configured or default_root(self._environ, acting_uid())

    def _roots(self) -> list[str]:
        """Return the roots of the store and of its additional stores."""
        from arstore.api.opening import additional_to

        with suppress(Exception):  # any error is the command's to print
            more = additional_to(self.root, tuple(map(os.path.expanduser, self._more)), settings=self._settings)
            return [self.root, *(one.root for one in more)]
        return [self.root]

    def images(self, current: str) -> Iterable[Candidate]:
        """Yield the names of images, and digests if *current* begins like one or the image has no name."""
        by_digest: dict[str, list[str]] = {}
        for root in self._roots():
            with suppress(OSError, ValueError), open(f"{root}/index.json", "rb") as file:
                for entry in json.load(file)["manifests"]:
                    annotations = entry.get("annotations") or {}
                    if _SUBJECT not in annotations:
                        by_digest.setdefault(entry["digest"], []).append(annotations.get(_REF_NAME, ""))
        names = {name for found in by_digest.values() for name in found if name and name not in by_digest}
        yield from (Candidate(name) for name in sorted(names))
        is_hex = _HEX.fullmatch(current) is not None
        for digest, found in sorted(by_digest.items()):
            named = next((name for name in found if name in names), "")
            if current.startswith("sha") or not named:
                yield Candidate(digest, named)
            if is_hex:
                yield Candidate(digest.partition(":")[2], named)

    def containers(self, _: str) -> Iterable[Candidate]:
        """Yield the ids of containers."""
        with suppress(OSError):
            yield from (Candidate(name, "container") for name in sorted(os.listdir(f"{self.root}/containers")))

    def mounts(self, _: str) -> Iterable[Candidate]:
        """Yield the places where something of the store is mounted."""
        directory = f"{self.root}/mounts"
        with suppress(OSError):
            for name in sorted(os.listdir(directory)):
                with suppress(OSError, ValueError), open(f"{directory}/{name}", "rb") as file:
                    target = json.load(file).get("target", "")
                    if target and os.path.ismount(target):
                        yield Candidate(target, "mount")

    def registries(self, _: str) -> Iterable[Candidate]:
        """Yield the registries for which credentials are stored."""
        from arstore.linux.isolation.user_namespace import acting_uid
        from arstore.registry.configuration.auth_file import auth_files
        from arstore.registry.configuration.places import Places

        places = Places(self._environ, acting_uid())
        found: set[str] = set()
        for one in auth_files(places, os.path.expanduser(self._given.get("authfile", ""))):
            with suppress(OSError, ValueError), open(one.path, "rb") as file:
                document = json.load(file)
                found.update(document if one.old else {**document.get("auths", {}), **document.get("credHelpers", {})})
        yield from (Candidate(name) for name in sorted(found))

    def repositories(self, current: str) -> Iterable[Candidate]:
        """Yield the repositories of the images of the store that are in a registry, and registries."""
        names = {one.text.rpartition(":")[0] for one in self.images("") if "/" in one.text}
        yield from (Candidate(name) for name in sorted(names) if "." in name.partition("/")[0] or ":" in name)
        yield from self.registries(current)


_STORED: dict[str, tuple[Callable[[_Store, str], Iterable[Candidate]], ...]] = {
    "IMAGE": (_Store.images,),
    "IMAGES": (_Store.images,),
    "NAME": (_Store.images,),
    "CONTAINER": (_Store.containers,),
    "ID": (_Store.containers,),
    "PATH|ID": (_Store.mounts, _Store.containers),
    "REGISTRY": (_Store.registries,),
    "REPOSITORY": (_Store.repositories,),
}
_PATH_WORDS = {"FILE": FILES, "DIR": DIRECTORIES, "TARGET": DIRECTORIES, "PREFIX": FILES, "PATH": FILES}
_PATH_BEGINNINGS = ("[SRC:]DST", "HOST[:PATH]", "KEYFILE[")


def metavar(one: Parameter) -> str:
    """Return the word that help shows for a value."""
    found = one.words.get("metavar") or one.name.upper()
    return found if isinstance(found, str) else ""


def values(one: Parameter, current: str, given: Sequence[tuple[Option, str]], environ: Mapping[str, str]) -> Answer:
    """Return the values of *one* that begin with *current*. *given* are the options before it, with their values."""
    if isinstance(one.kind, Choice):
        return _matching(current, (Candidate(choice) for choice in one.kind.choices))
    word = metavar(one)
    plain = word.removesuffix("...").strip("[]")
    if plain in {"SOURCE", "DESTINATION"}:
        return _reference(current, _Store(given, environ))
    if isinstance(one, Argument) and any(part in _STORED for part in (plain, *plain.split("|"))):
        return _stored(plain, current, _Store(given, environ))
    if plain == "jwe:KEYFILE":
        return _path_behind("jwe:", current) or _matching(current, (Candidate("jwe:", is_part=True),))
    if word.startswith(_PATH_BEGINNINGS):
        return Answer() if ":" in current else Answer(paths=FILES, path=current)
    if isinstance(one.kind, FilePath) or plain in _PATH_WORDS:
        return Answer(paths=_PATH_WORDS.get(plain, FILES), path=current)
    if plain in {"NAME=VALUE", "PART=S"}:
        return _matching(current, (Candidate(f"{name}=", is_part=True) for name in _settings(plain)))
    if plain == "SIGNAL":
        return _matching(current, map(Candidate, _SIGNALS))
    if plain.startswith("OS/ARCH"):
        return _matching(current, (Candidate(f"linux/{name}") for name in _PLATFORMS))
    return Answer()


def _settings(plain: str) -> Iterable[str]:
    """Return the names of limits, or the parts of `load`."""
    if plain == "PART=S":
        from arstore.pipeline.clock import PARTS

        return PARTS
    from arstore.tar.limits import limit_names

    return limit_names()


def _matching(current: str, found: Iterable[Candidate]) -> Answer:
    return Answer(tuple(one for one in found if one.text.startswith(current)))


def _stored(plain: str, current: str, store: _Store) -> Answer:
    makers = _STORED.get(plain) or tuple(maker for part in plain.split("|") for maker in _STORED.get(part, ()))
    return _matching(current, (one for maker in makers for one in maker(store, current)))


def _path_behind(prefix: str, current: str) -> Answer | None:
    """Return the paths that continue *current* after *prefix*; None if it does not begin with it."""
    if not current.startswith(prefix):
        return None
    return Answer(paths=FILES, path=current.removeprefix(prefix), prefix=prefix)


def _reference(current: str, store: _Store) -> Answer:
    """Return what continues TRANSPORT:REFERENCE, or a path."""
    for prefix in _PATHS:
        found = _path_behind(prefix, current)
        if found is not None:
            return found
    if current.startswith("store:"):
        rest = current.removeprefix("store:")
        return _matching(rest, store.images(rest)).behind("store:")
    if current.startswith("docker://"):
        rest = current.removeprefix("docker://")
        return _matching(rest, store.repositories(rest)).behind("docker://")
    found = _matching(current, (Candidate(text, help, True) for text, help in _TRANSPORTS))
    return found._replace(paths=FILES, path=current)
