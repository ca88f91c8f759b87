"""The files of names in a container: /etc/hosts, /etc/resolv.conf, /etc/hostname.

Format: hosts(5), resolv.conf(5). The lines are podman's: the user's, then those of a base file, the host's name, and
the container's own. Out of scope: the options (`name_options`) and writing the files (`bundle`). Every run loads this
module.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from arstore.errors import ImageConfigError
from arstore.runtime.spec.nets.values import HELPED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.runtime.spec.image_files import RootDirectory
    from arstore.runtime.spec.nets.addresses import Addresses
    from arstore.runtime.spec.nets.values import Link, NameFiles

GATEWAY = "host-gateway"
LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_OWN_LINES = ("127.0.0.1\tlocalhost", "::1\tlocalhost")
"""Lines that are added if the base file does not name localhost: podman's."""
FILE_LIMIT = 1 << 20
_MOST_SERVERS = 3
"""MAXNS of the resolver: it ignores the others."""
_HOST_NAMES = "host.containers.internal host.docker.internal"


def name_files(
    files: NameFiles, network: str, link: Link, names: tuple[str, ...], root: RootDirectory
) -> dict[str, str]:
    """Return the texts by the name of the file in /etc, without those that are the image's.

    *names* are the container's: its host name first. Raises ImageConfigError for a base file of the image, OSError.
    """
    found: dict[str, str] = {}
    if not files.no_hosts:
        found["hosts"] = _hosts(files, network, link, names, root)
    if not files.no_hostname:
        found["hostname"] = f"{names[0]}\n"
    # Without a network there is nothing to ask, and the image's file stays, as in podman.
    if files.servers != ("none",) and network != "none":
        found["resolv.conf"] = resolver(files, network, link)
    return found


def _hosts(files: NameFiles, network: str, link: Link, names: tuple[str, ...], root: RootDirectory) -> str:
    base = _base(files.hosts_file, network, root)
    gateway = ""
    if network != "none" or any(line.startswith(GATEWAY) for line in files.hosts):
        gateway = host_address()
    lines = [line.replace(GATEWAY, gateway, 1) if line.startswith(GATEWAY) else line for line in files.hosts]
    if any(line.startswith("\t") for line in lines):
        why = "this host has no address that a container could use"
        raise ImageConfigError("host-gateway", why, "write the address instead")
    known = {name for line in (*lines, *base.splitlines()) for name in line.partition("#")[0].split()[1:]}
    lines += base.rstrip("\n").split("\n")
    if "localhost" not in known:
        lines += _OWN_LINES
    if gateway and network != "none":
        lines.append(f"{gateway}\t{_HOST_NAMES}")
    own = [name for name in dict.fromkeys(names) if name not in known]
    if own and network not in {"host", "ns"}:
        address = _addresses(network, link).guest if network in HELPED else "127.0.0.1"
        lines.append("\t".join((address, " ".join(own))))
    return "\n".join(line for line in lines if line) + "\n"


def _base(hosts_file: str, network: str, root: RootDirectory) -> str:
    if hosts_file == "none":
        return ""
    if hosts_file == "image":
        content = root.read("/etc/hosts", FILE_LIMIT) or b""
        return content.decode("utf-8", "surrogateescape").replace("\0", "").replace("\r", "")
    if not hosts_file and network == "none":
        # A container without a network has no use for the names of the host's.
        return LOCALHOST
    return _host_file(hosts_file or "/etc/hosts")


def resolver(files: NameFiles, network: str, link: Link) -> str:
    """Return the text of /etc/resolv.conf."""
    text = _host_file("/etc/resolv.conf")
    if network not in HELPED and not (files.servers or files.searches or files.options):
        return text
    found = _parsed(text)
    servers = list(files.servers) or _servers(found["nameserver"], network, link)
    searches = list(files.searches) or found["search"]
    options = list(files.options) or found["options"]
    lines = [f"search {' '.join(searches)}"] if searches and searches != ["."] else []
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)


def _servers(of_host: Iterable[str], network: str, link: Link) -> list[str]:
    """Return the DNS servers of a container: the helper's forwarder, and those of the host that can be reached."""
    if network not in HELPED:
        return list(of_host)
    reached = [one for one in of_host if not _is_local(one)]
    return [_addresses(network, link).dns, *reached][:_MOST_SERVERS]


def _addresses(network: str, link: Link) -> Addresses:
    from arstore.runtime.spec.nets.addresses import addresses

    return addresses(network, link)


def _is_local(server: str) -> bool:
    import ipaddress

    try:
        found = ipaddress.ip_address(server)
    except ValueError:
        return True
    return found.is_loopback or found.is_unspecified or found.is_link_local


def _parsed(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            found["nameserver"].append(words[1])
        elif words[0] in {"search", "domain"}:
            found["search"] = words[1:]
        elif words[0] == "options":
            found["options"] += words[1:]
    return found


def host_address() -> str:
    """Return the host's address on the way to others; "" if it has none. Nothing is sent."""
    import socket

    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    return ""


def _host_file(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(FILE_LIMIT)
    return ""
