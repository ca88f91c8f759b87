"""`inspect` of a container: its document in arstore's names, and in podman's for templates.

Environment variables may hold secrets. Like podman's, the document has them: only the store's owner can read it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from arstore.cli.containers.inspection.host_config import exposed_ports, host_config, mount_words, plain, port_map
from arstore.cli.containers.inspection.ps import summary
from arstore.cli.containers.inspection.ps_fields import podmans_status
from arstore.cli.terminal.formats.values import Fields, Twofold
from arstore.cli.terminal.spans import go_time, rfc_time

if TYPE_CHECKING:
    from arstore.runtime.inspection.about import About, Mounted
    from arstore.runtime.spec.health import HealthCheck

_BILLION = 1_000_000_000


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
    found["devices"] = [plain(one) for one in options.devices]
    found["network"] = options.network
    found["ports"] = [one._asdict() for one in options.link.ports]
    found["names"] = {
        "hosts": list(options.names.hosts),
        "servers": list(options.names.servers),
        "searches": list(options.names.searches),
        "options": list(options.names.options),
    }
    found["can_be_started"] = request is not None
    found["health_log"] = [] if about.health is None else [one._asdict() for one in about.health.log]
    if size is not None:
        found["size"] = size
    return found


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
        EffectiveCaps=[f"CAP_{name}" for name in about.effective_capabilities],
        BoundingCaps=[f"CAP_{name}" for name in about.effective_capabilities],
        ExecIDs=[],
        GraphDriver=Fields(Name="overlay", Data={"UpperDir": container.upper, "WorkDir": container.work}),
        Mounts=[_mount(one) for one in about.mounts if one.kind != "tmpfs"],
        Dependencies=[],
        NetworkSettings=_network(about),
        Namespace="",
        IsInfra=False,
        Config=_config(about),
        HostConfig=host_config(about),
    )
    if size is not None:
        found["SizeRw"] = size
        found["SizeRootFs"] = size + (0 if about.image is None else about.image.record.size)
    return found


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


def _check(check: HealthCheck | None) -> Fields | None:
    if check is None:
        return None
    times = {"Interval": check.interval, "Timeout": check.timeout, "StartPeriod": check.start_period}
    nanoseconds = {name: round(seconds * _BILLION) for name, seconds in times.items()}
    return Fields(Test=["CMD", *check.args], Retries=check.retries, **nanoseconds)


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
    words = mount_words(one)
    propagation = next(word for word in words if "private" in word or "slave" in word)
    names = {"Name": one.name} if one.kind == "volume" else {}
    return Fields(
        Type=one.kind,
        **names,
        Source=one.source,
        Destination=one.destination,
        Driver="local" if one.kind == "volume" else "",
        Mode="",
        Options=[word for word in words if word not in {propagation, "ro", "rw"}],
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
        Ports=port_map(about),
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
        Healthcheck=_check(about.health_check),
        StartupHealthCheck=None if about.health_check is None else _check(about.health_check.startup),
        HealthcheckOnFailureAction=options.health.on_failure,
        HealthLogDestination=options.health.log.directory or "local",
        HealthcheckMaxLogCount=options.health.log.results,
        HealthcheckMaxLogSize=options.health.log.size,
        ExposedPorts=exposed_ports(about) or None,
        StopTimeout=int(options.stop_timeout),
        Timeout=int((about.request.timeout if about.request is not None else None) or 0),
        Umask=f"{options.umask:04o}",
        CreateCommand=None,
    )
