"""`linux.resources` of config.json, from the limits of a container.

Format: OCI runtime-spec config-linux.md, "Control groups". A limit that this host's control groups do not have is left
out, and `left_out` names it, as podman does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.runtime.spec import defaults
from arstore.runtime.spec.devices import device_section
from arstore.runtime.spec.resources import MOST_PROCESSES, THROTTLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.options import RunOptions
    from arstore.runtime.spec.resources import DeviceRule, Resources

CPU_PERIOD = 100_000
"""Microseconds; of `--cpus`."""


def resources(options: RunOptions, limits: frozenset[str]) -> Json:
    """Return `linux.resources`: the requested limits, the default limits if *limits* supports them, and the device
    rules.

    As in podman, a memory limit allows the same amount of swap, and the number of processes is always limited.
    """
    more = options.resources
    _, rules = device_section(options.devices, options.security.privileged)
    found: Json = {"devices": [*defaults.device_rules(), *rules, *map(_rule, more.device_rules)]}
    cpu: Json = {
        "shares": more.cpu_shares,
        "quota": more.cpu_quota,
        "period": more.cpu_period,
        "realtimePeriod": more.cpu_rt_period,
        "realtimeRuntime": more.cpu_rt_runtime,
        "cpus": more.cpuset_cpus or None,
        "mems": more.cpuset_mems or None,
    }
    if options.cpus is not None:
        cpu |= {"quota": max(1000, round(options.cpus * CPU_PERIOD)), "period": CPU_PERIOD}
    for name, part in {"memory": _memory(options, limits), "cpu": cpu, "blockIO": _block_io(more, limits)}.items():
        given = {key: value for key, value in part.items() if value is not None}
        if given:
            found[name] = given
    if more.unified:
        found["unified"] = dict(more.unified)
    if options.pids_limit is None:
        if "pids" in limits:
            found["pids"] = {"limit": MOST_PROCESSES}
    elif options.pids_limit > 0:
        found["pids"] = {"limit": options.pids_limit}
    return found


def _memory(options: RunOptions, limits: frozenset[str]) -> Json:
    more = options.resources
    swap = more.memory_swap
    if swap is None and options.memory is not None:
        swap = 2 * options.memory
    return {
        "limit": options.memory,
        "swap": swap if "swap" in limits else None,
        "reservation": more.memory_reservation,
        "swappiness": more.memory_swappiness if "swappiness" in limits else None,
        "disableOOMKiller": True if more.oom_kill_disable and "oom" in limits else None,
    }


def _block_io(more: Resources, limits: frozenset[str]) -> Json:
    found: Json = {"weight": more.blkio_weight if "weight" in limits else None}
    for device in more.block_devices:
        if device.kind == "weight":
            if "weight" in limits:
                entry = {"major": device.major, "minor": device.minor, "weight": device.value}
                found.setdefault("weightDevice", []).append(entry)
        else:
            entry = {"major": device.major, "minor": device.minor, "rate": device.value}
            found.setdefault(THROTTLES[device.kind], []).append(entry)
    return found


def left_out(options: RunOptions, limits: frozenset[str]) -> list[str]:
    """Return the options that have no effect, because this host's control groups, with *limits*, cannot do it."""
    more = options.resources
    asked: Mapping[str, tuple[str, bool]] = {
        "--memory-swap": ("swap", more.memory_swap is not None),
        "--memory-swappiness": ("swappiness", more.memory_swappiness is not None),
        "--oom-kill-disable": ("oom", more.oom_kill_disable),
        "--blkio-weight": ("weight", more.blkio_weight is not None),
        "--blkio-weight-device": ("weight", any(device.kind == "weight" for device in more.block_devices)),
    }
    return [name for name, (needed, is_asked) in asked.items() if is_asked and needed not in limits]


def undelegated(options: RunOptions, limits: frozenset[str]) -> list[str]:
    """Return the options that ask for a limit whose controller is not among *limits*."""
    more = options.resources
    throttled = {device.kind for device in more.block_devices} & THROTTLES.keys()
    asked: Mapping[str, tuple[str, bool]] = {
        "--memory": ("memory", options.memory is not None),
        "--memory-reservation": ("memory", more.memory_reservation is not None),
        "--cpus": ("cpu", options.cpus is not None),
        "--cpu-shares": ("cpu", more.cpu_shares is not None),
        "--cpu-period": ("cpu", more.cpu_period is not None),
        "--cpu-quota": ("cpu", more.cpu_quota is not None),
        "--cpu-rt-period": ("cpu", more.cpu_rt_period is not None),
        "--cpu-rt-runtime": ("cpu", more.cpu_rt_runtime is not None),
        "--cpuset-cpus": ("cpuset", bool(more.cpuset_cpus)),
        "--cpuset-mems": ("cpuset", bool(more.cpuset_mems)),
        "--pids-limit": ("pids", options.pids_limit is not None and options.pids_limit > 0),
        **{f"--{kind.replace('_', '-')}": ("io", True) for kind in sorted(throttled)},
    }
    found = [name for name, (needed, is_asked) in asked.items() if is_asked and needed not in limits]
    found += ["--cgroup-conf"] if any(name.partition(".")[0] not in limits for name, _ in more.unified) else []
    return found


def _rule(rule: DeviceRule) -> Json:
    found: Json = {"allow": True, "access": rule.access}
    if rule.kind != "a":
        found["type"] = rule.kind
    numbers = {"major": rule.major, "minor": rule.minor}
    return found | {name: number for name, number in numbers.items() if number >= 0}
