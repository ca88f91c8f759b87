"""The default seccomp profile: an allow-list like docker's and podman's.

The names are data (`seccomp.json`, grouped by purpose); rules that depend on arguments, capabilities or the machine are
made here. Any other system call fails with EPERM. Namespaces and mounts are allowed, as in podman's profile: a process
without CAP_SYS_ADMIN can use them only within its own user namespace, which builds inside containers need
(docs/design/decisions/). `seccomp_file` reads the user's profiles.

Format: OCI runtime-spec, config-linux.md, "Seccomp". Runtimes skip names that their libseccomp does not know.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Json = dict[str, Any]

ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "i686": ["SCMP_ARCH_X86"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "armv7l": ["SCMP_ARCH_ARM"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
}
"""libseccomp's names for the system call tables of a machine, by its name in uname(2)."""

_OWN_CALLS = {
    "x86_64": ["arch_prctl", "modify_ldt"],
    "i686": ["modify_ldt"],
    "aarch64": ["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"],
    "armv7l": ["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"],
    "s390x": ["s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"],
    "ppc64le": ["swapcontext", "sync_file_range2"],
    "riscv64": ["riscv_flush_icache", "riscv_hwprobe"],
}
_CALLS_OF = {
    "BPF": ["bpf"],
    "DAC_READ_SEARCH": ["open_by_handle_at"],
    "PERFMON": ["perf_event_open"],
    "SYSLOG": ["syslog"],
    "SYS_ADMIN": ["bpf", "fanotify_init", "fanotify_mark", "lookup_dcookie", "perf_event_open", "quotactl",
                  "quotactl_fd", "setdomainname", "sethostname", "syslog"],
    "SYS_BOOT": ["reboot"],
    "SYS_MODULE": ["delete_module", "finit_module", "init_module", "query_module"],
    "SYS_NICE": ["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"],
    "SYS_PACCT": ["acct"],
    "SYS_RAWIO": ["ioperm", "iopl"],
    "SYS_TIME": ["clock_settime", "clock_settime64", "settimeofday", "stime"],
    "SYS_TTY_CONFIG": ["vhangup"],
}  # fmt: skip
"""System calls that are also allowed to a container with a capability, as in docker's profile."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, 32-bit Linux, both with uname26, and the query for the current one."""
_AF_VSOCK = 40


_SET_GROUPS = ("setgroups", "setgroups32")


def profile(machine: str = "", capabilities: Iterable[str] = (), *, has_groups: bool = True) -> Json:
    """Return the `linux.seccomp` section for *machine* (its name in uname(2); by default this one) and capabilities.

    Without *has_groups*, in a user namespace with a single id, no process can change its groups, which the kernel would
    refuse. For programs that only want to be sure of them, such as buildah for each RUN, the call succeeds, without an
    effect.
    """
    machine = machine or os.uname().machine
    allowed = {name for names in _call_names().values() for name in names} | set(_OWN_CALLS.get(machine, ()))
    allowed |= {name for capability in capabilities for name in _CALLS_OF.get(capability, ())}
    if not has_groups:
        allowed -= set(_SET_GROUPS)
    section: Json = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.EPERM}
    if machine in ARCHITECTURES:
        section["architectures"] = ARCHITECTURES[machine]
    section["syscalls"] = [
        {"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"},
        _allow("socket", 0, "SCMP_CMP_NE", _AF_VSOCK),
        *(_allow("personality", 0, "SCMP_CMP_EQ", value) for value in _PERSONALITIES),
    ]
    if not has_groups:
        section["syscalls"].append({"names": list(_SET_GROUPS), "action": "SCMP_ACT_ERRNO", "errnoRet": 0})
    return section


def supported_by_kernel() -> bool:
    """Whether this kernel has seccomp filters."""
    return os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def _allow(name: str, index: int, operator: str, value: int) -> Json:
    argument: Json = {"index": index, "op": operator, "value": value}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}


def _call_names() -> dict[str, list[str]]:
    with open(os.path.join(os.path.dirname(__file__), "seccomp.json"), encoding="ascii") as file:
        names: dict[str, list[str]] = json.load(file)
    return names
