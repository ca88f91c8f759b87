"""The files of names, and the options for them: nothing in a word can become another line."""

from __future__ import annotations

import pytest

from arstore.errors import ArstoreError, UsageError
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.nets import names
from arstore.runtime.spec.nets.name_options import (
    parse_host,
    parse_hosts_file,
    parse_option,
    parse_search,
    parse_server,
)
from arstore.runtime.spec.nets.names import name_files, resolver
from arstore.runtime.spec.nets.values import Link, NameFiles

HOST = "127.0.0.1\tlocalhost\n10.1.1.1 neighbour # and a word\n"
RESOLV = (
    "# by hand\nsearch a.org b.org\nnameserver 127.0.0.53\nnameserver 10.0.0.1\n"
    "nameserver fe80::1%eth0\noptions edns0\n"
)


@pytest.fixture(autouse=True)
def _a_host(monkeypatch):
    texts = {"/etc/hosts": HOST, "/etc/resolv.conf": RESOLV}
    monkeypatch.setattr(names, "_host_file", lambda path: texts.get(path, ""))
    monkeypatch.setattr(names, "host_address", lambda: "192.0.2.7")


def hosts(network, tmp_path, **files):
    with RootDirectory(str(tmp_path)) as root:
        return name_files(NameFiles(**files), network, Link(), ("me", "id"), root)["hosts"].splitlines()


def test_hosts(tmp_path):
    assert hosts("none", tmp_path) == ["127.0.0.1\tlocalhost", names.LOCALHOST.splitlines()[1], "127.0.0.1\tme id"]
    assert hosts("host", tmp_path)[-1] == "192.0.2.7\thost.containers.internal host.docker.internal"
    assert hosts("private", tmp_path, hosts=("1.1.1.1\tx",))[0] == "1.1.1.1\tx"
    assert hosts("private", tmp_path)[-1] == "10.0.2.100\tme id"
    assert hosts("none", tmp_path, hosts=("host-gateway\tup",))[0] == "192.0.2.7\tup"


def test_resolver():
    assert resolver(NameFiles(), "host", Link()) == RESOLV
    assert resolver(NameFiles(), "private", Link()) == (
        "search a.org b.org\nnameserver 10.0.2.3\nnameserver 10.0.0.1\noptions edns0\n"
    )
    mine = NameFiles(servers=("9.9.9.9",), searches=(".",), options=("ndots:2",))
    assert resolver(mine, "host", Link()) == "nameserver 9.9.9.9\noptions ndots:2\n"


def test_options():
    assert parse_host("a;b:1.2.3.4") == "1.2.3.4\ta b"
    assert parse_host("a:::1") == "::1\ta"
    assert parse_host("a:host-gateway") == "host-gateway\ta"
    assert parse_search("x.org") == "x.org"
    assert parse_option("ndots:2") == "ndots:2"
    assert parse_server("none") == "none"


@pytest.mark.parametrize(
    "text", ["", "a", "a:", ":1.1.1.1", "a:zz", "a\nb:1.1.1.1", "a b:1.1.1.1", "a#:1.1.1.1", "a:[::1]"]
)
def test_what_is_not_a_host(text):
    with pytest.raises(UsageError):
        parse_host(text)


@pytest.mark.parametrize(
    "word", ["", "a b", "a\nnameserver 6.6.6.6", "a\0", "a;b", "fe80::1%a\nb", "1.1.1.1 ", "\u2028"]
)
def test_no_word_becomes_a_line(word):
    for parse in (parse_search, parse_option, parse_server):
        with pytest.raises(UsageError):
            parse(word)
    with pytest.raises(UsageError):
        parse_host(f"a:{word}")


def test_a_base_file_of_the_image(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text("1.1.1.1 mine\n")
    assert hosts("none", tmp_path, hosts_file="image")[0] == "1.1.1.1 mine"
    (tmp_path / "etc/hosts").unlink()
    (tmp_path / "etc/hosts").symlink_to("/../../../etc/passwd")
    assert not any("root:" in line for line in hosts("none", tmp_path, hosts_file="image"))
    with pytest.raises(ArstoreError):
        parse_hosts_file("/none")
    with pytest.raises(ArstoreError):
        parse_hosts_file("/dev/null")
