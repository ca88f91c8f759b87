"""Known differences, each with its reason. A row whose differences are all known is listed, and is not equal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runcompare.row import Row
    from runcompare.verdict import Difference


class Known(NamedTuple):
    """Patterns for a row's key, a section, our lines and podman's lines, each matched in full; and the reason."""

    row: str
    section: str
    ours: str
    theirs: str
    reason: str


_ANY = ".*"
_WHOLE = (
    (
        "options: --blkio-weight",
        "control groups|stderr",
        "podman looks for the weight of CFQ, and leaves out that of BFQ",
    ),
    (
        "options: --cgroups",
        "control groups|mounts",
        "a container without its own control groups does not see the host's",
    ),
    (
        "options: --(ip|ip6|mac-address)|.*: the default network",
        _ANY,
        "a container has no network unless one is asked for, and there are no bridges",
    ),
    (
        "options: --pid|.*: --init --pid host",
        _ANY,
        "the kernel ends a container's processes with their pid namespace, whatever kills arstore: so each has its own",
    ),
    ("options: --pidfile", "files", "the file can be read by all users, as usual; podman's only by its owner"),
    (
        "options: --rdt-class",
        "status",
        "127 is for a missing command; podman takes each message with `No such file` for that",
    ),
    (
        "options: --(uid|gid)map",
        "mounts|control groups",
        "the root is nodev, and devices have rules in control groups; in podman neither is so",
    ),
    (
        "identity and groups: (empty user|image without config)",
        "stdout",
        "the primary group is among the additional groups",
    ),
    (
        ".*: --security-opt proc-opts=hidepid=2",
        "mounts",
        "the options are added to nosuid, nodev and noexec; in podman they replace them",
    ),
    (".*: --privileged --cap-drop NET_RAW", "process status", "what is dropped is dropped; podman ignores --cap-drop"),
    ("limits: negative cpus", "status|stderr", "a limit that cannot be meant is refused"),
    (
        "limits: file too large",
        "status|stderr",
        "crun fails to write its seccomp filter within the limit",
    ),
    ("limits: out of memory", "stderr", "a warning says that the kernel killed a process for lack of memory"),
    ("mounts and volumes: .*:rshared", _ANY, "mounts that a container makes must not appear on the host"),
    (
        "mounts and volumes: --mount type=image.*",
        "mounts|places",
        "images are mounted with nosuid and nodev, and the root directory has the mode in the image's layer",
    ),
    ("mounts and volumes: destination /", _ANY, "nothing can be mounted over the container's root"),
    ("mounts and volumes: a colon in the source", _ANY, "paths with colons can be mounted"),
    (
        "streams and signals: a reader that ends",
        _ANY,
        "the command gets SIGPIPE's error; podman leaves the container running, and waits",
    ),
    ("streams and signals: -it with a pipe", _ANY, "the end of the input ends it; podman waits forever"),
    (
        "streams and signals: stdout closed",
        "status|stderr",
        "output that cannot be written is an error, because the caller would take it for complete",
    ),
    (
        "statuses: no (interpreter|known format)",
        "status|stderr",
        "the command is looked at before it is started, and gets the status that is documented: 126 or 127",
    ),
    ("statuses: a container that is kept", "containers", "a container in the foreground is kept only with --keep"),
    (
        "a container's life: (logs|logs --tail|rename)",
        "stdout",
        "the output of a container in the foreground goes to the caller only, and not to a log",
    ),
    ("a container's life: exec in .*", "status", "125 is the documented status"),
    ("a container's life: exec -d", "stdout", "podman prints an id that no other command takes"),
    (
        "refused input: (--mount type=(tmpfs|image),.*|--tmpfs .*=abc|--(oom|personality|pidfile|hosts-).*|-p .*)",
        "status|stderr",
        "it is refused before the container is made, with 125; podman notices it when the container starts",
    ),
    (
        "refused input: (-e|--cap-add) ''|refused input: --security-opt seccomp=",
        "status|stderr",
        "an empty word, which usually comes from an unset variable, is refused",
    ),
    ("refused input: --userns keep-id", "status|stderr", "ids can be mapped with --uidmap only"),
    ("refused input: -d of no command", "containers", "a container that could not be started is removed"),
    (
        "a container's life: attach --no-stdin",
        "stdout|status",
        "the status is the container's; podman's is 0 without its events",
    ),
    (
        "a container's life: (inspect|ps --filter name)",
        "stdout",
        "podman calls a container `stopped` until another process has cleaned up after it",
    ),
    ("further options: --network pasta", _ANY, "pasta works for root, too"),
    (
        "refused input: --blkio-weight 5",
        "status|stderr",
        "podman looks for the weight of CFQ, and leaves out that of BFQ",
    ),
    ("further options: --cidfile -d", "stdout|stderr|files", "the name that a container is made with is its id"),
    (
        "further options: --uidmap 0:0",
        "mounts|control groups",
        "the root is nodev, and devices have rules in control groups; in podman neither is so",
    ),
    ("a container's life: volume with a label", _ANY, "volumes are inspected with --json"),
    ("further options: -w /proc/1", _ANY, "a working directory in /proc is refused"),
    ("further options: -v .*:/proc/x", "status", "a place that the runtime refuses is not a missing command"),
    (
        "further options: --mount type=image.*",
        "mounts|places",
        "images are mounted with nosuid and nodev, and the root directory has the mode in the image's layer",
    ),
    ("further options: .*idmap", _ANY, "ids are mapped for all mounts of a container, with --uidmap"),
    ("further options: .*upperdir=.*", _ANY, "an overlay's changes are not kept"),
    ("further options: --systemd always", _ANY, "no container is prepared for systemd"),
    ("further options: --(network|pid|ipc) container", _ANY, "no container joins the namespaces of another one"),
    (".*: invalid host name", _ANY, "a name that is not one is refused"),
)
"""Rows and sections whose differences are all right, whatever the lines are, and the reason."""
KNOWN: tuple[Known, ...] = (
    Known(
        _ANY,
        "process status",
        r"Cap\w+ (AUDIT_WRITE|MKNOD|NET_RAW)|Groups 0",
        "Groups none",
        "arstore has docker's fourteen capabilities, podman eleven of them; the primary group is among the additional "
        "groups, so that no process can drop it (CVE-2022-36109)",
    ),
    Known(
        ".*: .*keep-groups",
        "process status|identity",
        r"Groups 2000|groups=2000\(crew\)",
        "",
        "the primary group is among the additional groups",
    ),
    Known(_ANY, "identity", "groups=0.root.", _ANY, "the primary group is among the additional groups"),
    Known(
        "options: --name",
        "environment|host name|network|control groups",
        r"(HOSTNAME=|127.0.0.1 )?box1|\d+:[\w=]*:/arstore/box1-[0-9a-f]{8}",
        r"(HOSTNAME=|127.0.0.1 )?ID( box1)?|\d+:[\w=]*:/GROUP",
        "the name that a container is made with is its id, and the host name is the id",
    ),
    Known(
        _ANY,
        "places",
        "/ drwxr-xr-x 0 0",
        "/ dr-xr-xr-x 0 0",
        "the root directory has the mode in the image's layer in arstore, and always 0555 in podman",
    ),
    Known(
        "without options: network",
        "network",
        "",
        r".* host.containers.internal .*|ff02::.*",
        "a container without a network does not get the names in the host's /etc/hosts",
    ),
    *(Known(row, section, _ANY, _ANY, reason) for row, section, reason in _WHOLE),
)


def reason(row: Row, difference: Difference) -> str:
    """Return why the difference is right, or ""."""
    for one in KNOWN:
        if not re.fullmatch(one.row, row.key) or not re.fullmatch(one.section, difference.section):
            continue
        if all(re.fullmatch(one.ours, line) for line in difference.ours) and all(
            re.fullmatch(one.theirs, line) for line in difference.theirs
        ):
            return one.reason
    return ""
