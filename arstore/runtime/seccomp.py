"""The seccomp profile: an allow-list in the manner of docker's default one.

The names are data (`seccomp.json`, grouped by purpose); what depends on arguments or on the machine is made here.
Anything not allowed is EPERM; clone3, whose flags a filter cannot see, is ENOSYS so that libc falls back to clone.
Format: OCI runtime-spec, config-linux.md, "Seccomp". Names that a libseccomp does not know yet are skipped by the
runtimes.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any

Json = dict[str, Any]

_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "i686": ["SCMP_ARCH_X86"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "armv7l": ["SCMP_ARCH_ARM"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
}
_OWN_CALLS = {
    "x86_64": ["arch_prctl", "modify_ldt"],
    "i686": ["modify_ldt"],
    "aarch64": ["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"],
    "armv7l": ["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"],
    "s390x": ["s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"],
    "ppc64le": ["swapcontext", "sync_file_range2"],
    "riscv64": ["riscv_flush_icache", "riscv_hwprobe"],
}

_NEW_NAMESPACES = 0x7E020000
"""All CLONE_NEW flags that clone(2) takes."""
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, 32-bit Linux, both with uname26, and the question which one it is."""
_AF_VSOCK = 40


def profile(machine: str = "") -> Json:
    """The `linux.seccomp` section for *machine* (as uname(2) names it; this one without)."""
    machine = machine or os.uname().machine
    allowed = sorted({name for names in _names().values() for name in names} | set(_OWN_CALLS.get(machine, ())))
    section: Json = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.EPERM}
    if machine in _ARCHITECTURES:
        section["architectures"] = _ARCHITECTURES[machine]
    flags_at = 1 if machine == "s390x" else 0
    section["syscalls"] = [
        {"names": allowed, "action": "SCMP_ACT_ALLOW"},
        _allow("clone", flags_at, "SCMP_CMP_MASKED_EQ", _NEW_NAMESPACES, 0),
        _allow("socket", 0, "SCMP_CMP_NE", _AF_VSOCK),
        *(_allow("personality", 0, "SCMP_CMP_EQ", value) for value in _PERSONALITIES),
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
    ]
    return section


def supported_by_kernel() -> bool:
    """Whether this kernel has seccomp filters."""
    return os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def _allow(name: str, index: int, operator: str, value: int, value_two: int | None = None) -> Json:
    argument: Json = {"index": index, "op": operator, "value": value}
    if value_two is not None:
        argument["valueTwo"] = value_two
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}


def _names() -> dict[str, list[str]]:
    with open(os.path.join(os.path.dirname(__file__), "seccomp.json"), encoding="ascii") as file:
        names: dict[str, list[str]] = json.load(file)
    return names
