"""Devices by name, as the Container Device Interface describes them (CDI specification 0.8): `--gpus`.

A vendor's tool writes files to /etc/cdi or /var/run/cdi, as JSON or YAML. Each describes devices of one kind, and what
a container needs for them: variables, device nodes, mounts, hooks and groups. Hooks are programs of the host that run
as root; so files that another user could have written are refused. /var/run/cdi wins over /etc/cdi.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from arstore.errors import ArstoreError, RuntimeFailedError, UsageError
from arstore.runtime.spec.devices import HostDevice
from arstore.runtime.spec.hooks import STAGES
from arstore.runtime.spec.mounts.volume import PROPAGATIONS, Volume
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PLACES = ("/etc/cdi", "/var/run/cdi")
GPU = "nvidia.com/gpu"
"""The kind of device that --gpus means, as in podman."""
_LONGEST = 4 << 20
_MOST_FILES = 1000
_WORDS = frozenset({"exec", "noexec", "suid", "nosuid", "dev", "nodev", "bind", *PROPAGATIONS})


class Hook(NamedTuple):
    """A program of the host that the runtime runs at a stage of the container's life."""

    stage: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Edits(NamedTuple):
    """The parts of a container's configuration that some devices need."""

    env: tuple[str, ...] = ()
    devices: tuple[HostDevice, ...] = ()
    volumes: tuple[Volume, ...] = ()
    hooks: tuple[Hook, ...] = ()
    groups: tuple[str, ...] = ()


def gpus(text: str) -> list[str]:
    """Return the names of the devices of `--gpus`: `all`, or numbers or ids separated by commas. Raises UsageError."""
    names = text.split(",")
    if not all(names) or "\0" in text:
        raise UsageError(f"--gpus={text}", "is not all, and not a list of GPUs")
    return [f"{GPU}={name}" for name in names]


def edits(names: Sequence[str], places: Sequence[str] = PLACES) -> Edits:
    """Return what the devices *names*, each `KIND=NAME`, need.

    Raises RuntimeFailedError for a device that no file describes, UsageError for a file that cannot be used.
    """
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for place in places:
        for path, document in _documents(place):
            for device in _list(document, "devices", path):
                name = f"{_text(document, 'kind', path)}={_text(device, 'name', path)}"
                found[name] = ({**document, "path": path}, device)
    missing = [name for name in names if name not in found]
    if missing:
        raise RuntimeFailedError(missing[0], f"no file in {' or '.join(places)} describes this device")
    made, done = Edits(), set()
    for name in names:
        document, device = found[name]
        path = document["path"]
        if path not in done:
            done.add(path)
            made = _added(made, _map(document, "containerEdits", path), path)
        made = _added(made, _map(device, "containerEdits", path), path)
    return made


def _documents(place: str) -> Iterable[tuple[str, dict[str, Any]]]:
    try:
        names = sorted(name for name in os.listdir(place) if name.endswith((".json", ".yaml", ".yml")))
    except OSError:
        return
    for name in names[:_MOST_FILES]:
        path = os.path.join(place, name)
        yield path, _read(path)


def _read(path: str) -> dict[str, Any]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_uid not in {0, os.geteuid()} or about.st_mode & 0o022:
                raise UsageError(path, "is not a file that only its owner, root or this user, can write to")
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(path, f"cannot be read: {error.strerror}") from error
    if len(data) > _LONGEST:
        raise UsageError(path, f"is larger than {_LONGEST >> 20} MiB")
    try:
        found = json.loads(data) if path.endswith(".json") else _yaml(data, path)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(path, "is not a description of devices (CDI)")
    return found


def _yaml(data: bytes, path: str) -> object:
    from arstore.registry.configuration.strict_yaml import parse_yaml

    try:
        return parse_yaml(data, path)
    except ArstoreError as error:
        raise UsageError(path, error.why) from error


def _added(before: Edits, given: dict[str, Any], path: str) -> Edits:
    return Edits(
        (*before.env, *(text for text in _texts(given, "env", path) if "=" in text)),
        (*before.devices, *(_device(one, path) for one in _list(given, "deviceNodes", path))),
        (*before.volumes, *(_volume(one, path) for one in _list(given, "mounts", path))),
        (*before.hooks, *(_hook(one, path) for one in _list(given, "hooks", path))),
        (*before.groups, *(str(_number(one, path)) for one in given.get("additionalGIDs") or ())),
    )


def _device(given: dict[str, Any], path: str) -> HostDevice:
    place = _absolute(given, "path", path)
    source = _absolute(given, "hostPath", path) if given.get("hostPath") else place
    access = str(given.get("permissions") or "rw")
    if not access or set(access) - set("rwm"):
        raise UsageError(path, f"{access} are not permissions of a device")
    return HostDevice(source, place, access)


def _volume(given: dict[str, Any], path: str) -> Volume:
    words = _texts(given, "options", path)
    place = _absolute(given, "containerPath", path)
    if place == "/":
        raise UsageError(path, "a mount cannot cover the container's root")
    options = tuple(word for word in words if word in _WORDS)
    return Volume(_absolute(given, "hostPath", path), place, "ro" in words, options)


def _hook(given: dict[str, Any], path: str) -> Hook:
    stage = _text(given, "hookName", path)
    if stage not in STAGES:
        raise UsageError(path, f"{stage} is not a stage of a container's life")
    timeout = given.get("timeout")
    return Hook(
        stage,
        _absolute(given, "path", path),
        tuple(_texts(given, "args", path)),
        tuple(_texts(given, "env", path)),
        None if timeout is None else _number(timeout, path),
    )


def _map(given: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    found = given.get(name) or {}
    if not isinstance(found, dict):
        raise UsageError(path, f"{name} is not valid")
    return found


def _list(given: dict[str, Any], name: str, path: str) -> list[dict[str, Any]]:
    found = given.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(path, f"{name} is not valid")
    return found


def _texts(given: dict[str, Any], name: str, path: str) -> list[str]:
    found = given.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, str) and "\0" not in one for one in found):
        raise UsageError(path, f"{name} is not valid")
    return found


def _text(given: dict[str, Any], name: str, path: str) -> str:
    found = given.get(name)
    if not isinstance(found, str) or not found or "\0" in found:
        raise UsageError(path, f"{name} is missing")
    return found


def _absolute(given: dict[str, Any], name: str, path: str) -> str:
    found = _text(given, name, path)
    if not found.startswith("/"):
        raise UsageError(path, f"{name} is not an absolute path")
    return os.path.normpath("/" + found.lstrip("/"))


def _number(given: object, path: str) -> int:
    text = str(given)
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise UsageError(path, f"{text[:20]} is not a number")
    return int(text)
