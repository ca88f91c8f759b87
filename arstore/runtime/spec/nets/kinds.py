"""The kinds of network: `--network` and the options that depend on it.

Format: podman-run(1), "--network". arstore has no network code: a namespace is connected by a helper program, which the
launcher starts (`lifecycle.network`). Out of scope: finding a helper.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError, from_os_error
from arstore.pattern import pattern
from arstore.runtime.spec.nets.addresses import PASTA_VALUES, network_of
from arstore.runtime.spec.sizes import refused, shown

if TYPE_CHECKING:
    from typing import Literal

    Network = Literal["none", "host", "private", "pasta", "slirp4netns", "ns"]

PASTA_FLAGS = frozenset(
    (
        "-4",
        "--ipv4-only",
        "-6",
        "--ipv6-only",
        "--no-tcp",
        "--no-udp",
        "--no-icmp",
        "--no-dhcp",
        "--no-ndp",
        "--no-dhcpv6",
        "--no-ra",
        "--no-map-gw",
        "--map-gw",
        "--no-copy-routes",
        "--no-copy-addrs",
        "--freebind",
        "--host-lo-to-ns-lo",
    )
)
"""Options of pasta without a value; `--map-gw` is podman's word for leaving out --no-map-gw."""

SLIRP_OPTIONS = {
    "mtu": r"[0-9]{2,5}",
    "cidr": r"[0-9.]{7,15}/[0-9]{1,2}",
    "enable_ipv6": "true|false",
    "allow_host_loopback": "true|false",
    "outbound_addr": r"[A-Za-z0-9._-]{1,64}",
    "outbound_addr6": r"[A-Za-z0-9.:_-]{1,64}",
    "port_handler": "slirp4netns",
}
"""Podman's options of slirp4netns, and what their values look like."""

_MAC = pattern(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")


def parse_network(text: str) -> tuple[Network, tuple[str, ...], str]:
    """Return the kind, the user's options for the helper, and the path of the namespace to join.

    Raises UsageError, NotFoundError.
    """
    kind, colon, rest = text.partition(":")
    if kind == "none" and not colon:
        return "none", (), ""
    if kind == "host" and not colon:
        return "host", (), ""
    if kind == "private" and not colon:
        return "private", (), ""
    if kind == "pasta":
        return "pasta", _pasta_options(rest), ""
    if kind == "slirp4netns":
        return "slirp4netns", _slirp_options(rest), ""
    if kind == "ns" and colon:
        return "ns", (), _namespace(text, rest)
    what = f"--network={text}"
    hint = "use --network=private"
    if kind in {"container", "pod"}:
        raise refused(what, "is not supported: a container cannot join another one's namespaces")
    if kind in {"bridge", "default", "podman"}:
        raise refused(what, "is not supported: arstore has no bridge between containers", hint)
    if kind in {"none", "host", "private"}:
        raise refused(what, "has no options")
    raise refused(what, "is not a network: arstore has no named networks", "use none, host, private or ns:PATH")


def _pasta_options(text: str) -> tuple[str, ...]:
    words = text.split(",") if text else []
    left = list(reversed(words))
    while left:
        word = left.pop()
        name, equals, _ = word.partition("=")
        if word in PASTA_FLAGS or (name in PASTA_VALUES and name.startswith("--") and equals):
            continue
        if word not in PASTA_VALUES:
            raise refused(f"--network=pasta:{text}", f"{word or 'an empty word'} is not an option of pasta to be given")
        if not left:
            raise refused(f"--network=pasta:{text}", f"{word} needs a value")
        left.pop()
    return tuple(words)


def _slirp_options(text: str) -> tuple[str, ...]:
    words = text.split(",") if text else []
    for word in words:
        name, _, value = word.partition("=")
        form = SLIRP_OPTIONS.get(name)
        if form is None or re.fullmatch(form, value) is None:
            raise refused(f"--network=slirp4netns:{text}", f"{word or 'an empty word'} is not one of its options")
        if name == "cidr":
            network_of(value)
    return tuple(words)


def _namespace(text: str, path: str) -> str:
    """Return the absolute path of a namespace's file. Raises UsageError, NotFoundError, HostError."""
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFoundError(f"--network={shown(text)}", "no such network namespace") from None
    except OSError as error:
        raise from_os_error(error, f"--network={shown(text)}") from error
    # A namespace is a regular file of nsfs; the launcher asks the kernel for its type when it opens it.
    if not stat.S_ISREG(about.st_mode):
        raise refused(f"--network={text}", "is not a network namespace", "`ip netns add NAME` makes one in /run/netns")
    return os.path.abspath(path)


def check_address(name: str, text: str, version: int) -> str:
    """Return the IP address *text* of the option *name* in its shortest form. Raises UsageError."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None or found.version != version or "%" in text or found.is_unspecified or found.is_multicast:
        raise refused(f"{name}={text}", f"is not an IPv{version} address of one host")
    return str(found)


def check_mac(text: str) -> str:
    """Return a hardware address of one host. Raises UsageError."""
    if _MAC.fullmatch(text) is None or int(text[:2], 16) & 1 or not int(text.replace(":", ""), 16):
        raise refused(f"--mac-address={text}", "is not a hardware address", "write for example 92:d0:c6:0a:29:33")
    return text.lower()
