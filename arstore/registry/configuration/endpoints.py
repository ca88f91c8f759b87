"""Places from which a name is read: its mirrors in order, then the registry itself; none if it is blocked.

Mirrors and rewritten locations are used for reading only. The rules are those of containers-registries.conf(5),
"Remapping and mirroring".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RegistryBlockedError
from arstore.oci.docker_reference import DockerReference
from arstore.registry.configuration.registries_conf import DIGEST_ONLY, TAG_ONLY
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.registry.configuration.registries_conf import RegistriesConf, RegistryTable


class Endpoint(NamedTuple):
    """A registry `host` (as in references) and a `path` there; `is_mirror` if the user did not name it."""

    host: str
    path: str
    insecure: bool = False
    is_mirror: bool = False


def read_from(reference: DockerReference, conf: RegistriesConf) -> list[Endpoint]:
    """The places to read *reference* from, the registry itself last. Raises RegistryBlockedError."""
    table = _table(reference, conf)
    if table is None:
        return [Endpoint(reference.domain, reference.path)]
    name = reference.repository
    wrong = TAG_ONLY if reference.digest is not None else DIGEST_ONLY
    found = [
        _endpoint(table, name, mirror.location, mirror.insecure, is_mirror=True)
        for mirror in table.mirrors
        if mirror.pulls != wrong
    ]
    own = _endpoint(table, name, table.location, table.insecure)
    return [*found, own]


def write_to(reference: DockerReference, conf: RegistriesConf) -> Endpoint:
    """The place for everything but reading an image. Raises RegistryBlockedError."""
    table = _table(reference, conf)
    return Endpoint(reference.domain, reference.path, table is not None and table.insecure)


def _table(reference: DockerReference, conf: RegistriesConf) -> RegistryTable | None:
    prefix = conf.blocks(str(reference))
    if prefix:
        why = f"is blocked by the configuration of registries (prefix {prefix})"
        raise RegistryBlockedError(reference.repository, why)
    return conf.table_for(str(reference))


def _endpoint(table: RegistryTable, name: str, location: str, insecure: bool, is_mirror: bool = False) -> Endpoint:
    rest = name[table.matches(name) :]
    whole = f"{location}{rest}" if location else name
    host, _, path = whole.partition("/")
    moved = DockerReference.parse(whole, "") if path else None
    return Endpoint(host if moved is None else moved.domain, path if moved is None else moved.path, insecure, is_mirror)
