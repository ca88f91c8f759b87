"""One launch: the caller's wishes, and the bundle made from them once the root file system is mounted.

Out of scope: processes, see `launcher`.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

from arstore.disk.cgroups import cgroups_path, delegated
from arstore.disk.delegation import is_version_1, parent_group, why_none
from arstore.errors import ImageConfigError, PermissionDeniedError, RuntimeMissingError
from arstore.linux.isolation import capability, user_namespace
from arstore.runtime.lifecycle.signals import DEFAULT_STOP, parse_signal
from arstore.runtime.spec import defaults
from arstore.runtime.spec.bundle import HOME_IS_GIVEN
from arstore.runtime.spec.command import Lookup, check_command, container_args
from arstore.runtime.spec.document import Surroundings, build_spec
from arstore.runtime.spec.health import health_check
from arstore.runtime.spec.identity.accounts import account_files, append_in, as_added
from arstore.runtime.spec.identity.users import added_groups, require_mapped, require_plain_files, resolve_user
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.mounts.filesystems import memory_volume, owned
from arstore.runtime.spec.mounts.private import private_volumes, volume_places
from arstore.runtime.spec.mounts.section import image_volumes
from arstore.runtime.spec.options import check_hostname
from arstore.runtime.spec.process import (
    Process,
    check_working_directory,
    container_environment,
    has_home,
    home_of,
    make_working_directory,
    working_directory,
)
from arstore.runtime.spec.resource_section import undelegated
from arstore.runtime.spec.rights import seccomp
from arstore.runtime.spec.rights.security import UNCONFINED
from arstore.runtime.stdio.streams import STREAMS
from arstore.runtime.stdio.terminal import window_size
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from arstore.oci.config import ImageConfig
    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.life import Life
    from arstore.runtime.spec.bundle import Bundle
    from arstore.runtime.spec.defaults import Json
    from arstore.runtime.spec.health import HealthCheck
    from arstore.runtime.spec.isolation import Isolation
    from arstore.runtime.spec.mounts.volume import Volume
    from arstore.runtime.spec.options import RunOptions

_LONGEST_HOST_NAME = 63

_INITS = ("catatonit", "tini-static", "docker-init")
_INIT_PLACES = ("/usr/local/bin", "/usr/bin", "/usr/libexec/podman", "/usr/lib/podman", "/usr/libexec/docker")


def _ignore_exit() -> None:
    """Do nothing: the default for callers that do not need the end of a container."""


class OwnClient(NamedTuple):
    """The command in the foreground that starts a detached container: its socket, the size of its terminal, and whether
    the container ends if it ends without detaching.
    """

    fd: int
    size: tuple[int, int] | None = None
    ends_container: bool = True


def _ignore_check(_directory: str, _check: HealthCheck) -> None:
    """Do nothing: the default for callers without health checks."""


class Launch(NamedTuple):
    """A container to be started.

    `directory` is the container's existing directory. `mount_rootfs` mounts a *writable* root file system at the given
    path. It is called in a forked child, in its own mount namespace, and may use descriptors that are open now; they
    are closed there when it returns. `on_exit` is called by the launcher of a detached container that has started,
    after everything of it is gone. `timeout` is in seconds. `stops_on_term` is for the foreground only: SIGTERM then
    stops the container, like the timeout, and is not passed on. Without `passes_signals` no signal is passed on; each
    has its previous effect on the launcher. `kept` are descriptors that the launcher keeps open while it lives; it runs
    inside the context manager that `attending` returns. `life` is what the launcher knows of earlier runs, and has the
    restart policy. `run_check` runs a health check in the container in a directory; it is called in another process.
    `client` is the command in the foreground that a detached container belongs to at first. `passed` are the files for
    the output of a detached container that has no log. `attached` are the streams of one in the foreground that are
    passed on.
    """

    id: str
    directory: str
    config: ImageConfig
    options: RunOptions
    runtime: Runtime
    mount_rootfs: Callable[[str], None]
    on_exit: Callable[[], None] = _ignore_exit
    timeout: float | None = None
    stops_on_term: bool = False
    passes_signals: bool = True
    kept: tuple[int, ...] = ()
    attending: Callable[[], AbstractContextManager[None]] = nullcontext
    life: Life | None = None
    client: OwnClient | None = None
    passed: tuple[int, int] | None = None
    attached: tuple[str, ...] = STREAMS
    run_check: Callable[[str, HealthCheck], object] = _ignore_check

    @property
    def args(self) -> tuple[str, ...]:
        """The command. Raises ImageConfigError if there is none."""
        return container_args(self.config, self.options)

    @property
    def size(self) -> tuple[int, int] | None:
        """The size of the user's terminal, rows and columns."""
        return window_size(0, 1, 2) if self.client is None else self.client.size

    @property
    def health_check(self) -> HealthCheck | None:
        """The container's health check, from the image and the options."""
        return health_check(self.config.healthcheck, self.options.health)

    @property
    def stop_signal(self) -> int:
        """The user's stop signal, the image's, or SIGTERM; an invalid one is ignored, because it is needed only
        later.
        """
        return next(filter(None, map(_signal, (self.options.stop_signal, self.config.stop_signal))), int(DEFAULT_STOP))

    @property
    def hostname(self) -> str:
        """The user's host name, the host's if that or the network is shared, or the start of the id.

        Raises UsageError.
        """
        if self.options.hostname:
            return check_hostname(self.options.hostname)
        if self.options.network == "host" or self.options.isolation.uts == "host":
            return os.uname().nodename[:_LONGEST_HOST_NAME] or "localhost"
        return self.id[:_LONGEST_HOST_NAME].strip("._-") or "localhost"


def require_delegated(options: RunOptions) -> None:
    """Raise PermissionDeniedError for a limit that an ordinary user may not set here.

    Where control groups are of version 1 no user may set any, and all limits are left out, as in podman.
    """
    if user_namespace.is_initial():
        return
    if options.resources.device_rules:
        raise PermissionDeniedError("--device-cgroup-rule", "only root may set rules for devices")
    if is_version_1():
        return
    names = undelegated(options, delegated())
    if names:
        parent = parent_group()
        why = f"the controllers delegated to this user are {', '.join(sorted(delegated())) or 'none'}"
        raise PermissionDeniedError(names[0], *(why_none() if parent is None else (why,)))


def prepare(launch: Launch, bundle: Bundle) -> None:
    """Look everything up in the mounted root file system and write the bundle.

    Raises ImageConfigError, CommandNotFoundError, CommandNotExecutableError, UsageError, OSError.
    """
    with RootDirectory(bundle.rootfs) as root, ExitStack() as stack:
        check_mount_points(root)
        launch, new = _with_sources(launch, bundle, root, stack)
        options = launch.options
        declared = image_volumes(launch.config, options)
        if options.image_volumes == "tmpfs":
            options = options._replace(tmpfs=(*options.tmpfs, *(memory_volume(place) for place in declared)))
            launch, declared = launch._replace(options=options), ()
        anonymous = {root.canonical(one.destination): one for one in options.volumes if one.is_anonymous}
        given = tuple(one for one in options.volumes if not one.is_anonymous)
        places = volume_places((*anonymous, *declared), (volume.destination for volume in given), root)
        with _acting(options.isolation):
            process, owner = _process(launch, bundle, root)
        mounted = (*places, *(volume.destination for volume in given))
        check_command(process.args[0], Lookup(root, process.search_path, process.cwd, mounted))
        private = private_volumes(launch.directory, places, root)
        volumes = [*(_as_asked(one, anonymous) for one in private), *given]
        if given or anonymous:
            from arstore.runtime.spec.mounts.sources import give_new, give_volumes

            give_new(new, owner)
            give_volumes(volumes, owner)
        with _acting(options.isolation):
            files = _files(launch, bundle, root, process)
        around = Surroundings(
            rootfs=bundle.reachable_rootfs if options.isolation.uids else "rootfs",
            hostname=launch.hostname,
            cgroups_path=cgroups_path(launch.directory) if launch.runtime.cgroups else "",
            limits=delegated(),
            files=files,
            volumes=volumes,
            seccomp=_seccomp(launch),
            init=(options.init_path or find_init()) if options.init else "",
            ids=None if user_namespace.is_initial() else user_namespace.current(),
            network="" if options.network in {"none", "host"} else bundle.network,
        )
    options = options._replace(tmpfs=tuple(owned(one, process.user.uid, process.user.gid) for one in options.tmpfs))
    spec = build_spec(launch.config, options, process, around)
    size = launch.size if options.tty else None
    if size is not None:
        spec["process"]["consoleSize"] = {"height": size[0], "width": size[1]}
    bundle.write_spec(spec)


def _acting(isolation: Isolation) -> AbstractContextManager[None]:
    """Return a context in which files are made as the container's root, if its ids are mapped."""
    if not isolation.uids:
        return nullcontext()
    from arstore.linux.isolation.mapping import acting_as, host_id

    return acting_as(host_id(isolation.uids, 0), host_id(isolation.gids, 0))


def _with_sources(
    launch: Launch, bundle: Bundle, root: RootDirectory, stack: ExitStack
) -> tuple[Launch, Sequence[str]]:
    """Return *launch* with volumes that can be mounted as they are, and the new volumes that need an owner."""
    options = launch.options
    if not options.volumes:
        return launch, ()
    from arstore.runtime.spec.mounts.sources import fill_new, placed

    new = fill_new(options.volumes, root, stack)
    volumes = placed(options.volumes, bundle.path, launch.directory)
    return launch._replace(options=options._replace(volumes=volumes)), new


def _as_asked(private: Volume, anonymous: Mapping[str, Volume]) -> Volume:
    """Return a private volume with the options of the anonymous volume that the user wants there, if any."""
    asked = anonymous.get(private.destination)
    return private if asked is None else asked._replace(source=private.source, destination=private.destination)


def _files(launch: Launch, bundle: Bundle, root: RootDirectory, process: Process) -> dict[str, str]:
    """Write the files of the bundle that the container sees; return them by the container's path."""
    options = launch.options
    found = bundle.etc_files(root, _texts(launch, root))
    for name in ("/etc/hosts", "/etc/resolv.conf"):
        found.update({place + name: found[name] for place in options.chroot_dirs if name in found})
    if options.timezone:
        from arstore.runtime.spec.timezone import PLACE, set_timezone

        zone = set_timezone(options.timezone, root)
        if zone is not None and _takes_file(PLACE, root):
            found[PLACE] = bundle.write("localtime", zone)
    if _takes_file(defaults.MARKER, root):
        found[defaults.MARKER] = bundle.write("containerenv", "")
    for path, text in account_files(options.accounts, process.user, home_of(process.user, process.cwd), root).items():
        if any(path == one.destination or path.startswith(f"{one.destination}/") for one in options.volumes):
            continue
        if options.read_only or not append_in(root, path, text):
            found[path] = bundle.write(os.path.basename(path), text)
    return found


def _takes_file(path: str, root: RootDirectory) -> bool:
    """Whether a file can be mounted at *path*: nothing else is in its place or above it."""
    above, about = root.stat(os.path.dirname(path)), root.stat(path)
    return (above is None or stat.S_ISDIR(above.st_mode)) and (about is None or stat.S_ISREG(about.st_mode))


def _texts(launch: Launch, root: RootDirectory) -> dict[str, str]:
    """Return the texts of the files in /etc that say who and where the container is."""
    from arstore.runtime.spec.nets.names import name_files

    options = launch.options
    return name_files(options.names, options.network, options.link, (launch.hostname, launch.id), root)


def _seccomp(launch: Launch) -> Json | None:
    """Return the seccomp section. Raises UsageError for a file that is not a profile, OSError."""
    security = launch.options.security
    if not launch.runtime.seccomp or security.seccomp == UNCONFINED or (security.privileged and not security.seccomp):
        return None
    names = launch.options.capabilities(capability.effective())
    if not security.seccomp:
        return seccomp.profile(
            capabilities=names, has_groups=user_namespace.is_initial() or not user_namespace.current().is_single
        )
    from arstore.runtime.spec.rights.seccomp_file import load_profile

    return load_profile(security.seccomp, names)


def find_init() -> str:
    """Return the path of the host's init for containers, a program without libraries. Raises RuntimeMissingError."""
    places = [*os.environ.get("PATH", os.defpath).split(":"), *_INIT_PLACES]
    for name in _INITS:
        for place in places:
            path = os.path.join(place, name)
            if place.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
                return os.path.realpath(path)
    raise RuntimeMissingError("--init", f"none of {', '.join(_INITS)} is installed", "install catatonit or tini")


def _process(launch: Launch, bundle: Bundle, root: RootDirectory) -> tuple[Process, tuple[int, int]]:
    """Return the container's own process, with names resolved in what the container will see, and its uid and gid."""
    volumes = [(volume.destination, volume.source) for volume in launch.options.volumes if volume.source]
    with RootDirectory(bundle.rootfs, volumes) if volumes else nullcontext(root) as view:
        process = resolve_process(launch, view)
        owner = process.user.uid, process.user.gid
        if uids := launch.options.isolation.uids:
            from arstore.runtime.spec.identity.id_maps import outside

            owner = outside(uids, owner[0]), outside(launch.options.isolation.gids, owner[1])
        if not launch.options.workdir:
            make_working_directory(process.cwd, view, owner)
        elif not any(process.cwd.startswith(f"{place}/") for place, _ in volumes) or view.stat(process.cwd) is not None:
            check_working_directory(launch.options.workdir, process.cwd, view)
        # The runtime makes one that is missing in a volume, as in podman.
    for path in launch.options.owned:
        _hand_over(path, owner)
    if has_home(launch.config.env, launch.options.env):
        bundle.write(HOME_IS_GIVEN, "")
    return process, owner


def _hand_over(path: str, owner: tuple[int, int]) -> None:
    """Change the owner of the host's directory *path* to *owner*, who can then write to it. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, *owner)
        os.fchmod(fd, 0o755)
    finally:
        os.close(fd)


def check_mount_points(root: RootDirectory) -> None:
    """Refuse a root file system whose /proc, /dev or /sys is a symlink: crun 1.8 would follow it into the host.

    crun makes the symlinks in /dev (`fd`, `stdin`, ...) through an absolute one before it changes the root.
    Raises ImageConfigError, OSError.
    """
    for place in {"/" + mount["destination"].split("/")[1]: None for mount in defaults.mounts()}:
        if root.canonical(place) != place:
            raise ImageConfigError(place, "is a symbolic link in the container's root file system")


def resolve_process(launch: Launch, root: RootDirectory) -> Process:
    """Return the container's own process. Raises the errors of `prepare`."""
    options, config = launch.options, launch.config
    if options.user is None:
        config.require("User")
    if not options.workdir:
        config.require("WorkingDir")
    require_plain_files(root)
    text = config.user if options.user is None else options.user
    user = resolve_user(text, root)
    if options.accounts.passwd_entry and not user.name:
        user = as_added(user, options.accounts, has_group=":" in text)
    user = require_mapped(user, added_groups(options.groups, root) if options.groups else ())
    cwd = working_directory(options.workdir or config.working_dir, root)
    # As in podman, a user that gets no entry has no home either.
    home = home_of(user, cwd) if options.accounts.adds or user.name else ""
    env = container_environment(config.env, options, home=home, hostname=launch.hostname)
    return Process(launch.args, env, cwd, user, options.tty, options.ulimits)


def _signal(text: str) -> int:
    from arstore.errors import UsageError

    try:
        return parse_signal(text) if text else 0
    except UsageError:
        return 0
