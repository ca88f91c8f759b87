"""The capabilities of a container: docker's fourteen, what is added and dropped, and where they stand in config.json.

Format: OCI runtime-spec config.md, "Linux Process"; numbers of capabilities(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.runtime.spec.defaults import Json

NAMES = (
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
"""All that Linux has, without `CAP_`; each stands at its number."""

DEFAULT = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
"""The fourteen that docker leaves to a container."""

_ALL = "ALL"


def parse_capability(text: str) -> str:
    """Return `ALL`, or a name as NAMES has it, from `CAP_SYS_ADMIN`, `sys_admin` or `all`. Raises UsageError."""
    name = text.strip().upper().removeprefix("CAP_")
    if name != _ALL and name not in NAMES:
        from arstore.oci.document import shown

        raise UsageError(shown(text), "not a capability", "capabilities(7) lists them; `all` stands for every one")
    return name


def granted(added: Sequence[str], dropped: Sequence[str], available: int, privileged: bool = False) -> tuple[str, ...]:
    """The container's capabilities, by number: DEFAULT, and those *added*, without those *dropped*.

    Both hold what `parse_capability` gives; one that is named goes before `ALL` on the other side. *available* is the
    bit mask of what this process has, which nobody can get more than.
    """
    whole = frozenset(NAMES)
    base = whole if privileged or _ALL in added else frozenset() if _ALL in dropped else DEFAULT
    found = (base | set(added)) - set(dropped) - {_ALL}
    return tuple(name for number, name in enumerate(NAMES) if name in found and available >> number & 1)


def capabilities_section(uid: int, names: Sequence[str], added: Sequence[str]) -> Json:
    """The `process.capabilities` of a process of *uid* in a container with *names*, of which *added* were asked for.

    Nothing is inheritable for root (CVE-2022-24769). Another user starts with none of the container's capabilities,
    as exec would leave it, but with those that were asked for: they are ambient, because nothing else outlives exec.
    """
    bounding = [f"CAP_{name}" for name in names]
    if uid == 0:
        return _section(bounding, held=bounding, ambient=[])
    asked = [f"CAP_{name}" for name in names if name in added]
    return _section(bounding, held=asked, ambient=asked)


def _section(bounding: list[str], held: list[str], ambient: list[str]) -> Json:
    return {
        "bounding": bounding,
        "effective": held,
        "permitted": held,
        "inheritable": ambient,
        "ambient": ambient,
    }
