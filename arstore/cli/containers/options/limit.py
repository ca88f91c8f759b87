"""Options for what a container may use: memory, processors, processes, devices' speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from arstore.cli.parameter import Choice, Range, option
from arstore.errors import UsageError

if TYPE_CHECKING:
    from typing import Literal

    from arstore.cli.session import Session
    from arstore.runtime.spec.options import RunOptions
    from arstore.runtime.spec.resources import Resources

_SHORTEST_CPU = 1000
"""The least microseconds of --cpu-period and --cpu-quota (kernel: sched/core.c, min_cfs_quota_period)."""


class LimitWords(TypedDict):
    """The options as they were typed."""

    memory: str | None
    memory_swap: str | None
    memory_reservation: str | None
    memory_swappiness: int | None
    oom_kill_disable: bool
    cpus: str | None
    cpu_shares: int | None
    cpu_period: int | None
    cpu_quota: int | None
    cpu_rt_period: int | None
    cpu_rt_runtime: int | None
    cpuset_cpus: str
    cpuset_mems: str
    pids_limit: int | None
    blkio_weight: int | None
    blkio_weight_device: tuple[str, ...]
    device_read_bps: tuple[str, ...]
    device_write_bps: tuple[str, ...]
    device_read_iops: tuple[str, ...]
    device_write_iops: tuple[str, ...]
    ulimit: tuple[str, ...]
    shm_size: str | None
    cgroups: Literal["enabled", "disabled"]
    cgroup_conf: tuple[str, ...]
    rdt_class: str


LIMIT_OPTIONS = (
    option("-m", "--memory", metavar="N", help="Limit the memory, such as 512m or 2g."),
    option("--memory-swap", metavar="N", help="Limit memory and swap together; -1 for no limit, by default 2N."),
    option("--memory-reservation", metavar="N", help="Memory that the container keeps when the host runs out of it."),
    option(
        "--memory-swappiness",
        metavar="N",
        type=Range(int, min=-1, max=100),
        help="How readily memory is swapped out: from 0 to 100; -1 for the host's value.",
    ),
    option("--oom-kill-disable", is_flag=True, help="Let processes wait for memory instead of killing them."),
    option("--cpus", metavar="N", help="Limit the CPUs, such as 1.5."),
    option(
        "-c", "--cpu-shares", metavar="N", type=Range(int, min=0, max=262144), help="The relative share of CPU time."
    ),
    option("--cpu-period", metavar="US", type=Range(int, min=0, max=1_000_000), help="The period of --cpu-quota."),
    option("--cpu-quota", metavar="US", type=Range(int, min=-1), help="Limit the CPU time in each period."),
    option("--cpu-rt-period", metavar="US", type=Range(int, min=0), help="The period of --cpu-rt-runtime."),
    option("--cpu-rt-runtime", metavar="US", type=Range(int, min=0), help="CPU time of real-time processes."),
    option("--cpuset-cpus", metavar="LIST", default="", help="Use only these CPUs, such as 0-3,6."),
    option("--cpuset-mems", metavar="LIST", default="", help="Use only memory of these NUMA nodes."),
    option(
        "--pids-limit",
        metavar="N",
        type=Range(int),
        help="Limit the processes and threads; 2048 by default, -1 or 0 for no limit.",
    ),
    option("--blkio-weight", metavar="N", type=Range(int, min=10, max=1000), help="The relative share of disk time."),
    option(
        "--blkio-weight-device", metavar="DEV:N", multiple=True, help="The relative share of one block device's time."
    ),
    option("--device-read-bps", metavar="DEV:N", multiple=True, help="Limit the bytes read per second, such as 1m."),
    option("--device-write-bps", metavar="DEV:N", multiple=True, help="Limit the bytes written per second."),
    option("--device-read-iops", metavar="DEV:N", multiple=True, help="Limit the reads per second."),
    option("--device-write-iops", metavar="DEV:N", multiple=True, help="Limit the writes per second."),
    option(
        "--ulimit",
        metavar="KIND=SOFT[:HARD]",
        multiple=True,
        help="Set a resource limit, such as nofile=1024:4096; host sets those that arstore has.",
    ),
    option("--shm-size", metavar="N", help="Set the size of /dev/shm; 64m by default."),
    option(
        "--cgroups",
        type=Choice(("enabled", "disabled")),
        default="enabled",
        show_default=True,
        help="disabled: create no control groups, for hosts that do not allow it; limits are not available then.",
    ),
    option("--cgroup-conf", metavar="FILE=V", multiple=True, help="Write V to a file of a version 2 control group."),
    option("--rdt-class", metavar="CLASS", default="", help="Use this class of service of Intel RDT."),
)
_OF_CGROUPS = frozenset(LimitWords.__annotations__) - {"ulimit", "shm_size", "cgroups", "rdt_class"}


def with_limits(options: RunOptions, words: LimitWords) -> RunOptions:
    """Return *options* with the limits. Raises UsageError, NotFoundError for a device that does not exist."""
    from arstore.runtime.spec.defaults import SHM_SIZE
    from arstore.runtime.spec.limits import parse_ulimits
    from arstore.runtime.spec.resources import check_pids_limit, parse_cpus, parse_memory
    from arstore.runtime.spec.sizes import parse_size

    _refuse_limits_without_cgroups(words)
    memory, cpus, shm_size, pids = words["memory"], words["cpus"], words["shm_size"], words["pids_limit"]
    limit = None if memory is None or memory == "0" else parse_memory(memory)
    return options._replace(
        memory=limit,
        cpus=None if cpus is None or cpus.strip("0.") == "" else parse_cpus(cpus),
        pids_limit=None if pids is None else check_pids_limit(pids if pids > 0 else -1),
        cgroups=words["cgroups"] == "enabled",
        ulimits=parse_ulimits(words["ulimit"]),
        shm_size=SHM_SIZE if shm_size is None else parse_size(shm_size),
        resources=_resources(options.resources, words, limit),
    )


def _resources(more: Resources, words: LimitWords, memory: int | None) -> Resources:
    from arstore.disk.delegation import is_version_1
    from arstore.runtime.spec.resources import (
        THROTTLES,
        parse_block_device,
        parse_reservation,
        parse_set,
        parse_swap,
        parse_unified,
    )
    from arstore.runtime.spec.sizes import refused

    for name, value in (("--cpu-period", words["cpu_period"]), ("--cpu-quota", words["cpu_quota"])):
        if value is not None and 0 < value < _SHORTEST_CPU:
            raise refused(f"{name}={value}", f"the least is a millisecond: {_SHORTEST_CPU}")
        if words["cpus"] is not None and _value(words, name):
            raise UsageError(name, "and --cpus exclude each other")
    kinds = {"weight": words["blkio_weight_device"]}
    for kind in THROTTLES:
        kinds[kind] = words[kind]  # type: ignore[literal-required]
    if words["cgroup_conf"] and is_version_1():
        raise UsageError("--cgroup-conf", "this host has control groups of version 1, and no such files")
    swap, reservation, swappiness = words["memory_swap"], words["memory_reservation"], words["memory_swappiness"]
    cpus, mems = words["cpuset_cpus"], words["cpuset_mems"]
    return more._replace(
        memory_swap=None if swap is None else parse_swap(swap, memory),
        memory_reservation=None if reservation is None else parse_reservation(reservation, memory),
        memory_swappiness=None if swappiness == -1 else swappiness,
        oom_kill_disable=words["oom_kill_disable"],
        cpu_shares=words["cpu_shares"] or None,
        cpu_period=words["cpu_period"] or None,
        cpu_quota=words["cpu_quota"] or None,
        cpu_rt_period=words["cpu_rt_period"] or None,
        cpu_rt_runtime=words["cpu_rt_runtime"] or None,
        cpuset_cpus=parse_set(cpus, "CPUs", _online("cpu")) if cpus else "",
        cpuset_mems=parse_set(mems, "memory nodes", _online("node")) if mems else "",
        blkio_weight=words["blkio_weight"],
        block_devices=tuple(parse_block_device(kind, text) for kind, texts in kinds.items() for text in texts),
        unified=tuple(map(parse_unified, words["cgroup_conf"])),
        rdt_class=words["rdt_class"],
    )


def _online(kind: str) -> str:
    """Return the list of the host's CPUs or memory nodes; "" if it is unknown."""
    try:
        with open(f"/sys/devices/system/{kind}/online", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _value(words: LimitWords, name: str) -> object:
    return words[name.lstrip("-").replace("-", "_")]  # type: ignore[literal-required]


def _refuse_limits_without_cgroups(words: LimitWords) -> None:
    if words["cgroups"] == "enabled":
        return
    for name in sorted(_OF_CGROUPS):
        value = words[name]  # type: ignore[literal-required]
        if value not in {None, -1, 0, "", ()}:
            raise UsageError(f"--{name.replace('_', '-')}", "needs control groups, but --cgroups=disabled is given")


def warn_of_limits(session: Session, options: RunOptions) -> None:
    """Warn of limits that this host cannot set, and that are left out."""
    from arstore.runtime.spec.resources import Resources

    if options.oom_score_adj is not None:
        from arstore.runtime.spec.process import settable_oom_score

        if (score := settable_oom_score(options.oom_score_adj)) != options.oom_score_adj:
            session.warn(f"--oom-score-adj={options.oom_score_adj}: only root may lower it; it stays at {score}")
    simple = (options.memory, options.cpus, options.pids_limit)
    if options.resources == Resources() and simple == (None, None, None) and not options.isolation.cgroup_parent:
        return
    from arstore.disk.cgroups import delegated
    from arstore.disk.delegation import parent_group, why_none
    from arstore.runtime.spec.resource_section import left_out, undelegated

    limits = delegated()
    if parent_group() is None:
        names = [*undelegated(options, limits), *left_out(options, limits)]
        names += ["--cgroup-parent"] if options.isolation.cgroup_parent else []
        if names:
            session.warn(f"{', '.join(names)}: left out, because {why_none()[0]}")
        return
    for name in left_out(options, limits):
        session.warn(f"{name}: this host's control groups cannot do it; it is left out")
