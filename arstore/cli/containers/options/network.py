"""Options for the network of a container, published ports, and the files with names of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.parameter import option
from arstore.errors import UsageError

if TYPE_CHECKING:
    from typing import TypedDict

    from arstore.cli.session import Session
    from arstore.runtime.spec.nets.values import Link, NameFiles
    from arstore.runtime.spec.options import RunOptions

    class NetworkWords(TypedDict):
        """The options as they were typed."""

        network: str | None
        publish: tuple[str, ...]
        publish_all: bool
        expose: tuple[str, ...]
        ip: str | None
        ip6: str | None
        mac_address: str | None
        add_host: tuple[str, ...]
        hosts_file: str | None
        no_hosts: bool
        no_hostname: bool
        dns: tuple[str, ...]
        dns_search: tuple[str, ...]
        dns_option: tuple[str, ...]


NETWORK_OPTIONS = (
    option(
        "--network",
        "--net",
        "network",
        metavar="KIND",
        help="none (the default) has loopback only; host is the host's network; private is a network of the container "
        "that reaches others through pasta or slirp4netns. Also pasta[:OPTIONS], slirp4netns[:OPTIONS], ns:PATH.",
    ),
    option(
        "-p",
        "--publish",
        metavar="PORT",
        multiple=True,
        help="Publish a port of the container: [[IP:]HOSTPORT:]PORT[/udp], or ranges. Without IP, on every address.",
    ),
    option("-P", "--publish-all", is_flag=True, help="Publish the ports that the image exposes on free ports."),
    option("--expose", metavar="PORT", multiple=True, help="Expose a port, for --publish-all."),
    option("--ip", metavar="IP", help="Set the container's IPv4 address in its private network; needs pasta."),
    option("--ip6", metavar="IP", help="Set the container's IPv6 address in its private network; needs pasta."),
    option("--mac-address", metavar="MAC", help="Set the hardware address in the private network."),
    option(
        "--add-host",
        metavar="NAME:IP",
        multiple=True,
        help="Add a line to /etc/hosts; host-gateway as IP is the host's address.",
    ),
    option("--hosts-file", metavar="FILE", help="The file that /etc/hosts is made from, or image, or none."),
    option("--no-hosts", is_flag=True, help="Leave the image's /etc/hosts."),
    option("--no-hostname", is_flag=True, help="Leave the image's /etc/hostname."),
    option(
        "--dns",
        metavar="IP",
        multiple=True,
        help="Set the DNS servers; none leaves the image's /etc/resolv.conf.",
    ),
    option("--dns-search", metavar="DOMAIN", multiple=True, help="Set the search domains; . is for none."),
    option("--dns-option", metavar="OPTION", multiple=True, help="Set an option of /etc/resolv.conf."),
)
_NAMES = ("add_host", "hosts_file", "no_hosts", "no_hostname", "dns", "dns_search", "dns_option")
_LINKS = ("network", "publish", "publish_all", "expose", "ip", "ip6", "mac_address")


def with_network(options: RunOptions, words: NetworkWords) -> RunOptions:
    """Return *options* with the network. Raises UsageError, NotFoundError."""
    if any(words[name] for name in _LINKS):  # type: ignore[literal-required]
        options = _linked(options, words)
    if any(words[name] for name in _NAMES):  # type: ignore[literal-required]
        options = options._replace(names=_names(words, options.network))
    return options


def _linked(options: RunOptions, words: NetworkWords) -> RunOptions:
    from arstore.runtime.spec.nets.kinds import parse_network
    from arstore.runtime.spec.nets.ports import parse_exposed, parse_port, require_apart
    from arstore.runtime.spec.nets.values import HELPED, Link

    network, given, namespace = parse_network(words["network"] or "none")
    ports = tuple(map(parse_port, words["publish"]))
    require_apart(ports)
    for text in words["expose"]:
        parse_exposed(text)
    if ports and not words["network"]:
        what = f"--publish={words['publish'][0]}"
        raise UsageError(what, "the container has no network", "add --network=private")
    own = network in HELPED
    link = Link(
        options=given,
        namespace=namespace,
        ports=ports if own else (),
        exposed=words["expose"],
        publish_all=words["publish_all"] and own,
    )
    if words["ip"] or words["ip6"] or words["mac_address"]:
        link = _addressed(link, network, words)
    return options._replace(network=network, link=link)


def _addressed(link: Link, network: str, words: NetworkWords) -> Link:
    from arstore.runtime.spec.nets.kinds import check_address, check_mac

    name = "--ip" if words["ip"] else "--ip6" if words["ip6"] else "--mac-address"
    if network not in {"private", "pasta", "slirp4netns"}:
        raise UsageError(name, "needs a network of the container", "add --network=private")
    if network == "slirp4netns" and name != "--mac-address":
        raise UsageError(name, "slirp4netns does not give a container an address", "use --network=pasta")
    if link.options and network == "pasta":
        raise UsageError(name, "cannot be combined with options of pasta", "write the address there")
    return link._replace(
        ip=check_address("--ip", words["ip"], 4) if words["ip"] else "",
        ip6=check_address("--ip6", words["ip6"], 6) if words["ip6"] else "",
        mac=check_mac(words["mac_address"]) if words["mac_address"] else "",
    )


def _names(words: NetworkWords, network: str) -> NameFiles:
    from arstore.runtime.spec.nets import name_options
    from arstore.runtime.spec.nets.values import NameFiles

    if words["no_hosts"] and (words["add_host"] or words["hosts_file"]):
        other = "--add-host" if words["add_host"] else "--hosts-file"
        raise UsageError("--no-hosts", f"excludes {other}")
    if network == "none" and (words["dns"] or words["dns_search"] or words["dns_option"]):
        name = "--dns" if words["dns"] else "--dns-search" if words["dns_search"] else "--dns-option"
        raise UsageError(name, "the container has no network", "add --network=private")
    servers = tuple(map(name_options.parse_server, _split(words["dns"])))
    searches = tuple(map(name_options.parse_search, _split(words["dns_search"])))
    if "none" in servers and len(servers) > 1:
        raise UsageError("--dns=none", "excludes other servers")
    if "." in searches and len(searches) > 1:
        raise UsageError("--dns-search=.", "excludes search domains")
    return NameFiles(
        hosts=tuple(map(name_options.parse_host, words["add_host"])),
        hosts_file=name_options.parse_hosts_file(words["hosts_file"]) if words["hosts_file"] else "",
        no_hosts=words["no_hosts"],
        no_hostname=words["no_hostname"],
        servers=servers,
        searches=searches,
        options=tuple(map(name_options.parse_option, words["dns_option"])),
    )


def _split(words: tuple[str, ...]) -> list[str]:
    return [part for word in words for part in word.split(",")]


def warn_of_ports(session: Session, words: NetworkWords) -> None:
    """Warn of ports that cannot be published in the network that the user chose, as podman does."""
    kind = (words["network"] or "").partition(":")[0]
    if words["publish"] and kind in {"none", "host", "ns"}:
        session.warn(f"--publish: with --network={kind} no port is published")
