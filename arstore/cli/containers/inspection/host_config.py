"""The part `HostConfig` of a container's document in podman's names: its limits, and how the host is connected."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.terminal.formats.values import Fields
from arstore.runtime.spec.resource_section import CPU_PERIOD

if TYPE_CHECKING:
    from arstore.runtime.inspection.about import About, Mounted
    from arstore.runtime.spec.options import RunOptions
    from arstore.runtime.spec.resources import Resources

_BILLION = 1_000_000_000
_THROTTLES = {
    "BlkioDeviceReadBps": "device_read_bps",
    "BlkioDeviceWriteBps": "device_write_bps",
    "BlkioDeviceReadIOps": "device_read_iops",
    "BlkioDeviceWriteIOps": "device_write_iops",
}


def host_config(about: About) -> Fields:
    """Return the part."""
    options, security = about.options, about.options.security
    names, link = options.names, options.link
    return Fields(
        Binds=[_bind(one) for one in about.mounts if one.kind != "tmpfs"],
        CgroupMode=options.isolation.cgroup,
        Cgroups="default" if options.cgroups else "disabled",
        CgroupParent=options.isolation.cgroup_parent,
        ContainerIDFile=options.id_file,
        LogConfig=_log(about),
        NetworkMode=options.network,
        PortBindings={name: places for name, places in port_map(about).items() if places},
        RestartPolicy=Fields(Name=options.restart.policy, MaximumRetryCount=options.restart.most),
        AutoRemove=about.request is not None and about.request.remove,
        Annotations=dict(options.annotations),
        VolumeDriver="",
        VolumesFrom=None,
        CapAdd=[f"CAP_{name}" for name in security.added],
        CapDrop=[f"CAP_{name}" for name in security.dropped],
        Dns=list(names.servers),
        DnsOptions=list(names.options),
        DnsSearch=list(names.searches),
        ExtraHosts=[f"{name}:{ip}" for ip, *found in map(str.split, names.hosts) for name in found],
        GroupAdd=list(options.groups),
        IpcMode=options.isolation.ipc,
        PidMode="private",
        UTSMode=options.isolation.uts,
        UsernsMode="",
        OomScoreAdj=options.oom_score_adj or 0,
        Privileged=security.privileged,
        PublishAllPorts=link.publish_all,
        ReadonlyRootfs=options.read_only,
        SecurityOpt=_security(about),
        Tmpfs={one.destination: ",".join(one.options) for one in options.tmpfs},
        ShmSize=options.shm_size,
        Runtime="oci",
        Init=options.init,
        **_limits(options),
        Devices=[plain(one) for one in options.devices],
        PidsLimit=about.pids_limit,
        Ulimits=[Fields(Name=f"RLIMIT_{one.kind.upper()}", Soft=one.soft, Hard=one.hard) for one in options.ulimits],
    )


def _limits(options: RunOptions) -> dict[str, object]:
    more = options.resources
    quota = more.cpu_quota or 0
    if options.cpus is not None:
        quota = max(1000, round(options.cpus * CPU_PERIOD))
    return {
        "CpuShares": more.cpu_shares or 0,
        "Memory": options.memory or 0,
        "MemorySwap": 2 * (options.memory or 0) if more.memory_swap is None else more.memory_swap,
        "MemoryReservation": more.memory_reservation or 0,
        "MemorySwappiness": -1 if more.memory_swappiness is None else more.memory_swappiness,
        "NanoCpus": 0 if options.cpus is None else round(options.cpus * _BILLION),
        "CpuPeriod": more.cpu_period or (CPU_PERIOD if options.cpus is not None else 0),
        "CpuQuota": quota,
        "CpuRealtimePeriod": more.cpu_rt_period or 0,
        "CpuRealtimeRuntime": more.cpu_rt_runtime or 0,
        "CpusetCpus": more.cpuset_cpus,
        "CpusetMems": more.cpuset_mems,
        "OomKillDisable": more.oom_kill_disable,
        "BlkioWeight": more.blkio_weight or 0,
        "BlkioWeightDevice": _rates(more, "weight", "Weight"),
        **{name: _rates(more, kind, "Rate") for name, kind in _THROTTLES.items()},
    }


def _rates(more: Resources, kind: str, name: str) -> list[Fields]:
    found = (one for one in more.block_devices if one.kind == kind)
    return [Fields(Path=f"{one.major}:{one.minor}", **{name: one.value}) for one in found]


def _log(about: About) -> Fields:
    log = about.options.log
    path = os.path.join(about.container.path, "log") if log.is_file else ""
    return Fields(Type=log.driver, Config=None, Path=path, Size=str(log.size) if log.is_file and log.size else "")


def _security(about: About) -> list[str]:
    security = about.options.security
    found = ["no-new-privileges"] if security.no_new_privileges else []
    found += [f"seccomp={security.seccomp}"] if security.seccomp else []
    found += [f"apparmor={security.apparmor}"] if security.apparmor else []
    found += [f"proc-opts={','.join(security.proc_options)}"] if security.proc_options else []
    found += [f"unmask={':'.join(security.unmasked)}"] if security.unmasked else []
    return found + ([f"mask={':'.join(security.masked)}"] if security.masked else [])


def _bind(one: Mounted) -> str:
    return f"{one.name or one.source}:{one.destination}:{','.join(mount_words(one))}"


def mount_words(one: Mounted) -> list[str]:
    """Return the options that a volume is mounted with, in podman's words; one of them is the propagation."""
    given = one.options
    found = ["ro" if one.read_only else "rw"]
    found += [] if any("private" in word or "slave" in word for word in given) else ["rprivate"]
    found += [word for word in ("nosuid", "nodev") if word.removeprefix("no") not in given and word not in given]
    found += [] if "bind" in given else ["rbind"]
    return found + [word for word in given if word not in {"suid", "dev"}]


def port_map(about: About) -> dict[str, list[Fields] | None]:
    """Return the places on the host by port of the container, such as `80/tcp`; None for one that is only exposed."""
    found: dict[str, list[Fields] | None] = dict.fromkeys(exposed_ports(about))
    for port in about.options.link.ports:
        for number in range(port.span):
            place = Fields(HostIp=port.host_ip or "0.0.0.0", HostPort=str(port.host_port + number))
            name = f"{port.container_port + number}/{port.protocol}"
            found[name] = [*(found.get(name) or []), place]
    return found


def exposed_ports(about: About) -> dict[str, Fields]:
    """Return the ports that the image and the user expose, such as `80/tcp`."""
    from arstore.errors import UsageError
    from arstore.runtime.spec.nets.ports import parse_exposed

    found = {}
    for text in (*(() if about.config is None else about.config.exposed_ports), *about.options.link.exposed):
        try:
            port = parse_exposed(text)
        except UsageError:
            # An image may declare anything.
            continue
        for number in range(port.span):
            found[f"{port.container_port + number}/{port.protocol}"] = Fields()
    return found


def plain(value: object) -> object:
    """Return a named tuple as a mapping, and anything else as it is."""
    return dict(value._asdict()) if hasattr(value, "_asdict") else value
