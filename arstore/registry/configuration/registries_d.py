"""registries.d: where the signatures are that a registry does not keep itself (containers-registries.d(5)).

    default-docker: {SETTINGS}
    docker: {NAME or NAMESPACE: {SETTINGS}, ...}

SETTINGS are `lookaside` (a base URL), `lookaside-staging` (where signatures are written, if elsewhere), the same two
under their old names `sigstore` and `sigstore-staging`, and `use-sigstore-attachments` (whether the registry keeps
cosign's). All files `*.yaml` in the user's directory, or else in the host's, form one configuration. A section must not
occur twice in it.

The man page says that only the most specific section counts. The tools look up each setting separately, from the most
specific section that has it to the default, and so does this module. Not in scope: the content at a URL
(`registry.lookaside`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from arstore.errors import RegistryConfigError, reason
from arstore.oci.document import shown
from arstore.registry.configuration.places import read_file
from arstore.registry.configuration.strict_yaml import parse_yaml
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arstore.oci.docker_reference import DockerReference
    from arstore.registry.configuration.places import Places

_DEFAULT, _DOCKER = "default-docker", "docker"
_TEXTS = ("lookaside", "lookaside-staging", "sigstore", "sigstore-staging")
_ATTACHMENTS = "use-sigstore-attachments"
_WORDS = {"true": True, "yes": True, "on": True, "y": True, "false": False, "no": False, "off": False, "n": False}
_MOST_FILES = 1000


class Section(NamedTuple):
    """The settings of one namespace; "" and None for those that are not set."""

    reading: str = ""
    staging: str = ""
    attachments: bool | None = None


class RegistriesD(NamedTuple):
    """All sections by namespace; the default section is under ""."""

    sections: Mapping[str, Section]

    def reading_base(self, reference: DockerReference, places: Places) -> str:
        """The base URL from which the signatures of *reference* are read."""
        found = (section.reading for section in self._for(reference))
        return next(filter(None, found), "") or default_base(places)

    def writing_base(self, reference: DockerReference, places: Places) -> str:
        """The base URL to which signatures of *reference* are written."""
        found = (section.staging or section.reading for section in self._for(reference))
        return next(filter(None, found), "") or default_base(places)

    def uses_attachments(self, reference: DockerReference) -> bool:
        """Whether other tools look for cosign's signatures of *reference* in its registry."""
        found = (section.attachments for section in self._for(reference))
        return next((one for one in found if one is not None), False)

    def _for(self, reference: DockerReference) -> Iterator[Section]:
        for name in (str(reference), *reference.namespaces, ""):
            if name in self.sections:
                yield self.sections[name]


def read_registries_d(places: Places, directory: str | None = None) -> RegistriesD:
    """The configuration in *directory*, by default the user's `registries.d`, or else the host's.

    Raises RegistryConfigError; if there is no directory, the configuration is empty.
    """
    chosen = _chosen(places) if directory is None else directory
    sections: dict[str, Section] = {}
    origins: dict[str, str] = {}
    for path in _files(chosen):
        data = read_file(path)
        # A file that was removed in the meantime is ignored.
        for name, section in {} if data is None else parse_sections(data, path).items():
            if name in origins:
                what = shown(name, 100) if name else _DEFAULT
                raise RegistryConfigError(path, f"{what} is also in {origins[name]}")
            sections[name], origins[name] = section, path
    return RegistriesD(sections)


def parse_sections(data: bytes, path: str) -> dict[str, Section]:
    """The sections of one file by namespace; the default section is under "". Raises RegistryConfigError."""
    document = _mapping(parse_yaml(data, path), path, "the file")
    found = {
        name: _section(value, path, name) for name, value in _mapping(document.get(_DOCKER), path, _DOCKER).items()
    }
    if "" in found:
        raise RegistryConfigError(path, f"{_DOCKER}: a namespace is empty", f"write {_DEFAULT}")
    if document.get(_DEFAULT):
        found[""] = _section(document[_DEFAULT], path, _DEFAULT)
    return found


def default_base(places: Places) -> str:
    """Where signatures are if nothing is configured: for root in a directory of the host, else in one of the user."""
    if places.uid == 0 or not places.home:
        return f"file://{places.var}/lib/containers/sigstore"
    return f"file://{places.home}/.local/share/containers/sigstore"


def _chosen(places: Places) -> str:
    # In the home directory even if XDG_CONFIG_HOME is set: that is where the other tools look.
    own = f"{places.home}/.config/containers/registries.d" if places.home else ""
    return own if own and os.path.exists(own) else f"{places.etc}/containers/registries.d"


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RegistryConfigError(directory, f"cannot be read: {reason(error)}") from error
    if len(names) > _MOST_FILES:
        raise RegistryConfigError(directory, f"has more than {_MOST_FILES} files")
    return [f"{directory}/{name}" for name in names if name.endswith(".yaml")]


def _section(value: object, path: str, where: str) -> Section:
    settings = _mapping(value, path, where)
    texts = {name: _text(settings.get(name), path, f"{where}: {name}") for name in _TEXTS}
    word = _text(settings.get(_ATTACHMENTS), path, f"{where}: {_ATTACHMENTS}").lower()
    if word and word not in _WORDS:
        raise RegistryConfigError(path, f"{shown(where, 100)}: {_ATTACHMENTS} is neither true nor false")
    return Section(
        texts["lookaside"] or texts["sigstore"],
        texts["lookaside-staging"] or texts["sigstore-staging"],
        _WORDS[word] if word else None,
    )


def _mapping(value: object, path: str, where: str) -> dict[str, Any]:
    # An empty value is read as the empty string; it means no settings.
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise RegistryConfigError(path, f"{shown(where, 100)}: is not a mapping")
    return value


def _text(value: object, path: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RegistryConfigError(path, f"{shown(where, 100)}: is not a string")
    return value
