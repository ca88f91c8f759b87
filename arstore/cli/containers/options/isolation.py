"""Options for namespaces and kernel parameters of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from arstore.cli.parameter import option
from arstore.errors import UsageError

if TYPE_CHECKING:
    from typing import Literal, TypedDict

    from arstore.runtime.spec.isolation import Isolation
    from arstore.runtime.spec.options import RunOptions

    class IsolationWords(TypedDict):
        """The options as they were typed."""

        ipc: str
        pid: str
        uts: str
        userns: str
        uidmap: tuple[str, ...]
        gidmap: tuple[str, ...]
        subuidname: str
        subgidname: str
        cgroupns: str
        cgroup_parent: str | None
        sysctl: tuple[str, ...]
        personality: str | None


ISOLATION_OPTIONS = (
    option("--ipc", metavar="KIND", default="", help="private (the default), host, or none for no /dev/shm."),
    option("--pid", metavar="KIND", default="", help="private, which is the only kind."),
    option("--uts", metavar="KIND", default="", help="private (the default), or host for the host's name."),
    option("--userns", metavar="KIND", default="", help="host: the host's ids, without --uidmap."),
    option(
        "--uidmap",
        metavar="ID:HOSTID[:N]",
        multiple=True,
        help="Map N user ids of the container, from ID on, to the host's from HOSTID on; needs Linux 6.15.",
    ),
    option(
        "--gidmap",
        metavar="ID:HOSTID[:N]",
        multiple=True,
        help="Map group ids, in the form of --uidmap; by default the same ids.",
    ),
    option("--subuidname", metavar="NAME", default="", help="Map the user ids that NAME has in /etc/subuid."),
    option("--subgidname", metavar="NAME", default="", help="Map the group ids that NAME has in /etc/subgid."),
    option(
        "--cgroupns", metavar="KIND", default="", help="private or host; by default as in podman, or private for load."
    ),
    option("--cgroup-parent", metavar="PATH", help="Make the container's control groups below this one."),
    option(
        "--sysctl",
        metavar="K=V",
        multiple=True,
        help="Set a kernel parameter of the container: net.*, fs.mqueue.*, or of System V IPC.",
    ),
    option("--personality", metavar="DOMAIN", help="Set the execution domain: LINUX, or LINUX32 for a 32-bit machine."),
)


def with_isolation(options: RunOptions, words: IsolationWords) -> RunOptions:
    """Return *options* with the namespaces. Raises UsageError."""
    from arstore.runtime.spec.isolation import (
        Isolation,
        parse_cgroup_parent,
        parse_namespace,
        parse_personality,
        parse_sysctl,
        require_own_namespaces,
    )

    parse_namespace("--pid", words["pid"], ("private",))
    parse_namespace("--userns", words["userns"] or "host", ("host",))
    parent, personality = words["cgroup_parent"], words["personality"]
    if parent is not None and not options.cgroups:
        raise UsageError("--cgroup-parent", "needs control groups, but --cgroups=disabled is given")
    isolation = Isolation(
        cast("Literal['private', 'host', 'none']", parse_namespace("--ipc", words["ipc"], ("private", "host", "none"))),
        cast("Literal['private', 'host']", parse_namespace("--uts", words["uts"], ("private", "host"))),
        cast("Literal['private', 'host']", parse_namespace("--cgroupns", words["cgroupns"], ("private", "host"))),
        dict(map(parse_sysctl, words["sysctl"])),
        "" if parent is None else parse_cgroup_parent(parent),
        "" if personality is None else parse_personality(personality),
    )
    require_own_namespaces(isolation, options.network)
    if any(words[name] for name in _MAPS):  # type: ignore[literal-required]
        isolation = _mapped(isolation, options, words)
    return options._replace(isolation=isolation)


_MAPS = ("uidmap", "gidmap", "subuidname", "subgidname")


def _mapped(isolation: Isolation, options: RunOptions, words: IsolationWords) -> Isolation:
    """Return *isolation* with the maps of a user namespace. Raises UsageError, NotFoundError, PermissionDeniedError."""
    from arstore.runtime.spec.identity.id_maps import maps_of

    name = next(name for name in _MAPS if words[name])  # type: ignore[literal-required]
    if words["userns"]:
        raise UsageError(f"--{name}", f"excludes --userns={words['userns']}")
    if options.network != "none":
        raise UsageError(f"--{name}", "is supported only for containers without a network", "add --network=none")
    if options.security.privileged:
        raise UsageError(f"--{name}", "excludes --privileged")
    uids, gids = maps_of(words["uidmap"], words["gidmap"], words["subuidname"], words["subgidname"])
    return isolation._replace(uids=uids, gids=gids)
