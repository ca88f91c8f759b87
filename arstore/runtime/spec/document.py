"""config.json: the complete description of a container for an OCI runtime (runtime-spec 1.2, config.md and
config-linux.md).

Process, labels and annotations come from the image (image-spec conversion.md); limits, volumes and network from the
user; the rest are docker's defaults. Out of scope: files of the bundle, and how a runtime uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.runtime.spec import defaults
from arstore.runtime.spec.devices import device_section
from arstore.runtime.spec.isolation import namespaces
from arstore.runtime.spec.mounts.section import INIT_PLACE, binds_sys, mounts
from arstore.runtime.spec.process import Process, checked, process_section
from arstore.runtime.spec.resource_section import resources
from arstore.runtime.spec.surroundings import Surroundings as Surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.oci.config import ImageConfig
    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.options import RunOptions

SPEC_VERSION = "1.0.2"
"""The oldest version with everything used here, so that older runtimes accept it too."""

_PREFIX = "org.opencontainers.image."
_DESCRIPTIVE = (_PREFIX, "org.label-schema.")
"""Prefixes of labels that describe an image. Runtimes act on others, such as `run.oci.*`, `org.systemd.property.*`."""


def build_spec(config: ImageConfig, options: RunOptions, process: Process, around: Surroundings) -> Json:
    """Return the document.

    *around.volumes* are all volumes, including the image's. Raises ImageConfigError for text that JSON cannot carry.
    """
    document: Json = {
        "ociVersion": SPEC_VERSION,
        "process": process_section(_under_init(process, around.init), options),
        "root": {"path": around.rootfs, "readonly": options.read_only},
        "hostname": around.hostname,
        "mounts": mounts(options, around),
        "annotations": image_annotations(config, {**options.labels, **options.annotations}),
        "linux": _linux(options, around),
    }
    if options.isolation.uts == "host":
        # A runtime that is given a host name would set it for the whole host, or refuse to.
        del document["hostname"]
    if options.hooks_dirs:
        from arstore.runtime.spec.hooks import Occasion, hooks

        binds = any(volume.kind == "bind" for volume in options.volumes)
        found = hooks(options.hooks_dirs, Occasion(process.args[0], document["annotations"], binds))
        if found:
            document["hooks"] = found
    for hook in options.device_hooks:
        entry: Json = {"path": hook.path, "args": list(hook.args), "env": list(hook.env)}
        entry |= {} if hook.timeout is None else {"timeout": hook.timeout}
        document.setdefault("hooks", {}).setdefault(hook.stage, []).append(entry)
    return document


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


def _linux(options: RunOptions, around: Surroundings) -> Json:
    security = options.security
    masked = [path for path in defaults.MASKED_PATHS if not security.shows(path)]
    section: Json = {
        "namespaces": namespaces(options.network, options.isolation, around.network),
        "maskedPaths": [*masked, *security.masked, *_hidden(options, around)],
        "readonlyPaths": [path for path in defaults.READ_ONLY_PATHS if not security.shows(path)],
    }
    if around.cgroups_path:
        section |= {"cgroupsPath": around.cgroups_path, "resources": resources(options, around.limits)}
    devices, _ = device_section(options.devices, security.privileged)
    if devices and around.ids is None:
        section["devices"] = devices
    if around.seccomp is not None:
        section["seccomp"] = around.seccomp
    own = {} if options.network in {"host", "ns"} else defaults.sysctls()
    if sysctls := own | dict(options.isolation.sysctls):
        section["sysctl"] = sysctls
    if options.isolation.personality:
        section["personality"] = {"domain": options.isolation.personality}
    for name, ranges in (("uidMappings", options.isolation.uids), ("gidMappings", options.isolation.gids)):
        if ranges:
            section[name] = [{"containerID": one.inside, "hostID": one.outside, "size": one.size} for one in ranges]
    if options.resources.rdt_class:
        section["intelRdt"] = {"closID": options.resources.rdt_class}
    return section


def _hidden(options: RunOptions, around: Surroundings) -> list[str]:
    """Return what a container without control groups would see of the host's, in the host's own /sys."""
    shows = options.security.shows("/sys/fs/cgroup")
    return [] if around.cgroups_path or shows or not binds_sys(options, around) else ["/sys/fs/cgroup"]


def _under_init(process: Process, init: str) -> Process:
    return process if not init else process._replace(args=(INIT_PLACE, "--", *process.args))
