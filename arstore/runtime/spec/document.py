"""config.json: the whole description of a container for an OCI runtime (runtime-spec 1.2, config.md and config-
linux.md).

From the image come process, labels and annotations (image-spec conversion.md), from the user limits, volumes and
network; the rest are docker's defaults. Out of scope: files of the bundle, and what a runtime makes of it.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.errors import ImageConfigError
from arstore.runtime.spec import defaults
from arstore.runtime.spec.devices import device_section
from arstore.runtime.spec.mount_point import clean_destination
from arstore.runtime.spec.options import MOST_PROCESSES, PROPAGATIONS, Volume
from arstore.runtime.spec.process import Process, checked, process_section
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.oci.config import ImageConfig
    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.options import RunOptions

SPEC_VERSION = "1.0.2"
"""The oldest version that has everything used here, so that older runtimes take it too."""

INIT_PLACE = "/run/arstore-init"
"""Where a container sees its init."""

_CPU_PERIOD = 100_000
_PREFIX = "org.opencontainers.image."
_DESCRIPTIVE = (_PREFIX, "org.label-schema.")
"""Names of labels that describe an image. Runtimes act on others, such as `run.oci.*` and `org.systemd.property.*`."""


class Surroundings(NamedTuple):
    """What is decided outside the image and the options. *files* maps the container's paths to files of the bundle."""

    hostname: str
    cgroups_path: str
    """"" for a container without control groups."""
    limits: frozenset[str] = frozenset()
    """What control groups can limit here, as `cgroups.delegated` has it."""
    rootfs: str = "rootfs"
    init: str = ""
    """The host's program for the container's init; "" for none."""
    files: Mapping[str, str] = MappingProxyType({})
    volumes: Sequence[Volume] = ()
    seccomp: Json | None = None


def build_spec(config: ImageConfig, options: RunOptions, process: Process, around: Surroundings) -> Json:
    """The document.

    *around.volumes* are all volumes, the image's own included. Raises ImageConfigError for text that it cannot carry.
    """
    return {
        "ociVersion": SPEC_VERSION,
        "process": process_section(_under_init(process, around.init), options),
        "root": {"path": around.rootfs, "readonly": options.read_only},
        "hostname": around.hostname,
        "mounts": _mounts(options, around),
        "annotations": image_annotations(config, options.labels),
        "linux": _linux(options, around),
    }


def image_annotations(config: ImageConfig, labels: Mapping[str, str]) -> dict[str, str]:
    """The annotations that conversion.md asks for; a label of the same name goes before one made from a field.

    Of the image's labels only those are among them that no runtime acts on: an image must not choose hooks, sockets or
    handlers on the host. *labels* are the user's, who may.
    """
    platform = config.platform
    made = {
        "os": platform.os,
        "architecture": platform.architecture,
        "variant": platform.variant,
        "os.version": platform.os_version,
        "os.features": ",".join(platform.os_features),
        "author": config.author,
        "created": config.created,
        "stopSignal": config.stop_signal,
        "exposedPorts": ",".join(config.exposed_ports),
    }
    found = {_PREFIX + name: value for name, value in made.items() if value}
    found.update({name: value for name, value in config.labels.items() if _is_descriptive(name)})
    found.update(labels)
    found.pop("", None)
    for name, value in found.items():
        checked(name, "label")
        checked(value, f"label {name!r}")
    return found


def _is_descriptive(name: str) -> bool:
    return "." not in name or name.startswith(_DESCRIPTIVE)


def image_volumes(config: ImageConfig, options: RunOptions) -> tuple[str, ...]:
    """The places that the image declares as volumes and the user has not given a volume of their own for.

    Raises ImageConfigError for one that is not absolute, or is the root.
    """
    taken = {volume.destination for volume in options.volumes}
    found: dict[str, None] = {}
    for text in config.volumes:
        name = f"volume {text!r}"
        path = checked(text, "volume")
        if not path.startswith("/"):
            raise ImageConfigError(name, "is not an absolute path")
        place = os.path.normpath("/" + path.lstrip("/"))
        if place == "/":
            raise ImageConfigError(name, "a volume cannot cover the container's root")
        if place not in taken:
            found[place] = None
    return tuple(found)


def namespaces(network: str) -> list[Json]:
    """The namespaces that the container has of its own; the cgroup one where the kernel knows it (4.6)."""
    kinds = ["pid", "ipc", "uts", "mount"]
    if network != "host":
        kinds.append("network")
    if os.path.exists("/proc/self/ns/cgroup"):
        kinds.append("cgroup")
    return [{"type": kind} for kind in kinds]


def resources(options: RunOptions, limits: frozenset[str]) -> Json:
    """`linux.resources`: limits that were asked for, as far as *limits* have them those of every container, and the
    device rules.

    Like podman, a limit on memory allows as much swap again, and processes are limited in any case.
    """
    _, rules = device_section(options.devices, options.security.privileged)
    found: Json = {"devices": [*defaults.device_rules(), *rules]}
    if options.memory is not None:
        found["memory"] = {"limit": options.memory}
        if "swap" in limits:
            found["memory"]["swap"] = 2 * options.memory
    if options.cpus is not None:
        found["cpu"] = {"quota": max(1000, round(options.cpus * _CPU_PERIOD)), "period": _CPU_PERIOD}
    if options.pids_limit is None:
        if "pids" in limits:
            found["pids"] = {"limit": MOST_PROCESSES}
    elif options.pids_limit > 0:
        found["pids"] = {"limit": options.pids_limit}
    return found


def _linux(options: RunOptions, around: Surroundings) -> Json:
    security = options.security
    masked = [path for path in defaults.MASKED_PATHS if not security.shows(path)]
    section: Json = {
        "namespaces": namespaces(options.network),
        "maskedPaths": [*masked, *security.masked],
        "readonlyPaths": [path for path in defaults.READ_ONLY_PATHS if not security.shows(path)],
    }
    if around.cgroups_path:
        section |= {"cgroupsPath": around.cgroups_path, "resources": resources(options, around.limits)}
    devices, _ = device_section(options.devices, security.privileged)
    if devices:
        section["devices"] = devices
    if around.seccomp is not None:
        section["seccomp"] = around.seccomp
    return section


def _under_init(process: Process, init: str) -> Process:
    return process if not init else process._replace(args=(INIT_PLACE, "--", *process.args))


def own_mount_points(options: RunOptions) -> tuple[str, ...]:
    """Where the user's options have something mounted, as they name it."""
    places = [*(one.destination for one in options.tmpfs), *(one.destination for one in options.volumes)]
    return (*places, *([INIT_PLACE] if options.init else []))


def _mounts(options: RunOptions, around: Surroundings) -> list[Json]:
    """The standing file systems, the bundle's files, the volumes: a later one of the same place replaces an earlier
    one.
    """
    standing = defaults.mounts(options.shm_size, options.security.privileged)
    found: dict[str, Json] = {mount["destination"]: mount for mount in standing}
    if not around.cgroups_path:
        # With no groups of its own it would see the host's.
        del found["/sys/fs/cgroup"]
    for tmpfs in options.tmpfs:
        found[tmpfs.destination] = {
            "destination": tmpfs.destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": list(tmpfs.options),
        }
    for destination, source in around.files.items():
        found[destination] = _bind(source, destination, read_only=False)
    volumes: list[Json] = []
    for volume in around.volumes:
        destination = clean_destination(checked(volume.destination, "volume"), volume.destination)
        found.pop(destination, None)
        source = checked(volume.source, "volume")
        volumes.append(_bind(source, destination, read_only=volume.read_only, more=volume.options))
    if around.init:
        init = _bind(around.init, INIT_PLACE, read_only=True)
        volumes.append(init | {"options": [*init["options"], "exec"]})
    # A volume inside another has to come after it; sorting is stable, so otherwise the given order stays.
    volumes.sort(key=lambda mount: mount["destination"].count("/"))
    return [*found.values(), *volumes]


def _bind(source: str, destination: str, *, read_only: bool, more: tuple[str, ...] = ()) -> Json:
    """As podman does it: what a container writes into a host's directory raises nobody, there or here."""
    propagation = [] if any(word in PROPAGATIONS for word in more) else ["rprivate"]
    options = ["rbind", *propagation, "nosuid", "nodev", "ro" if read_only else "rw", *more]
    return {"destination": destination, "type": "bind", "source": source, "options": options}
