"""The mounts of a container: the standard file systems, the bundle's files, and the volumes (`mounts` of config.json).

Format: OCI runtime-spec config.md, "Mounts". A later mount of the same place replaces an earlier one.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import ImageConfigError
from arstore.runtime.spec import defaults
from arstore.runtime.spec.devices import device_binds
from arstore.runtime.spec.isolation import shared_mounts
from arstore.runtime.spec.mounts.filesystems import Tmpfs, mount_of, writable_places
from arstore.runtime.spec.mounts.mount_point import clean_destination
from arstore.runtime.spec.mounts.volume import PROPAGATIONS
from arstore.runtime.spec.process import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.oci.config import ImageConfig
    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.mounts.volume import Volume
    from arstore.runtime.spec.options import RunOptions
    from arstore.runtime.spec.surroundings import Surroundings

INIT_PLACE = "/run/arstore-init"
"""The path of the init in a container."""

_OPPOSITES = {"nosuid": "suid", "nodev": "dev"}


def image_volumes(config: ImageConfig, options: RunOptions) -> tuple[str, ...]:
    """Return the mount points of the image's volumes, without places where the user mounts something.

    Raises ImageConfigError for one that is not absolute, or is the root.
    """
    if options.image_volumes == "ignore":
        return ()
    taken = {*(one.destination for one in options.volumes), *(one.destination for one in options.tmpfs)}
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


def own_mount_points(options: RunOptions) -> tuple[str, ...]:
    """Return the mount points in the user's options, as the user named them."""
    places = [*(one.destination for one in options.tmpfs), *(one.destination for one in options.volumes)]
    return (*places, *([INIT_PLACE] if options.init else []))


def mounts(options: RunOptions, around: Surroundings) -> list[Json]:
    """Return all mounts in their order. Raises ImageConfigError."""
    found = _standing(options, around)
    taken = {*found, *(volume.destination for volume in around.volumes), *(one.destination for one in options.tmpfs)}
    for tmpfs in (*_implied(options, taken), *options.tmpfs):
        found[tmpfs.destination] = mount_of(tmpfs)
    files = {place: _bind(source, place, read_only=options.read_only) for place, source in around.files.items()}
    found |= files
    if around.ids is not None:
        found |= device_binds(options.devices, options.security.privileged)
    volumes: list[Json] = []
    for volume in around.volumes:
        destination = clean_destination(checked(volume.destination, "volume"), volume.destination)
        found.pop(destination, None)
        volumes.append(_volume(volume, destination))
        # A volume in place of /etc would hide the files there.
        volumes += [found.pop(place) for place in files if place in found and _can_be_in(place, volume, destination)]
    if around.init:
        init = _bind(around.init, INIT_PLACE)
        volumes.append(init | {"options": ["rbind", "rprivate", "nosuid", "nodev", "ro", "exec"]})
    # A volume inside another has to come after it; the sort is stable, so otherwise the given order is kept.
    volumes.sort(key=lambda mount: mount["destination"].count("/"))
    return [*found.values(), *volumes]


def _can_be_in(place: str, volume: Volume, destination: str) -> bool:
    """Whether a file can be mounted at *place* in *volume*; the runtime makes an empty file for it there."""
    if os.path.dirname(place) != destination or volume.read_only or not volume.source:
        return False
    try:
        return stat.S_ISREG(os.lstat(os.path.join(volume.source, os.path.basename(place))).st_mode)
    except FileNotFoundError:
        return os.path.isdir(volume.source)
    except OSError:
        return False


def _standing(options: RunOptions, around: Surroundings) -> dict[str, Json]:
    """Return the file systems that every container has, by destination."""
    found: dict[str, Json] = {
        mount["destination"]: mount for mount in defaults.mounts(options.shm_size, options.security.privileged)
    }
    if not around.cgroups_path:
        # Without its own groups it would see the host's.
        del found["/sys/fs/cgroup"]
    mapped = not options.isolation.gids or any(
        0 <= defaults.TTY_GROUP - one.inside < one.size for one in options.isolation.gids
    )
    if not mapped or (around.ids is not None and not around.ids.has_gid(defaults.TTY_GROUP)):
        found["/dev/pts"]["options"].remove(f"gid={defaults.TTY_GROUP}")
    if binds_sys(options, around):
        access = "rw" if options.security.privileged else "ro"
        words = ["rbind", "rprivate", "nosuid", "noexec", "nodev", access]
        found["/sys"] = {"destination": "/sys", "type": "bind", "source": "/sys", "options": words}
    if around.ids is not None and options.isolation.ipc == "host":
        del found["/dev/mqueue"]
    for place, mount in shared_mounts(options.isolation).items():
        if mount is None:
            del found[place]
        else:
            found[place] = mount
    if options.read_only and not options.read_only_tmpfs:
        for place in ("/dev", "/dev/shm"):  # places in the container
            if place in found:
                found[place]["options"] = [*(word for word in found[place]["options"] if word != "rw"), "ro"]
    if options.security.proc_options:
        found["/proc"]["options"] = [*found["/proc"]["options"], *options.security.proc_options]
    return found


def binds_sys(options: RunOptions, around: Surroundings) -> bool:
    """Whether the container gets the host's /sys, because a sysfs of the host's network can be mounted only by root."""
    return around.ids is not None and options.network in {"host", "ns"}


def _implied(options: RunOptions, taken: set[str]) -> Sequence[Tmpfs]:
    return writable_places(taken) if options.read_only and options.read_only_tmpfs else ()


def _bind(source: str, destination: str, *, read_only: bool = False) -> Json:
    options = ["rbind", "rprivate", "nosuid", "nodev", "ro" if read_only else "rw"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _volume(volume: Volume, destination: str) -> Json:
    """Return the bind mount of a volume. Files written there grant no privileges, on the host or here, by default."""
    more = volume.options
    options = ["bind" if "bind" in more else "rbind"]
    if not any(word in PROPAGATIONS for word in more):
        options.append("rprivate")
    options += [word for word, opposite in _OPPOSITES.items() if opposite not in more]
    options.append("ro" if volume.read_only else "rw")
    options += [word for word in more if word not in options]
    return {
        "destination": destination,
        "type": "bind",
        "source": checked(volume.source, "volume"),
        "options": options,
    }
