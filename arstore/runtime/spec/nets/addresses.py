"""The addresses in the network of a helper, pasta or slirp4netns.

They are slirp4netns's defaults with both helpers: so a container has the same address whichever is installed, and the
host's own address can be reached, which it could not if the container had it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from arstore.runtime.spec.sizes import refused
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.runtime.spec.nets.values import Link

_GUEST, _GATEWAY, _DNS = 100, 2, 3
_NET = "10.0.2.0/24"

PASTA_VALUES = frozenset(
    (
        "-a",
        "--address",
        "-n",
        "--netmask",
        "-M",
        "--mac-addr",
        "-g",
        "--gateway",
        "-i",
        "--interface",
        "-o",
        "--outbound",
        "--outbound-if4",
        "--outbound-if6",
        "-D",
        "--dns",
        "-S",
        "--search",
        "--dns-forward",
        "--dns-host",
        "-m",
        "--mtu",
        "-I",
        "--ns-ifname",
        "--ns-mac-addr",
        "-t",
        "--tcp-ports",
        "-u",
        "--udp-ports",
        "-T",
        "--tcp-ns",
        "-U",
        "--udp-ns",
        "--map-host-loopback",
        "--map-guest-addr",
    )
)
"""Options of pasta with a value that a user may give; others would change which namespace or files it uses."""


class Addresses(NamedTuple):
    """The addresses in a helper's network: the container's, its gateway's, and the DNS forwarder's."""

    guest: str
    gateway: str
    dns: str
    prefix: int = 24


def network_of(cidr: str) -> ipaddress.IPv4Network:
    """Return the network of *cidr*, large enough for the three addresses. Raises UsageError."""
    try:
        found = ipaddress.IPv4Network(cidr)
    except ValueError:
        found = None
    if found is None or not 8 <= found.prefixlen <= 25:
        raise refused(cidr, "is not an IPv4 network", "write for example 10.0.2.0/24")
    return found


def addresses(network: str, link: Link) -> Addresses:
    """Return the addresses in the network of a helper."""
    if network == "slirp4netns":
        cidr = dict(word.partition("=")[::2] for word in link.options).get("cidr", _NET)
        return _of(network_of(cidr))
    if link.ip:
        return _of(ipaddress.IPv4Network(f"{link.ip}/24", strict=False), link.ip)
    found = _of(ipaddress.IPv4Network(_NET))
    given = values_of(link.options)
    if address := _first(given, "-a", "--address"):
        found = found._replace(guest=address, gateway="")
    if gateway := _first(given, "-g", "--gateway"):
        found = found._replace(gateway=gateway)
    if dns := _first(given, "--dns-forward"):
        found = found._replace(dns=dns)
    return found


def _of(net: ipaddress.IPv4Network, guest: str = "") -> Addresses:
    base = int(net.network_address)
    own = guest or str(ipaddress.IPv4Address(base + _GUEST))
    free = [str(ipaddress.IPv4Address(base + number)) for number in (_GATEWAY, _DNS, _DNS + 1)]
    gateway, dns = [one for one in free if one != own][:2]
    return Addresses(own, gateway, dns, net.prefixlen)


def values_of(options: Sequence[str]) -> dict[str, str]:
    """Return the values by name in words of `pasta:`; the first of each name."""
    found: dict[str, str] = {}
    left = list(reversed(options))
    while left:
        word = left.pop()
        name, equals, value = word.partition("=")
        if not equals:
            value = left.pop() if word in PASTA_VALUES and left else ""
        found.setdefault(name, value)
    return found


def _first(given: dict[str, str], *names: str) -> str:
    return next((given[name].partition("/")[0] for name in names if given.get(name)), "")
