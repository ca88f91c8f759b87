"""The user's options for a container, besides its image, and their syntax.

Out of scope: the image's settings; `command`, `users` and `document` combine the two.
"""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from arstore.errors import NotFoundError
from arstore.runtime.lifecycle.state import STOP_TIMEOUT
from arstore.runtime.spec.defaults import SHM_SIZE
from arstore.runtime.spec.health import RESTART, HealthOptions
from arstore.runtime.spec.mount_point import clean_destination
from arstore.runtime.spec.restart import Restart
from arstore.runtime.spec.security import Security
from arstore.runtime.spec.sizes import LARGEST, parse_size, refused, shown
from arstore.runtime.stdio.log_options import LogOptions
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.runtime.spec.devices import HostDevice
    from arstore.runtime.spec.limits import Tmpfs, Ulimit

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")

PROPAGATIONS = ("private", "rprivate", "slave", "rslave")
_MOUNT_OPTIONS = ("exec", "noexec", *PROPAGATIONS)
_VOLUME_OPTIONS = frozenset({"ro", "rw", "z", "Z", "nosuid", "nodev", *_MOUNT_OPTIONS})
"""Volumes are always nosuid and nodev. `shared` is missing, because mounts of a container must not reach the host."""

MOST_PROCESSES = 2048
"""Default limit of processes and threads in a container: podman's number (containers.conf(5))."""
LEAST_MEMORY = 6 << 20
"""Bytes. With less memory, a runtime cannot even start the container's first process."""


class Volume(NamedTuple):
    """A host directory or file in the container: its absolute paths on the host and in the container."""

    source: str
    destination: str
    read_only: bool = False
    options: tuple[str, ...] = ()
    """More mount options, as in mount(8), after the default ones."""


class RunOptions(NamedTuple):
    """How to run a container. The defaults take everything from the image, without network."""

    args: tuple[str, ...] = ()
    """The words after the image, which replace the image's CMD."""
    entrypoint: tuple[str, ...] | None = None
    """Replaces the image's ENTRYPOINT and clears its CMD; an empty one clears both."""
    env: tuple[str, ...] = ()
    """`NAME=VALUE`, added to the image's variables or replacing them; later ones win."""
    workdir: str = ""
    user: str | None = None
    groups: tuple[str, ...] = ()
    """Supplementary groups in addition to the user's own, names or numbers."""
    volumes: tuple[Volume, ...] = ()
    memory: int | None = None
    """Bytes."""
    cpus: float | None = None
    pids_limit: int | None = None
    """Processes and threads; None for MOST_PROCESSES if that can be limited, -1 for no limit."""
    cgroups: bool = True
    """Whether the container gets its own control groups."""
    network: Literal["none", "host"] = "none"
    read_only: bool = False
    tty: bool = False
    interactive: bool = False
    hostname: str = ""
    labels: Mapping[str, str] = MappingProxyType({})
    stop_signal: str = ""
    stop_timeout: float = STOP_TIMEOUT
    """Seconds between the stop signal and SIGKILL."""
    init: bool = False
    """Whether a small init (catatonit, tini) is the container's first process, and reaps orphaned processes."""
    security: Security = Security()
    devices: tuple[HostDevice, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    owned: tuple[str, ...] = ()
    """Directories of the host, absolute and without symlinks, whose owner becomes the command's user."""
    shm_size: int = SHM_SIZE
    """Bytes of /dev/shm."""
    log: LogOptions = LogOptions()
    """Where the output of a detached container goes."""
    restart: Restart = Restart()
    health: HealthOptions = HealthOptions()

    @property
    def restarts(self) -> bool:
        """Whether the launcher may start the container again after its end."""
        return self.restart.is_active or self.health.on_failure == RESTART

    def capabilities(self, available: int) -> tuple[str, ...]:
        """Return the container's capabilities, out of the bit mask *available*.

        Without control groups, nothing keeps a container from opening devices that it makes: so MKNOD then has to be
        requested explicitly.
        """
        security = self.security
        if not self.cgroups and not security.privileged and not {"MKNOD", "ALL"}.intersection(security.added):
            security = security._replace(dropped=(*security.dropped, "MKNOD"))
        return security.capabilities(available)


class ExecOptions(NamedTuple):
    """How to run another process in a container; missing settings are those of the container's own process."""

    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str | None = None
    tty: bool = False
    interactive: bool = False


def parse_memory(text: str) -> int:
    """Return a memory limit in bytes, at least LEAST_MEMORY. Raises UsageError."""
    size = parse_size(text)
    if size < LEAST_MEMORY:
        raise refused(text, f"no container runs in less than {LEAST_MEMORY >> 20} MiB")
    return size


def parse_cpus(text: str) -> float:
    """Return a number of processors such as `1.5`, at least 0.01. Raises UsageError."""
    try:
        cpus = float(text)
    except ValueError:
        raise refused(text, "not a number of processors") from None
    if not 0.01 <= cpus <= 100_000:
        raise refused(text, "the number of processors must be from 0.01 to 100000")
    return cpus


def check_pids_limit(number: int) -> int:
    """Return *number*, a limit of processes and threads, -1 for no limit. Raises UsageError for other values."""
    if number != -1 and not 1 <= number <= LARGEST:
        raise refused(str(number), "not a number of processes", "write -1 for no limit")
    return number


def parse_volume(text: str) -> Volume:
    """Read `SRC:DST[:OPTION,...]`: a host path, made absolute, and the container's path for it.

    SRC may contain colons, DST may not. OPTION is one of ro, rw, noexec, exec, nosuid, nodev, private, rprivate, slave
    and rslave, as in podman. z and Z are accepted without effect, because there are no SELinux labels. A plain word is
    a path relative to the working directory, never a named volume. Raises UsageError for invalid syntax, an unknown
    OPTION, and a DST that is not absolute or is the root; NotFoundError if SRC does not exist.
    """
    source, colon, destination = text.rpartition(":")
    words: list[str] = []
    if not destination.startswith("/") and ":/" in source:
        words = destination.split(",")
        source, colon, destination = source.rpartition(":")
    if not colon or not source or not destination:
        raise refused(text, "not a volume", "write SRC:DST or SRC:DST:ro")
    if "\0" in text:
        raise refused(text, "a path cannot contain NUL")
    place = clean_destination(destination, text)
    absolute = os.path.abspath(source)
    if not os.path.exists(absolute):
        raise NotFoundError(shown(absolute), "no such file or directory to mount as a volume")
    for word in words:
        if word not in _VOLUME_OPTIONS:
            taken = ", ".join(sorted(_VOLUME_OPTIONS))
            raise refused(text, f"not an option of a volume: {shown(word) or 'an empty word'}", f"use one of {taken}")
    _refuse_contradictions(text, words)
    return Volume(absolute, place, "ro" in words, tuple(word for word in words if word in _MOUNT_OPTIONS))


def _refuse_contradictions(text: str, words: list[str]) -> None:
    """Raise UsageError for options of a volume that exclude each other."""
    for group in (("ro", "rw"), ("exec", "noexec"), PROPAGATIONS):
        chosen = [word for word in dict.fromkeys(words) if word in group]
        if len(chosen) > 1:
            raise refused(text, f"{chosen[0]} and {chosen[1]} exclude each other")


def parse_env(text: str, environ: Mapping[str, str]) -> str | None:
    """Return `NAME=VALUE` unchanged; `NAME` alone gets its value from *environ*, and gives None if it is not there.

    Raises UsageError for an empty name.
    """
    name, equals, _ = text.partition("=")
    if not name:
        raise refused(text, "an environment variable needs a name")
    if equals:
        return text
    return f"{name}={environ[name]}" if name in environ else None


def check_hostname(name: str) -> str:
    """Return *name* if it is valid as a host name (64 bytes). Raises UsageError."""
    if _HOST_NAME.fullmatch(name) is None:
        raise refused(name, "not a host name")
    return name
