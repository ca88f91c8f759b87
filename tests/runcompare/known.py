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
KNOWN: tuple[Known, ...] = (
    Known(
        _ANY,
        "process status",
        r"Cap\w+ (AUDIT_WRITE|MKNOD|NET_RAW)|Groups 0",
        "Groups none",
        "arstore has docker's fourteen capabilities, podman eleven of them; the primary group is among the additional "
        "groups, so that no process can drop it (CVE-2022-36109)",
    ),
    Known(_ANY, "identity", "groups=0.root.", _ANY, "the primary group is among the additional groups"),
    Known(
        _ANY,
        "mounts",
        "/dev/shm tmpfs nosuid,nodev,noexec,size=65536k|/etc/resolv.conf bind",
        "/dev/shm tmpfs nosuid,nodev,noexec,size=64000k|/run/.containerenv bind",
        "64m is 64 MiB in arstore, 65536000 bytes in podman; podman writes /run/.containerenv, and no resolv.conf "
        "without a network",
    ),
    Known(
        _ANY,
        "mounts",
        r"/\S+ bind (ro,)?nosuid,nodev(,noexec)?(,shared|,master|,private)*",
        r"/\S+ bind ?(ro)?(,?noexec)?(,?shared|,?master|,?private)*",
        "volumes grant no privileges: they are always nosuid and nodev",
    ),
    Known(
        "options: --name",
        "environment|host name|network",
        r"(HOSTNAME=|127.0.1.1 )?box1",
        r"(HOSTNAME=|127.0.0.1 )?ID( box1)?",
        "the name that a container is made with is its id, and the host name is the id",
    ),
    Known(
        _ANY,
        "mounts|places",
        r"/etc/(passwd|group) (bind|-rw-r--r-- 0 0)",
        "",
        "an entry for the user is added in a file that is mounted; podman writes it into the root file system",
    ),
    Known(_ANY, "environment", "", "container=podman", "podman names itself in the variable container"),
    Known(
        _ANY,
        "namespaces",
        "cgroup private",
        "cgroup host",
        "the namespace of control groups is private in arstore; in podman it is only with version 2 of control groups",
    ),
    Known(
        _ANY,
        "control groups",
        r"\d+:[\w=]*:/",
        r"\d+:[\w=]*:/libpod_parent/ID",
        "the namespace of control groups is private in arstore; in podman it is only with version 2 of control groups",
    ),
    Known(
        _ANY,
        "places",
        "/ drwxr-xr-x 0 0|/etc/resolv.conf -rw-r--r-- 0 0",
        "/ dr-xr-xr-x 0 0|/run/.containerenv -rw-r--r-- 0 0",
        "the root directory has the mode in the image's layer in arstore, and always 0555 in podman; the rest is as in "
        "mounts",
    ),
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
