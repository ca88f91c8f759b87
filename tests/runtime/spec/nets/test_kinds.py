"""Kinds of network, the words of helpers, and the addresses in their networks."""

from __future__ import annotations

import pytest

from arstore.errors import ArstoreError, UsageError
from arstore.runtime.networking.helpers import pasta_words, slirp_words
from arstore.runtime.spec.isolation import namespaces
from arstore.runtime.spec.nets.addresses import addresses
from arstore.runtime.spec.nets.kinds import check_address, check_mac, parse_network
from arstore.runtime.spec.nets.values import Link, Port
from arstore.runtime.spec.options import RunOptions


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("none", ("none", (), "")),
        ("host", ("host", (), "")),
        ("private", ("private", (), "")),
        ("pasta", ("pasta", (), "")),
        ("pasta:-a,10.1.0.5,--map-gw,--mtu=1400", ("pasta", ("-a", "10.1.0.5", "--map-gw", "--mtu=1400"), "")),
        ("slirp4netns:mtu=1500,cidr=10.1.0.0/24", ("slirp4netns", ("mtu=1500", "cidr=10.1.0.0/24"), "")),
        ("ns:/proc/self/ns/net", ("ns", (), "/proc/self/ns/net")),
    ],
)
def test_networks(text, found):
    assert parse_network(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bridge",
        "bridge:ip=1",
        "mine",
        "container:a",
        "pod:a",
        "none:x",
        "host:x",
        "private:x",
        "ns",
        "ns:",
        "ns:/none",
        "ns:/etc",
        "pasta:-a",
        "pasta:--netns,/x",
        "pasta:--pcap,/x",
        "pasta:-l,/x",
        "pasta:-P,/x",
        "pasta:--runas,0",
        "pasta:x,,y",
        "slirp4netns:x=1",
        "slirp4netns:mtu=a",
        "slirp4netns:cidr=1/2",
        "slirp4netns:cidr=10.0.2.0/30",
        "slirp4netns:port_handler=rootlesskit",
        "private\n",
        "ns:/proc/\x00",
    ],
)
def test_what_is_not_a_network(text):
    with pytest.raises(ArstoreError) as raised:
        parse_network(text)
    assert "\n" not in str(raised.value)


def test_addresses():
    assert addresses("private", Link())[:3] == ("10.0.2.100", "10.0.2.2", "10.0.2.3")
    assert addresses("slirp4netns", Link(options=("cidr=10.5.0.0/16",))) == ("10.5.0.100", "10.5.0.2", "10.5.0.3", 16)
    assert addresses("private", Link(ip="10.9.8.2"))[:3] == ("10.9.8.2", "10.9.8.3", "10.9.8.4")
    found = addresses("pasta", Link(options=("-a", "10.1.0.5", "--dns-forward", "10.1.0.1")))
    assert (found.guest, found.dns) == ("10.1.0.5", "10.1.0.1")


def test_single_addresses():
    assert check_address("--ip", "10.0.0.1", 4) == "10.0.0.1"
    assert check_mac("92:D0:c6:0a:29:33") == "92:d0:c6:0a:29:33"
    for text in ("", "::1", "0.0.0.0", "224.0.0.1", "10.0.0.1/24", "1\n"):
        with pytest.raises(UsageError):
            check_address("--ip", text, 4)
    with pytest.raises(UsageError):
        check_address("--ip6", "fe80::1%a\nb", 6)
    for text in ("", "01:00:00:00:00:01", "00:00:00:00:00:00", "x"):
        with pytest.raises(UsageError):
            check_mac(text)


def test_the_host_loopback_stays_closed():
    words = pasta_words(RunOptions(network="pasta", link=Link(ports=(Port(80, 8080, 2),))))
    assert "--no-map-gw" in words
    for name in ("-T", "-U", "-u"):
        assert words[words.index(name) + 1] == "none"
    assert words[words.index("-t") + 1] == "0.0.0.0/8080-8081:80-81"
    assert "--no-map-gw" not in pasta_words(RunOptions(network="pasta", link=Link(options=("--map-gw",))))
    assert "--disable-host-loopback" in slirp_words(RunOptions(network="slirp4netns"))


def test_a_namespace_is_joined_by_its_path():
    assert {"type": "network", "path": "/b/run/network"} in namespaces("private", None, "/b/run/network")
    assert {"type": "network"} in namespaces("none")
