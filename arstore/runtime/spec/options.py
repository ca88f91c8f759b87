"""The user's options for a container, besides its image.

Out of scope: the syntax of single options, which is in the module of each theme, and the image's settings; `command`,
`users` and `document` combine the two.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.pattern import pattern
from arstore.runtime.lifecycle.state import STOP_TIMEOUT
from arstore.runtime.spec.defaults import SHM_SIZE
from arstore.runtime.spec.health import HealthOptions
from arstore.runtime.spec.identity.accounts import Accounts
from arstore.runtime.spec.isolation import Isolation
from arstore.runtime.spec.mounts.volume import Volume as Volume
from arstore.runtime.spec.nets.values import Link, NameFiles
from arstore.runtime.spec.resources import Resources
from arstore.runtime.spec.restart import Restart
from arstore.runtime.spec.rights.security import Security
from arstore.runtime.spec.sizes import refused
from arstore.runtime.stdio.log_options import LogOptions
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from arstore.runtime.spec.devices import HostDevice
    from arstore.runtime.spec.limits import Ulimit
    from arstore.runtime.spec.mounts.filesystems import Tmpfs
    from arstore.runtime.spec.nets.kinds import Network
    from arstore.runtime.spec.rights.cdi import Hook

_HOST_NAME = pattern(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")


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
    volumes_from: tuple[str, ...] = ()
    """Containers whose volumes are mounted too, each with `:ro` if need be; none once a request is settled."""
    requires: tuple[str, ...] = ()
    """Containers that are started before this one; ids once a request is settled."""
    memory: int | None = None
    """Bytes."""
    cpus: float | None = None
    pids_limit: int | None = None
    """Processes and threads; None for MOST_PROCESSES if that can be limited, -1 for no limit."""
    cgroups: bool = True
    """Whether the container gets its own control groups."""
    network: Network = "none"
    link: Link = Link()
    names: NameFiles = NameFiles()
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
    resources: Resources = Resources()
    isolation: Isolation = Isolation()
    accounts: Accounts = Accounts()
    annotations: Mapping[str, str] = MappingProxyType({})
    """Annotations of config.json for runtimes and hooks; these override those from labels."""
    inherited_env: tuple[str, ...] = ()
    """`NAME=VALUE` that those of the image override: of `--http-proxy`."""
    merged_env: tuple[str, ...] = ()
    """`NAME=VALUE` with references to the image's variables, such as `PATH=${PATH}:/x`."""
    unset: tuple[str, ...] = ()
    """Variables of the image, or defaults, that the container does not get; `*` for all of them."""
    umask: int = 0o022
    oom_score_adj: int | None = None
    timezone: str = ""
    """A time zone for /etc/localtime, `local` for the host's; "" leaves the image's."""
    read_only_tmpfs: bool = True
    """Whether a container with a read-only root can write to /dev, /dev/shm, /run, /tmp and /var/tmp."""
    image_volumes: Literal["anonymous", "tmpfs", "ignore"] = "anonymous"
    """The treatment of the volumes that the image declares."""
    init_path: str = ""
    """The host's program for `init`; "" for the first one that is installed."""
    hooks_dirs: tuple[str, ...] = ()
    device_hooks: tuple[Hook, ...] = ()
    """Programs of the host that devices need."""
    chroot_dirs: tuple[str, ...] = ()
    """Directories in the container that get the files of names in their /etc too."""
    log: LogOptions = LogOptions()
    """Where the output of a detached container goes."""
    preserved_fds: tuple[int, ...] = ()
    """Descriptors of the caller that the container's process gets under the same numbers."""
    id_file: str = ""
    """An absolute path that has got the container's id."""
    pid_file: str = ""
    """An absolute path that gets the number of the container's process while it runs."""
    launcher_pid_file: str = ""
    """An absolute path that gets the number of the container's launcher."""
    restart: Restart = Restart()
    health: HealthOptions = HealthOptions()

    @property
    def restarts(self) -> bool:
        """Whether the launcher may start the container again after its end."""
        return self.restart.is_active or self.health.restarts

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
