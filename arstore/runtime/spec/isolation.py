"""Namespaces that a container shares with the host or not, and its kernel parameters: `--sysctl`, `--cgroup-parent`.

Format: OCI runtime-spec config-linux.md, "Namespaces" and "Sysctl". A container has its own pid and mount namespace in
every case: the kernel ends its processes and mounts with them.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.pattern import pattern
from arstore.runtime.spec.sizes import refused
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from arstore.linux.isolation.mapping import IdRange
    from arstore.runtime.spec.defaults import Json

_SHARED_MEMORY = ("shmall", "shmmax", "shmmni", "shm_rmid_forced")
_IPC = frozenset(f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", *_SHARED_MEMORY))
_UTS = ("kernel.domainname", "kernel.hostname")
_SYSCTL = pattern(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_:@*-]+)+")
_DOMAINS = ("LINUX", "LINUX32")


class Isolation(NamedTuple):
    """Which namespaces are the container's own, and kernel parameters inside them."""

    ipc: Literal["private", "host", "none"] = "private"
    """With `none`, the namespace is private and has no /dev/shm."""
    uts: Literal["private", "host"] = "private"
    cgroup: Literal["private", "host"] = "private"
    sysctls: Mapping[str, str] = MappingProxyType({})
    cgroup_parent: str = ""
    """The control group above the container's, an absolute path; "" for arstore's own."""
    personality: str = ""
    """An execution domain of personality(2): LINUX or LINUX32."""
    uids: tuple[IdRange, ...] = ()
    """The users of the container's own user namespace; () for the host's namespace."""
    gids: tuple[IdRange, ...] = ()


def parse_namespace(name: str, text: str, kinds: Iterable[str]) -> str:
    """Return the kind of a namespace: one of *kinds*, of which `private` is the default. Raises UsageError.

    *name* is the option. `shareable` is private here: no other container can join.
    """
    taken = tuple(kinds)
    if text in taken or not text:
        return text or "private"
    if text == "shareable" and name == "--ipc":
        return "private"
    kind = text.partition(":")[0]
    if name == "--pid" and text == "host":
        why = "is not supported: the kernel ends a container's processes with their pid namespace"
        raise refused(f"{name}={text}", why)
    if kind in {"container", "ns", "pod"}:
        raise refused(f"{name}={text}", "is not supported: a container cannot join another one's namespaces")
    if name == "--userns":
        why = "is not supported: a container's ids are those of the host, or as --uidmap says"
        raise refused(f"{name}={text}", why, "use --userns=host, or --uidmap")
    raise refused(f"{name}={text}", "not a kind of namespace", f"use one of {', '.join(taken)}")


def parse_sysctl(text: str) -> tuple[str, str]:
    """Read `NAME=VALUE`. Raises UsageError for a parameter that is not of one container alone."""
    name, equals, value = text.partition("=")
    if not equals or _SYSCTL.fullmatch(name) is None or "\0" in value:
        raise refused(text, "not a kernel parameter", "write NAME=VALUE, such as net.ipv4.ip_forward=1")
    name = name.replace("/", ".") if "." not in name.partition("/")[0] else name
    if not (name in _IPC or name in _UTS or name.startswith(("net.", "fs.mqueue."))):
        why = "is not allowed: it would change the host too"
        raise refused(name, why, "allowed are net.*, fs.mqueue.* and the parameters of System V IPC")
    return name, value


def require_own_namespaces(isolation: Isolation, network: str) -> None:
    """Raise UsageError for a kernel parameter of a namespace that is the host's."""
    for name in isolation.sysctls:
        what = ""
        if name.startswith("net.") and network in {"host", "ns"}:
            what = f"--network={network}"
        elif (name in _IPC or name.startswith("fs.mqueue.")) and isolation.ipc == "host":
            what = "--ipc=host"
        elif name in _UTS and isolation.uts == "host":
            what = "--uts=host"
        if what:
            raise refused(name, f"cannot be set with {what}: it would change the host")


def parse_cgroup_parent(text: str) -> str:
    """Return the path of a control group, absolute and without `..`. Raises UsageError."""
    if not text or "\0" in text or ".." in text.split("/") or text.endswith(".slice"):
        hint = "" if not text.endswith(".slice") else "arstore does not use systemd; write a path such as /group"
        raise refused(text, "not the path of a control group", hint)
    path = os.path.normpath("/" + text.strip("/"))
    if path == "/" or len(os.fsencode(path)) > 1024 or not path.isprintable():
        raise refused(text, "not the path of a control group")
    return path


def parse_personality(text: str) -> str:
    """Return the execution domain. Raises UsageError."""
    if text.upper() not in _DOMAINS:
        raise refused(text, "not an execution domain", f"use one of {', '.join(_DOMAINS)}")
    return text.upper()


def namespaces(network: str, isolation: Isolation | None = None, joined: str = "") -> list[Json]:
    """Return the container's own namespaces; the cgroup namespace only if the kernel has it (4.6).

    *joined* is the file of the network namespace to join; "" for a new one.
    """
    how = isolation or Isolation()
    kinds = ["pid", "mount"]
    if how.ipc != "host":
        kinds.append("ipc")
    if how.uts != "host":
        kinds.append("uts")
    if network != "host":
        kinds.append("network")
    if how.uids:
        kinds.append("user")
    if how.cgroup != "host" and os.path.exists("/proc/self/ns/cgroup"):
        kinds.append("cgroup")
    found: list[Json] = [{"type": kind} for kind in kinds]
    for one in found:
        if joined and one["type"] == "network":
            one["path"] = joined
    return found


def shared_mounts(isolation: Isolation) -> dict[str, Json | None]:
    """Return the mounts that replace default ones, by destination; None for one that is left out."""
    if isolation.ipc == "none":
        return {"/dev/shm": None}  # a place in the container
    if isolation.ipc != "host":
        return {}
    options = ["rbind", "rprivate", "nosuid", "noexec", "nodev", "rw"]
    return {
        place: {"destination": place, "type": "bind", "source": place, "options": options}
        for place in ("/dev/shm", "/dev/mqueue")  # places on the host
        if os.path.isdir(place)
    }
