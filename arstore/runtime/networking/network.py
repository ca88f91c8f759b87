"""The network namespace of a container that does not get an empty one: joined, or connected by pasta or slirp4netns.

The keeper does all of it, before the OCI runtime starts. A namespace is kept by a bind mount in the bundle, which the
runtime joins; a helper is a child of the keeper. So both end with the keeper's namespaces, whichever process is killed.
The helper's files are in the bundle, which no container sees. Out of scope: moving packets.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from arstore.errors import HostError, PermissionDeniedError, RuntimeFailedError, RuntimeMissingError, UsageError
from arstore.linux.isolation import capability
from arstore.linux.isolation.namespace import CLONE_NEWNET, unshare
from arstore.linux.mounting.mount import MS_BIND, mount
from arstore.linux.process import set_parent_death_signal
from arstore.runtime.networking.helpers import Helper, start_pasta, start_slirp
from arstore.runtime.spec.nets.values import HELPED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.runtime.spec.options import RunOptions

PACKAGES = {"pasta": "passt", "slirp4netns": "slirp4netns"}
"""The helpers in the order of preference, and Debian's packages of them."""

_MORE_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/libexec/podman", "/usr/lib/podman")
TUN = "/dev/net/tun"
_GET_USER_NAMESPACE, _GET_TYPE = 0xB701, 0xB703
"""NS_GET_USERNS and NS_GET_NSTYPE of ioctl_ns(2)."""


def find_helper(network: str) -> Helper:
    """Return the helper for *network*. Raises RuntimeMissingError with the packages to install."""
    names = tuple(PACKAGES) if network == "private" else (network,)
    places = [place for place in os.environ.get("PATH", os.defpath).split(":") if place.startswith("/")]
    for name in names:
        for place in (*places, *_MORE_PLACES):
            path = os.path.join(place, name)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return Helper(name, path)
    why = f"{names[0]} is not installed" if len(names) == 1 else f"neither {' nor '.join(names)} is installed"
    raise RuntimeMissingError(f"--network={network}", why, f"`apt install {PACKAGES[names[0]]}` installs it")


def require_tun(network: str, device: str = TUN) -> None:
    """Raise HostError if the helpers cannot open the *device* from which they take a container's packets."""
    hint = "without a network of its own: --network=none or --network=host"
    if not os.path.exists(device):
        raise HostError(f"--network={network}", f"this host has no {device}: the module tun is not loaded", hint)
    if not os.access(device, os.R_OK | os.W_OK):
        why = f"this user may not open {device}, whose mode is usually 0666"
        raise PermissionDeniedError(f"--network={network}", why, hint)


def open_namespace(options: RunOptions) -> int:
    """Return a descriptor of the namespace that is to be joined, -1 for none.

    It is opened with the caller's /proc and mounts: the keeper has others. Raises UsageError, PermissionDeniedError,
    OSError.
    """
    import fcntl

    if options.network != "ns":
        return -1
    fd = os.open(options.link.namespace, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = fcntl.ioctl(fd, _GET_TYPE)
    except OSError:
        found = 0
    what = f"--network=ns:{options.link.namespace}"
    if found != CLONE_NEWNET:
        os.close(fd)
        raise UsageError(what, "is not a network namespace")
    try:
        os.close(fcntl.ioctl(fd, _GET_USER_NAMESPACE))
    except PermissionError:
        os.close(fd)
        why = "belongs to the host or another user namespace, so only root may join it"
        raise PermissionDeniedError(what, why) from None
    return fd


def connect(options: RunOptions, place: str, joined: int) -> None:
    """Make the namespace at the file *place* of the bundle: *joined*, or a new one that a helper connects.

    Returns when the network can be used. Raises RuntimeMissingError, RuntimeFailedError, PortInUseError, HostError.
    """
    if joined >= 0:
        _keep(f"/proc/self/fd/{joined}", place)
        os.close(joined)
        return
    if options.network not in HELPED:
        return
    helper = find_helper(options.network)
    if options.link.ports:
        from arstore.runtime.spec.nets.ports import require_free

        require_free(options.link.ports)
    with _new_namespace() as source:
        _keep(source, place)
        if helper.name == "pasta":
            start_pasta(helper, options, source)
        else:
            start_slirp(helper, options, source)


def _keep(source: str, place: str) -> None:
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    mount(source, place, flags=MS_BIND)


@contextlib.contextmanager
def _new_namespace() -> Iterator[str]:
    """Yield the path of a new network namespace in /proc: AppArmor lets the helpers open it there.

    A child process is in it, until the helper is.
    """
    made, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            set_parent_death_signal(signal.SIGKILL)
            unshare(CLONE_NEWNET)
            # A helper has given up most capabilities when it looks here, and may not look at a process with more.
            capability.keep_only(0)
            os.write(report, b"m")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(report)
    try:
        if os.read(made, 1) != b"m":
            raise RuntimeFailedError("network", "the kernel made no network namespace")
        yield f"/proc/{pid}/ns/net"
    finally:
        os.close(made)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
