"""Normal forms: what differs between two runs of one program becomes a word; order without a meaning is sorted."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runcompare.programs import Left

MESSAGE = "(a message of the program)"
_PROGRAM = re.compile(r'^(Error|Warning|WARN|arstore|warning)\b.*|^time="|^\{"msg"|^\[conmon|^Usage|^Try |^See ')
_ID = re.compile(r"\b(?:libpod-|arstore-|ar-)?(?:[0-9a-f]{64}|[0-9a-f]{12})\b(?:\.scope)?")
_INIT = re.compile(r"\b(podman|arstore)-init\b")
_GENERATED = re.compile(r"(?<=^127\.0\.0\.1 )(\S+) [a-z]+_[a-z]+$")
_OWN_NAME = re.compile(r"(?<=^127\.0\.0\.1 )ID ID$")
_GROUP = re.compile(r"(?<=/)(?:(?:libpod_parent|arstore)/)?ID(?:-[0-9a-f]{8})?$")
_ENGINE = re.compile(r"^container=(podman|oci)$")
_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
_FLAGS = ("ro", "nosuid", "nodev", "noexec")
_SIZES = re.compile(r"^(size|mode|uid|gid|nr_inodes)=")
_STATES = {"stopped": "exited", "configured": "created", "dead": "exited"}


class Scrub:
    """Replaces a program's place by PLACE, its port by PORT, ids by ID, and the engine in `container` by ENGINE."""

    def __init__(self, place: str, script: str = "", port: str = "") -> None:
        self._place = place
        # A mask is the runtime's own mount, wherever the script wants it.
        self._script = re.sub(r"mask=\S+", "", script)
        self._port = port

    def text(self, line: str) -> str:
        """Return *line* with these replaced."""
        line = line.replace(self._place, "PLACE")
        if self._port:
            line = line.replace(self._port, "PORT")
        return _ENGINE.sub("container=ENGINE", _INIT.sub("INIT", _ID.sub("ID", line)))

    def names(self, place: str) -> bool:
        """Return whether the script names *place*."""
        return place in self._script


def messages(stderr: str, scrub: Scrub) -> list[str]:
    """Return the lines of stderr; the program's own messages become one MESSAGE, since each program has its words."""
    lines = stderr.splitlines()
    own = [line for line in lines if _PROGRAM.search(line)]
    rest = [scrub.text(line) for line in lines if line.strip() and not _PROGRAM.search(line)]
    return [*([MESSAGE] if own else []), *rest]


def sections(stdout: str, scrub: Scrub) -> dict[str, list[str]]:
    """Return the sections that `probe` prints, normalised, and what comes before them as `stdout`."""
    found: dict[str, list[str]] = {"stdout": []}
    name = "stdout"
    for line in stdout.splitlines():
        if line.startswith("== "):
            name = line[3:]
            if name == "status":
                name = "process status"
            found.setdefault(name, [])
        else:
            found[name].append(line)
    if stdout and not stdout.endswith("\n"):
        found[name].append("(no newline)")
    for name, lines in found.items():
        normalise = _NORMAL.get(name)
        if name == "mounts":
            lines = mounts(lines, scrub)
        elif normalise:
            lines = normalise(lines)
        lines = [scrub.text(line) for line in lines]
        if name == "control groups":
            lines = [_GROUP.sub("GROUP", line) for line in lines]
        if name == "network":
            lines = [_OWN_NAME.sub("ID", _GENERATED.sub(r"\1 ID", line)) for line in lines]
        found[name] = lines if name in {"stdout", "users"} else sorted(lines)
    return found


def container(left: Left, script: str) -> str:
    """Return a line about a container that is left: its name, if the script gives it, its state and its status."""
    name = left.name if left.name in script else "(unnamed)"
    return f"{name} {_STATES.get(left.state, left.state)} {left.status}"


def process_status(lines: Sequence[str]) -> list[str]:
    """Return the fields of /proc/self/status; a line for each capability of each set, and for each group."""
    found = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.startswith("Cap"):
            bits = int(value, 16)
            members = [_capability(bit) for bit in range(bits.bit_length()) if bits >> bit & 1]
            found += [f"{name} {member}" for member in members or ["none"]]
        elif name == "Groups":
            found += [f"Groups {number}" for number in value.split()] or ["Groups none"]
        else:
            found.append(" ".join(line.split()))
    return found


def identity(lines: Sequence[str]) -> list[str]:
    """Return the lines of the maps and of `id`; a line for each group."""
    found = []
    for line in lines:
        words = line.split()
        if not line.startswith("uid="):
            found.append(" ".join(words))
            continue
        for word in words:
            name, _, numbers = word.partition("=")
            found += [f"{name}={number}" for number in numbers.split(",")]
    return found


def _capability(bit: int) -> str:
    return _CAPABILITIES[bit] if bit < len(_CAPABILITIES) else str(bit)


def mounts(lines: Sequence[str], scrub: Scrub) -> list[str]:
    """Return `place type flags` for each line of mountinfo (proc_pid_mountinfo(5)).

    The type is `bind` where a part of a file system is mounted; a whole one has its type, and a tmpfs its size and
    mode. Of files that the program itself puts somewhere, only `ro` matters: the rest depends on where its state is.
    """
    found = []
    for line in lines:
        before, _, behind = line.partition(" - ")
        _, _, _, root, place, flags, *optional = before.split(" ")
        kind, _, superblock = (*behind.split(" ", 2), "", "")[:3]
        whole = root == "/" or kind == "cgroup"
        words = [flag for flag in flags.split(",") if flag in _FLAGS]
        if whole and kind == "tmpfs":
            words += [one for one in superblock.split(",") if _SIZES.match(one)]
        if whole and "ro" in superblock.split(","):
            words.append("ro-superblock")
        words += [re.sub(r":\d+", "", one) for one in optional if one]
        if not whole and not scrub.names(place):
            words = [word for word in words if word == "ro"]
        found.append(" ".join([place, kind if whole else "bind", ",".join(words)]).rstrip())
    return found


def namespaces(lines: Sequence[str]) -> list[str]:
    """Return for each namespace whether it is the host's."""
    found = []
    for line in lines:
        name, _, link = line.partition(" ")
        found.append(f"{name} {'host' if link == _namespace(name) else 'private'}")
    return found


def _namespace(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{name}")
    except OSError:
        return ""


def descriptors(lines: Sequence[str]) -> list[str]:
    """Return each descriptor with what it is; pipes and sockets without their numbers."""
    return [re.sub(r":\[\d+\]", "", line) for line in lines]


def limits(lines: Sequence[str]) -> list[str]:
    """Return the lines of /proc/self/limits with single spaces."""
    return [" ".join(line.split()) for line in lines]


def network(lines: Sequence[str]) -> list[str]:
    """Return addresses and files without the numbers of interfaces and their lifetimes."""
    return [re.sub(r"^\d+: ", "", " ".join(line.split("\\")[0].split())) for line in lines]


_NORMAL: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "process status": process_status,
    "identity": identity,
    "namespaces": namespaces,
    "descriptors": descriptors,
    "limits": limits,
    "network": network,
}
