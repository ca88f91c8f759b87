"""Short names: names without a registry, and the registries that the configuration has for them.

Aliases come first: those that a tool has recorded, then those in registries.conf. Otherwise, the registries of the
search list are tried in turn. Nothing is recorded here, and there is no prompt: with the mode `enforcing`, more than
one candidate is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import InvalidReferenceError, RegistryConfigError
from arstore.oci.docker_reference import DockerReference, has_domain
from arstore.oci.document import shown
from arstore.registry.configuration.places import Places, read_file

if TYPE_CHECKING:
    from arstore.registry.configuration.registries_conf import RegistriesConf


def candidates_for(text: str, conf: RegistriesConf, places: Places) -> list[DockerReference]:
    """The possible meanings of *text*, in the order in which they are tried; only one if it names its registry.

    Raises InvalidReferenceError, also for a short name for which nothing is configured.
    """
    name, mark, behind = _taken_apart(text)
    if has_domain(name):
        return [DockerReference.parse(text)]
    alias = _recorded(places).get(name) or conf.aliases.get(name, "")
    if alias and conf.mode != "disabled":
        return [DockerReference.parse(f"{alias}{mark}{behind}")]
    if not conf.search:
        hint = f"add the registry, for example docker.io/{shown(text)}"
        raise InvalidReferenceError(shown(text), "is a short name, but no registry is configured to search", hint)
    if len(conf.search) > 1 and conf.mode == "enforcing":
        hint = f"add the registry, for example {conf.search[0]}/{shown(text)}"
        raise InvalidReferenceError(shown(text), "is a short name that may mean several registries", hint)
    return [DockerReference.parse(f"{registry}/{text}") for registry in conf.search]


def _taken_apart(text: str) -> tuple[str, str, str]:
    """The name, and its tag or digest with the separator in front."""
    name, at, digest = text.partition("@")
    if at:
        return name, at, digest
    head, colon, tag = text.rpartition(":")
    return (head, colon, tag) if colon and "/" not in tag else (text, "", "")


def _recorded(places: Places) -> dict[str, str]:
    """Aliases for short names that tools have recorded."""
    import tomllib

    path = f"{places.var}/cache/containers/short-name-aliases.conf"
    if places.uid:
        cache = places.environ.get("XDG_CACHE_HOME") or f"{places.home}/.cache"
        path = f"{cache}/containers/short-name-aliases.conf"
    data = read_file(path)
    if data is None:
        return {}
    try:
        aliases = tomllib.loads(data.decode("utf-8")).get("aliases", {})
    except ValueError as error:
        raise RegistryConfigError(path, "is not TOML") from error
    if not isinstance(aliases, dict):
        raise RegistryConfigError(path, "aliases is not a table")
    return {name: target for name, target in aliases.items() if isinstance(target, str) and target}
