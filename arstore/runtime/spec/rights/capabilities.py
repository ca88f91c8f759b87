"""The capabilities of a container: docker's default set, additions and removals, and their form in config.json.

Format: OCI runtime-spec config.md, "Linux Process"; numbers from capabilities(7).
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
"""All capabilities of Linux, without `CAP_`; the index of each is its number."""

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
"""The 14 capabilities of docker's default set."""

_ALL = "ALL"


def parse_capability(text: str) -> str:
    """Return `ALL`, or a name as NAMES has it, from `CAP_SYS_ADMIN`, `sys_admin` or `all`. Raises UsageError."""
    name = text.strip().upper().removeprefix("CAP_")
    if name != _ALL and name not in NAMES:
        from arstore.oci.document import shown

        raise UsageError(shown(text), "not a capability", "see capabilities(7); `all` means all of them")
    return name


def granted(added: Sequence[str], dropped: Sequence[str], available: int, privileged: bool = False) -> tuple[str, ...]:
    """Return the container's capabilities, by number: DEFAULT, and those *added*, without those *dropped*.

    Both contain results of `parse_capability`; an explicit name overrides `ALL` on the other side. *available* is the
    bit mask of this process's capabilities, which a container cannot exceed.
    """
    whole = frozenset(NAMES)
    base = whole if privileged or _ALL in added else frozenset() if _ALL in dropped else DEFAULT
    found = (base | set(added)) - set(dropped) - {_ALL}
    return tuple(name for number, name in enumerate(NAMES) if name in found and available >> number & 1)


def capabilities_section(uid: int, names: Sequence[str], added: Sequence[str]) -> Json:
    """Return the `process.capabilities` for *uid* in a container with *names*, of which *added* were requested.

    Root gets no inheritable capabilities (CVE-2022-24769). Another user starts without the container's capabilities, as
    after exec, except for the requested ones. These are ambient, because no others survive exec.
    """
    bounding = [f"CAP_{name}" for name in names]
    if uid == 0:
        return _section(bounding, held=bounding, ambient=[])
    asked = [f"CAP_{name}" for name in names if name in added or _ALL in added]
    return _section(bounding, held=asked, ambient=asked)


def _section(bounding: list[str], held: list[str], ambient: list[str]) -> Json:
    return {
        "bounding": bounding,
        "effective": held,
        "permitted": held,
        "inheritable": ambient,
        "ambient": ambient,
    }
