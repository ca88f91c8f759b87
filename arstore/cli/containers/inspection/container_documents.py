"""`inspect` of a container: its document in arstore's names, and in podman's for templates.

Environment variables may hold secrets. Like podman's, the document has them: only the store's owner can read it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from arstore.cli.containers.inspection.ps import summary
from arstore.cli.containers.inspection.ps_fields import podmans_status
from arstore.cli.terminal.formats.values import Fields, Twofold
from arstore.cli.terminal.spans import go_time, rfc_time

if TYPE_CHECKING:
    from arstore.runtime.inspection.about import About, Mounted
    from arstore.runtime.spec.mounts.filesystems import Tmpfs

_BILLION = 1_000_000_000
_PERIOD = 100_000


def document(about: About, size: int | None = None) -> dict[str, Any]:
    """Return the document of `inspect --json`: the entry of `ps`, and how the container is run."""
    options, request = about.options, about.request
    found = {"kind": "container", **summary(about)}
    found["labels"] = about.labels
    found["path"] = about.container.path
    found["config"] = {
        "env": list(about.env),
        "entrypoint": list(about.entrypoint),
        "cmd": list(about.command),
        "working_dir": about.working_dir,
        "user": about.user,
        "groups": list(options.groups),
        "hostname": about.hostname,
        "stop_signal": about.stop_signal,
        "stop_timeout": options.stop_timeout,
        "tty": options.tty,
        "interactive": options.interactive,
        "init": options.init,
        "remove": request is not None and request.remove,
        "timeout": None if request is None else request.timeout,
        "restart": str(options.restart),
    }
    found["limits"] = {
        "memory": options.memory,
        "cpus": options.cpus,
        "pids": about.pids_limit or None,
        "shm_size": options.shm_size,
        "ulimits": [one._asdict() for one in options.ulimits],
        "cgroups": options.cgroups,
    }
    security = options.security
    found["security"] = {
        "privileged": security.privileged,
        "capabilities_added": list(security.added),
        "capabilities_dropped": list(security.dropped),
        "no_new_privileges": security.no_new_privileges,
        "seccomp": security.seccomp,
        "masked": list(security.masked),
        "unmasked": list(security.unmasked),
        "read_only": options.read_only,
    }
    found["mounts"] = [one._asdict() for one in about.mounts]
    found["devices"] = [_plain(one) for one in options.devices]
    found["network"] = options.network
    found["can_be_started"] = request is not None
    found["health_log"] = [] if about.health is None else [one._asdict() for one in about.health.log]
    if size is not None:
        found["size"] = size
    return found


def _plain(value: object) -> object:
    return dict(value._asdict()) if hasattr(value, "_asdict") else value


def fields(about: About, size: int | None = None) -> Fields:
    """Return the document in podman's names."""
    container, state = about.container, about.state
    args = about.args
    digest = container.record.image
    found = Fields(
        Id=container.id,
        Created=_time(container.record.created),
        Path=args[0] if args else "",
        Args=list(args[1:]),
        State=_state(about),
        Image=digest.partition(":")[2],
        ImageDigest=digest,
        ImageName=about.image_name,
        Rootfs="",
        Pod="",
        StaticDir=container.path,
        OCIRuntime="" if state is None else os.path.basename(state.runtime),
        Name=container.name,
        RestartCount=0 if state is None else state.restarts,
        Driver="overlay",
        MountLabel="",
        ProcessLabel="",
        AppArmorProfile="",
        EffectiveCaps=[f"CAP_{name}" for name in map(_bare, about.effective_capabilities)],
        BoundingCaps=[f"CAP_{name}" for name in map(_bare, about.effective_capabilities)],
        ExecIDs=[],
        GraphDriver=Fields(Name="overlay", Data={"UpperDir": container.upper, "WorkDir": container.work}),
        Mounts=[_mount(one) for one in about.mounts if one.kind != "tmpfs"],
        Dependencies=[],
        NetworkSettings=_network(about),
        Namespace="",
        IsInfra=False,
        Config=_config(about),
        HostConfig=_host_config(about),
    )
    if size is not None:
        found["SizeRw"] = size
        found["SizeRootFs"] = size + (0 if about.image is None else about.image.record.size)
    return found


def _bare(name: str) -> str:
    return name.removeprefix("CAP_")


def _time(seconds: float | None) -> Twofold:
    return Twofold(go_time(seconds), rfc_time(seconds))


def _state(about: About) -> Fields:
    state = about.state
    word = podmans_status(about)
    return Fields(
        OciVersion="1.0.2",
        Status=word,
        Running=word in {"running", "paused"},
        Paused=word == "paused",
        Restarting=word == "restarting",
        OOMKilled=state is not None and state.oom_killed,
        Dead=about.status == "dead",
        Pid=about.pid,
        ConmonPid=state.launcher.pid if state is not None and state.is_running else 0,
        ExitCode=_exit_code(about),
        Error="" if state is None else state.error,
        StartedAt=_time(None if state is None else state.started),
        FinishedAt=_time(None if state is None else state.finished),
        CgroupPath=_cgroup(about),
        Health=_health(about),
    )


def _health(about: About) -> Fields:
    health = about.health
    if health is None:
        return Fields(Status="", FailingStreak=0, Log=None)
    log = [
        Fields(Start=rfc_time(one.start), End=rfc_time(one.end), ExitCode=one.exit_code, Output=one.output)
        for one in health.log
    ]
    return Fields(Status=health.status, FailingStreak=health.failing, Log=log)


def _exit_code(about: About) -> int:
    if about.state is None or about.state.is_running:
        return 0
    if about.state.exit_code is not None:
        return about.state.exit_code
    return -1 if about.status == "dead" else 125 if about.status == "failed" else 0


def _cgroup(about: About) -> str:
    if not about.options.cgroups or not about.pid:
        return ""
    from arstore.disk.cgroups import cgroups_path

    return cgroups_path(about.container.path)


def _mount(one: Mounted) -> Fields:
    propagation = next((word for word in one.options if "private" in word or "slave" in word), "rprivate")
    names = {"Name": one.name} if one.kind == "volume" else {}
    return Fields(
        Type=one.kind,
        **names,
        Source=one.source,
        Destination=one.destination,
        Driver="local" if one.kind == "volume" else "",
        Mode="",
        Options=["nosuid", "nodev", "rbind", *(word for word in one.options if word != propagation)],
        RW=not one.read_only,
        Propagation=propagation,
    )


def _network(about: About) -> Fields:
    network = about.options.network
    pid = about.pid
    return Fields(
        EndpointID="",
        Gateway="",
        IPAddress="",
        IPPrefixLen=0,
        IPv6Gateway="",
        GlobalIPv6Address="",
        GlobalIPv6PrefixLen=0,
        MacAddress="",
        Bridge="",
        SandboxID="",
        Ports={},
        SandboxKey=f"/proc/{pid}/ns/net" if pid else "",
        Networks={network: Fields(NetworkID=network, IPAddress="", Gateway="", MacAddress="")},
    )


def _config(about: About) -> Fields:
    options = about.options
    config = about.config
    return Fields(
        Hostname=about.hostname,
        Domainname="",
        User=about.user,
        AttachStdin=False,
        AttachStdout=False,
        AttachStderr=False,
        Tty=options.tty,
        OpenStdin=options.interactive,
        StdinOnce=False,
        Env=list(about.env),
        Cmd=list(about.command) or None,
        Image=about.image_name,
        Volumes=dict.fromkeys(config.volumes, Fields()) if config is not None and config.volumes else None,
        WorkingDir=about.working_dir,
        Entrypoint=list(about.entrypoint) or None,
        OnBuild=None,
        Labels=about.labels,
        Annotations=dict(options.annotations),
        StopSignal=about.stop_signal,
        Healthcheck=None if config is None or config.healthcheck is None else dict(config.healthcheck),
        StopTimeout=int(options.stop_timeout),
        Timeout=int((about.request.timeout if about.request is not None else None) or 0),
        Umask="0022",
        CreateCommand=None,
    )


def _host_config(about: About) -> Fields:
    options, security = about.options, about.options.security
    quota = 0 if options.cpus is None else max(1000, round(options.cpus * _PERIOD))
    return Fields(
        Binds=[_bind(one) for one in about.mounts if one.kind != "tmpfs"],
        CgroupMode="private",
        Cgroups="default" if options.cgroups else "disabled",
        ContainerIDFile="",
        LogConfig=Fields(Type="json-file", Config=None, Path=os.path.join(about.container.path, "log"), Size=""),
        NetworkMode=options.network,
        PortBindings={},
        RestartPolicy=Fields(Name=options.restart.policy, MaximumRetryCount=options.restart.most),
        AutoRemove=about.request is not None and about.request.remove,
        Annotations=dict(options.annotations),
        VolumeDriver="",
        VolumesFrom=None,
        CapAdd=[f"CAP_{_bare(name)}" for name in security.added],
        CapDrop=[f"CAP_{_bare(name)}" for name in security.dropped],
        Dns=list(getattr(options, "dns", ())),
        DnsOptions=list(getattr(options, "dns_options", ())),
        DnsSearch=list(getattr(options, "dns_search", ())),
        ExtraHosts=list(getattr(options, "hosts", ())),
        GroupAdd=list(options.groups),
        IpcMode=options.isolation.ipc,
        PidMode="private",
        UTSMode=options.isolation.uts,
        UsernsMode="",
        OomScoreAdj=options.oom_score_adj or 0,
        Privileged=security.privileged,
        PublishAllPorts=False,
        ReadonlyRootfs=options.read_only,
        SecurityOpt=_security(about),
        Tmpfs={one.destination: _tmpfs(one) for one in options.tmpfs},
        ShmSize=options.shm_size,
        Runtime="oci",
        Init=options.init,
        CpuShares=0,
        Memory=options.memory or 0,
        MemorySwap=_swap(about),
        MemoryReservation=0,
        MemorySwappiness=-1,
        NanoCpus=0 if options.cpus is None else round(options.cpus * _BILLION),
        CpuPeriod=_PERIOD if quota else 0,
        CpuQuota=quota,
        CpusetCpus=options.resources.cpuset_cpus,
        CpusetMems="",
        Devices=[_plain(one) for one in options.devices],
        OomKillDisable=False,
        PidsLimit=about.pids_limit,
        Ulimits=[Fields(Name=f"RLIMIT_{one.kind.upper()}", Soft=one.soft, Hard=one.hard) for one in options.ulimits],
    )


def _swap(about: About) -> int:
    given = about.options.resources.memory_swap
    return given if isinstance(given, int) else 2 * (about.options.memory or 0)


def _security(about: About) -> list[str]:
    security = about.options.security
    found = ["no-new-privileges"] if security.no_new_privileges else []
    found += [f"seccomp={security.seccomp}"] if security.seccomp else []
    found += [f"unmask={':'.join(security.unmasked)}"] if security.unmasked else []
    return found + ([f"mask={':'.join(security.masked)}"] if security.masked else [])


def _bind(one: Mounted) -> str:
    words = ["ro" if one.read_only else "rw", "rprivate", "nosuid", "nodev", "rbind"]
    return f"{one.name or one.source}:{one.destination}:{','.join(words)}"


def _tmpfs(one: Tmpfs) -> str:
    return ",".join(one.options)
