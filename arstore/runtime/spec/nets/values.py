"""Values of a container's network, plain enough to be recorded with its request.

Every run loads this module, so it has no functions; `kinds`, `ports` and `names` parse and use the values.
"""

from __future__ import annotations

from arstore.values import NamedTuple

HELPED = ("private", "pasta", "slirp4netns")
"""Networks that a helper program connects."""


class Port(NamedTuple):
    """Ports of the host that lead to ports of the container: *span* consecutive ones."""

    container_port: int
    host_port: int = 0
    """0 until a free one has been chosen, before the first start."""
    span: int = 1
    host_ip: str = ""
    """The address of the host to listen on; "" for every IPv4 address."""
    protocol: str = "tcp"
    """`tcp` or `udp`."""


class Link(NamedTuple):
    """How a container is connected, besides the kind of its network."""

    options: tuple[str, ...] = ()
    """Words for the helper: the user's options of `pasta:` or `slirp4netns:`."""
    namespace: str = ""
    """The absolute path of the namespace to join, of `ns:`."""
    ports: tuple[Port, ...] = ()
    exposed: tuple[str, ...] = ()
    """`PORT[-PORT][/PROTOCOL]` of `--expose`."""
    publish_all: bool = False
    """Whether exposed ports of the image and of the user are to be published too; False once that is settled."""
    ip: str = ""
    ip6: str = ""
    mac: str = ""


class NameFiles(NamedTuple):
    """The content of /etc/hosts, /etc/resolv.conf and /etc/hostname."""

    hosts: tuple[str, ...] = ()
    """`IP NAME...`: lines of `--add-host`, with `host-gateway` in place of IP for the host's address."""
    hosts_file: str = ""
    """The file below those lines: an absolute path, `none`, or `image`; "" for the default of the network."""
    no_hosts: bool = False
    """Whether /etc/hosts is the image's."""
    no_hostname: bool = False
    """Whether /etc/hostname is the image's."""
    servers: tuple[str, ...] = ()
    """Addresses of DNS servers; `none` alone leaves the image's /etc/resolv.conf."""
    searches: tuple[str, ...] = ()
    """Search domains; `.` alone for none of them."""
    options: tuple[str, ...] = ()
