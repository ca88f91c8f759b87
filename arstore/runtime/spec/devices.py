"""Host devices for a container: `--device`, and all of them for `--privileged`.

Format: OCI runtime-spec config-linux.md, "Devices" and "Allowed HostDevice list". Device nodes in an image's root file
system cannot be opened: it is mounted nodev.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError, UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.runtime.spec.defaults import Json

_MOST = 4096
_DEV = "/dev"
_OWN = frozenset({"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
                  "stdout", "tty", "urandom", "zero"})  # fmt: skip
"""Names in /dev that every container has itself."""


class HostDevice(NamedTuple):
    """A device node, or a directory of device nodes, of the host; its place in the container; `r`, `w`, `m` (mknod)."""

    source: str
    destination: str
    access: str = "rwm"


def parse_device(text: str) -> HostDevice:
    """Read `HOST[:CONTAINER][:rwm]`. Raises UsageError for invalid syntax, NotFoundError if HOST does not exist."""
    from arstore.oci.document import shown

    parts = text.split(":")
    access = parts.pop() if len(parts) > 1 and _is_access(parts[-1]) else "rwm"
    source = parts[0]
    destination = parts[1] if len(parts) > 1 else source
    if len(parts) > 2 or not source.startswith("/") or not destination.startswith("/") or "\0" in text:
        raise UsageError(shown(text), "not a device", "write HOST[:CONTAINER][:rwm], with absolute paths")
    device = HostDevice(os.path.normpath(source), os.path.normpath(destination), access)
    if not any(_nodes(device)):
        if not os.path.exists(source):
            raise NotFoundError(shown(source), "no such device on this host")
        raise UsageError(shown(source), "is not a device, and not a directory of devices")
    return device


def device_section(devices: tuple[HostDevice, ...], privileged: bool) -> tuple[list[Json], list[Json]]:
    """Return the entries of `linux.devices`, and the rules of `linux.resources.devices` to add to the default ones.

    Raises OSError.
    """
    entries = {node["path"]: node for _, node in (_host_nodes() if privileged else ())}
    rules: list[Json] = [{"allow": True, "access": "rwm"}] if privileged else []
    for device in devices:
        for _, node in _nodes(device):
            entries[node["path"]] = node
            rule = {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"]}
            rules.append(rule | {"access": device.access})
    return list(entries.values()), rules


def device_binds(devices: tuple[HostDevice, ...], privileged: bool) -> dict[str, Json]:
    """Return the same devices as entries of `mounts`, by destination, for a user namespace, where none can be made.

    What a process may do with them is decided by the owner and mode of the host's nodes alone. Raises OSError.
    """
    nodes = [*(_host_nodes() if privileged else ()), *(node for device in devices for node in _nodes(device))]
    options = ["bind", "rprivate", "nosuid", "noexec", "dev", "rw"]
    return {
        node["path"]: {"destination": node["path"], "type": "bind", "source": source, "options": options}
        for source, node in nodes
    }


def _is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm")


def _nodes(device: HostDevice) -> Iterator[tuple[str, Json]]:
    """Yield each device in the directory, or the device: its path on the host, and its entry of `linux.devices`."""
    if not os.path.isdir(device.source):
        entry = _device_entry(device.source, device.destination)
        if entry is not None:
            yield device.source, entry
        return
    yield from _devices_below(device.source, device.destination, _MOST)


def _host_nodes() -> Iterator[tuple[str, Json]]:
    with os.scandir(_DEV) as names:
        for found in sorted(names, key=lambda entry: entry.name):
            if found.name in _OWN or found.is_symlink():
                continue
            yield from _nodes(HostDevice(found.path, found.path))


def _devices_below(source: str, destination: str, most: int) -> Iterator[tuple[str, Json]]:
    device = os.stat(source).st_dev
    for place, directories, names in os.walk(source):
        # Other file systems below, such as a devpts, have devices that belong to other users.
        directories[:] = sorted(name for name in directories if os.lstat(f"{place}/{name}").st_dev == device)
        for name in sorted(names):
            path = f"{place}/{name}"
            entry = None if os.path.islink(path) else _device_entry(path, destination + path.removeprefix(source))
            if entry is not None:
                most -= 1
                if most < 0:
                    raise UsageError(source, f"has more than {_MOST} devices")
                yield path, entry


def _device_entry(source: str, destination: str) -> Json | None:
    try:
        status = os.stat(source)
    except FileNotFoundError:
        return None
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return {
        "path": destination,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
