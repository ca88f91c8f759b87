"""Published ports: their forms, their choice, and how they are shown."""

from __future__ import annotations

import socket

import pytest

from arstore.errors import PortInUseError, UsageError
from arstore.runtime.spec.nets.ports import (
    parse_exposed,
    parse_port,
    require_apart,
    require_free,
    shown_ports,
    with_exposed,
    with_host_ports,
)
from arstore.runtime.spec.nets.values import Link, Port


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("80", Port(80)),
        (":80", Port(80)),
        ("8080:80", Port(80, 8080)),
        ("8080:80/UDP", Port(80, 8080, protocol="udp")),
        ("127.0.0.1:8080:80", Port(80, 8080, 1, "127.0.0.1")),
        ("127.0.0.1::80", Port(80, 0, 1, "127.0.0.1")),
        ("[::1]:8080:80/tcp", Port(80, 8080, 1, "::1")),
        ("8000-8002:80-82", Port(80, 8000, 3)),
        ("80-82", Port(80, 0, 3)),
    ],
)
def test_forms(text, port):
    assert parse_port(text) == port


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "0",
        "65536",
        "80:",
        "0:80",
        "80:0",
        "a:80",
        "1-3:4-5",
        "3-1",
        "1.2.3:80:80",
        "::1:80:80",
        "5:6:7:8",
        "80/",
        "80/foo",
        "80/sctp",
        "80:80,90:90",
        "[::1]:80",
        "80\n:80",
        "１:80",
        "-1",
        "1:2:3/tcp/udp",
        "[x]:1:2",
        "1" * 5000,
    ],
)
def test_what_is_not_a_port(text):
    with pytest.raises(UsageError):
        parse_port(text)


def test_ports_are_apart():
    require_apart([Port(80, 80), Port(80, 80, protocol="udp"), Port(80), Port(80), Port(80, 80, 1, "127.0.0.1")])
    with pytest.raises(UsageError):
        require_apart([Port(80, 80, 3), Port(90, 82)])
    with pytest.raises(UsageError):
        require_apart([Port(1, 1, 5000)])


def test_free_ports_are_chosen():
    found = with_host_ports(Link(ports=(Port(80), Port(81, 0, 3), Port(53, 0, 1, "127.0.0.1", "udp")))).ports
    assert all(port.host_port > 0 for port in found)
    require_free(found)
    require_apart(found)


@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")])
def test_a_port_in_use(kind, protocol):
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            other.listen()
        number = other.getsockname()[1]
        for ip in ("", "127.0.0.1"):
            with pytest.raises(PortInUseError, match=f"{number}/{protocol}: is in use"):
                require_free([Port(80, number, 1, ip, protocol)])
        require_free([Port(80, number, 1, "127.0.0.2", protocol)])


def test_exposed_ports():
    link = Link(ports=(Port(80, 8080),), exposed=("90-91", "53/udp"), publish_all=True)
    found = with_exposed(link, ("80/tcp", "91", "443/tcp", "nonsense", "0/tcp", "../x"))
    assert found.ports == (Port(80, 8080), Port(90), Port(91), Port(53, protocol="udp"), Port(443))
    assert not found.publish_all
    assert with_exposed(link._replace(publish_all=False), ("1",)).ports == link.ports
    with pytest.raises(UsageError):
        parse_exposed("x/tcp")


def test_shown():
    ports = [Port(80, 8080), Port(90, 90, 2, "127.0.0.1", "udp"), Port(1, 2, 1, "::1")]
    assert shown_ports(ports) == "0.0.0.0:8080->80/tcp, 127.0.0.1:90-91->90-91/udp, [::1]:2->1/tcp"
