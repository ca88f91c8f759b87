"""Settings of a container from outside its image and its options."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.linux.isolation.user_namespace import IdMaps
    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.mounts.volume import Volume


class Surroundings(NamedTuple):
    """The surroundings of a container. *files* maps the container's paths to files of the bundle."""

    hostname: str
    cgroups_path: str
    """"" for a container without control groups."""
    limits: frozenset[str] = frozenset()
    """Resources that control groups can limit here (`cgroups.delegated`)."""
    rootfs: str = "rootfs"
    init: str = ""
    """The host's program for the container's init; "" for none."""
    files: Mapping[str, str] = MappingProxyType({})
    volumes: Sequence[Volume] = ()
    seccomp: Json | None = None
    ids: IdMaps | None = None
    """The ids of the user namespace that the container runs in; None for the host's, where root has all rights."""
    network: str = ""
    """The file of the network namespace to join; "" for a new one, or the host's."""
