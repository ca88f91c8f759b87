"""config.json: the complete description of a container for an OCI runtime (runtime-spec 1.2, config.md and
config-linux.md).

Process, labels and annotations come from the image (image-spec conversion.md); limits, volumes and network from the
user; the rest are docker's defaults. Out of scope: files of the bundle, and how a runtime uses it.
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
"""The oldest version with everything used here, so that older runtimes accept it too."""

INIT_PLACE = "/run/arstore-init"
"""The path of the init in a container."""

_CPU_PERIOD = 100_000
_PREFIX = "org.opencontainers.image."
_DESCRIPTIVE = (_PREFIX, "org.label-schema.")
"""Prefixes of labels that describe an image. Runtimes act on others, such as `run.oci.*`, `org.systemd.property.*`."""


class Surroundings(NamedTuple):
    """Settings from outside the image and the options. *files* maps the container's paths to files of the bundle."""

    hostname: str
    cgroups_path: str
    """"" for a container without control groups."""
    limits: frozenset[str] = frozenset()
    """Resources that control groups can limit here (`cgroups.delegated`)."""
    rootfs: str = "rootfs"
    init: str = ""
    """The host's program for the container's init; "" for none."""
    files: Mapping[str, str] = MappingProxyType({})
    volumes: Sequence[Volume] = ()
    seccomp: Json | None = None


def build_spec(config: ImageConfig, options: RunOptions, process: Process, around: Surroundings) -> Json:
    """Return the document.

    *around.volumes* are all volumes, including the image's. Raises ImageConfigError for text that JSON cannot carry.
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
    """Return the annotations of conversion.md; a label overrides an annotation of the same name made from a field.

    Of the image's labels, only those are included that no runtime acts on: an image must not choose hooks, sockets or
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
    """Return the mount points of the image's volumes, without those for which the user has given a volume.

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
    """Return the container's own namespaces; the cgroup namespace only if the kernel has it (4.6)."""
    kinds = ["pid", "ipc", "uts", "mount"]
    if network != "host":
        kinds.append("network")
    if os.path.exists("/proc/self/ns/cgroup"):
        kinds.append("cgroup")
    return [{"type": kind} for kind in kinds]


def resources(options: RunOptions, limits: frozenset[str]) -> Json:
    """Return `linux.resources`: the requested limits, the default limits if *limits* supports them, and the device
    rules.

    As in podman, a memory limit allows the same amount of swap, and the number of processes is always limited.
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
    """Return the mount points in the user's options, as the user named them."""
    places = [*(one.destination for one in options.tmpfs), *(one.destination for one in options.volumes)]
    return (*places, *([INIT_PLACE] if options.init else []))


def _mounts(options: RunOptions, around: Surroundings) -> list[Json]:
    """Return the standard file systems, the bundle's files and the volumes; a later mount of the same place replaces
    an earlier one.
    """
    standing = defaults.mounts(options.shm_size, options.security.privileged)
    found: dict[str, Json] = {mount["destination"]: mount for mount in standing}
    if not around.cgroups_path:
        # Without its own groups it would see the host's.
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
    # A volume inside another has to come after it; the sort is stable, so otherwise the given order is kept.
    volumes.sort(key=lambda mount: mount["destination"].count("/"))
    return [*found.values(), *volumes]


def _bind(source: str, destination: str, *, read_only: bool, more: tuple[str, ...] = ()) -> Json:
    """Return a bind mount as podman makes it: files written there grant no privileges, on the host or here."""
    propagation = [] if any(word in PROPAGATIONS for word in more) else ["rprivate"]
    options = ["rbind", *propagation, "nosuid", "nodev", "ro" if read_only else "rw", *more]
    return {"destination": destination, "type": "bind", "source": source, "options": options}
