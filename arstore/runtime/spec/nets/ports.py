"""Published ports: `-p`, `-P`, `--expose`, and how they are shown.

Format: podman-run(1), `--publish [IP:][HOSTPORT:]CONTAINERPORT[/PROTOCOL]`, with ranges. Out of scope:
forwarding, which is a helper's work.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import HostError, PermissionDeniedError, PortInUseError
from arstore.oci.document import shown
from arstore.pattern import pattern
from arstore.runtime.spec.nets.values import Port
from arstore.runtime.spec.sizes import refused

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack

    from arstore.runtime.spec.nets.values import Link

_PUBLISH = pattern(r"(?:(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):)?(?:([^:]*):)?([^:/]+)(?:/([^/]*))?")
_RANGE = pattern(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_HIGHEST = 65535
_PROTOCOLS = ("tcp", "udp")
_FIRST_FREE = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
"""The first port that an ordinary user may bind."""
_FORM = "write [[IP:]HOSTPORT:]CONTAINERPORT[/tcp|udp]"
MOST_PORTS = 4096
"""Most ports of one container: each takes the helper a socket and a moment."""


def parse_port(text: str) -> Port:
    """Read one word of `--publish`. Raises UsageError."""
    what = f"--publish={text}"
    match = _PUBLISH.fullmatch(text)
    if match is None:
        raise refused(what, "is not a port to publish", _FORM)
    ip, host, container, protocol = match.groups()
    if ip is not None and host is None:
        ip, host = None, ip
    first, count = _range(what, container)
    host_first, host_count = _range(what, host) if host else (0, count)
    if host_count != count:
        why = f"has ranges of different lengths: {host_count} on the host, {count} in the container"
        raise refused(what, why)
    return Port(first, host_first, count, _address(what, ip or ""), _protocol(what, protocol))


def parse_exposed(text: str) -> Port:
    """Read `PORT[-PORT][/PROTOCOL]` of `--expose` or of an image's config. Raises UsageError."""
    what = f"--expose={text}"
    number, slash, protocol = text.partition("/")
    first, count = _range(what, number)
    return Port(first, 0, count, "", _protocol(what, protocol if slash else None))


def _range(what: str, text: str) -> tuple[int, int]:
    """Return the first number and how many there are."""
    match = _RANGE.fullmatch(text)
    first, last = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
    if not 1 <= first <= last <= _HIGHEST:
        raise refused(what, f"{text or 'an empty word'} is not a port from 1 to {_HIGHEST}", _FORM)
    return first, last - first + 1


def _protocol(what: str, text: str | None) -> str:
    if text is None:
        return "tcp"
    if text.lower() in _PROTOCOLS:
        return text.lower()
    if text.lower() == "sctp":
        raise refused(what, "SCTP is not supported: neither pasta nor slirp4netns forwards it")
    raise refused(what, f"{text or 'an empty word'} is not a protocol", "use tcp or udp")


def _address(what: str, text: str) -> str:
    if not text:
        return ""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise refused(what, f"{text} is not an IP address", "write an IPv6 address in brackets") from None


def require_apart(ports: Sequence[Port]) -> None:
    """Raise UsageError if two of *ports* have the same place on the host, or there are more than MOST_PORTS."""
    if sum(port.span for port in ports) > MOST_PORTS:
        raise refused("--publish", f"more than {MOST_PORTS} ports are published")
    taken: set[tuple[str, str, int]] = set()
    for port in ports:
        places = {(port.protocol, port.host_ip, port.host_port + number) for number in range(port.span)}
        if port.host_port and places & taken:
            raise refused("--publish", f"port {shown_place(port)} of the host is given twice")
        taken |= places


def with_exposed(link: Link, declared: Iterable[str]) -> Link:
    """Return *link* with the ports of `--publish-all`: those *declared* by the image, and those of `--expose`.

    A port that is published already is left as it is; what is not a port is ignored in an image. Raises UsageError.
    """
    if not link.publish_all:
        return link
    from arstore.errors import UsageError

    wanted = [parse_exposed(text) for text in link.exposed]
    for text in declared:
        with suppress(UsageError):
            wanted.append(parse_exposed(text))
    taken = {(port.protocol, port.container_port + number) for port in link.ports for number in range(port.span)}
    made = []
    for one in wanted:
        for number in range(one.container_port, one.container_port + one.span):
            if (one.protocol, number) not in taken:
                taken.add((one.protocol, number))
                made.append(Port(number, protocol=one.protocol))
    ports = (*link.ports, *made)
    require_apart(ports)
    return link._replace(ports=ports, publish_all=False)


def with_host_ports(link: Link) -> Link:
    """Return *link* with a free port of the host for each that has none. Raises PortInUseError, HostError."""
    if all(port.host_port for port in link.ports):
        return link
    import contextlib

    with contextlib.ExitStack() as held:
        # All stay bound until each has one, so that no port is chosen twice.
        return link._replace(ports=tuple(port if port.host_port else _chosen(port, held) for port in link.ports))


_TRIES = 64


def _chosen(port: Port, held: ExitStack) -> Port:
    for _ in range(_TRIES):
        first = _bind(port, 0)
        held.callback(first.close)
        start: int = first.getsockname()[1]
        found = port._replace(host_port=start)
        if start + port.span - 1 > _HIGHEST:
            continue
        with suppress(PortInUseError):
            for number in range(1, port.span):
                held.callback(_bind(found, start + number).close)
            return found
    raise PortInUseError(shown_place(port), f"the host has no {port.span} consecutive free ports")


def require_free(ports: Sequence[Port]) -> None:
    """Raise PortInUseError if a port of the host is in use, HostError if it cannot be used at all."""
    for port in ports:
        for number in range(port.span):
            _bind(port, port.host_port + number).close()


def _bind(port: Port, number: int) -> socket.socket:
    import socket

    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    made = socket.socket(family, kind)
    what = f"{_place(port.host_ip, number)}/{port.protocol}"
    try:
        if kind == socket.SOCK_STREAM:
            # As the helpers bind it: a closed connection in TIME_WAIT does not keep a port busy.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((port.host_ip, number))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(f"port {what}", "is in use on this host") from error
        raise _refusal(f"port {what}", number, error) from error
    return made


def _refusal(what: str, number: int, error: OSError) -> HostError:
    if error.errno == errno.EACCES:
        with suppress(OSError, ValueError), open(_FIRST_FREE, encoding="ascii") as file:
            first = int(file.read())
            if number < first:
                why = f"needs root: the sysctl net.ipv4.ip_unprivileged_port_start is {first}"
                hint = f"publish a port from {first} on, or let root set the sysctl to {number}"
                return PermissionDeniedError(what, why, hint)
    return HostError(what, f"cannot be used on this host: {os.strerror(error.errno or 0)}")


def shown_ports(ports: Iterable[Port]) -> str:
    """Return the ports as `podman ps` shows them: `0.0.0.0:8080->80/tcp, 127.0.0.1:90-91->90-91/udp`."""
    found = []
    for port in ports:
        target = _numbers(port.container_port, port.span)
        found.append(f"{shown_place(port)}->{target}/{port.protocol}")
    return ", ".join(found)


def shown_place(port: Port) -> str:
    """Return the place on the host, such as `0.0.0.0:8080`."""
    return shown(_place(port.host_ip, _numbers(port.host_port, port.span)))


def _place(ip: str, number: object) -> str:
    return f"[{ip}]:{number}" if ":" in ip else f"{ip or '0.0.0.0'}:{number}"


def _numbers(first: int, count: int) -> str:
    return f"{first}-{first + count - 1}" if count > 1 else str(first)
