"""Namespaces, kernel parameters and control groups: what is accepted, and what would reach the host."""

import pytest

from arstore.errors import UsageError
from arstore.runtime.spec.isolation import (
    Isolation,
    namespaces,
    parse_cgroup_parent,
    parse_namespace,
    parse_personality,
    parse_sysctl,
    require_own_namespaces,
    shared_mounts,
)


def kinds(network="none", **how):
    return {one["type"] for one in namespaces(network, Isolation(**how))}


def test_every_container_has_its_own_processes_and_mounts():
    assert {"pid", "mount"} <= kinds("host", ipc="host", uts="host", cgroup="host")
    assert kinds() - kinds(ipc="host") == {"ipc"}
    assert kinds() - kinds(uts="host") == {"uts"}
    assert kinds() - kinds("host") == {"network"}


@pytest.mark.parametrize(
    ("name", "text", "taken", "kind"),
    [
        ("--ipc", "", ("private", "host", "none"), "private"),
        ("--ipc", "shareable", ("private", "host", "none"), "private"),
        ("--ipc", "none", ("private", "host", "none"), "none"),
        ("--uts", "host", ("private", "host"), "host"),
        ("--pid", "private", ("private",), "private"),
        ("--userns", "host", ("host",), "host"),
    ],
)
def test_kinds_of_namespaces(name, text, taken, kind):
    assert parse_namespace(name, text, taken) == kind


@pytest.mark.parametrize(
    ("name", "text", "taken", "why"),
    [
        ("--pid", "host", ("private",), "with their pid namespace"),
        ("--ipc", "container:x", ("private", "host"), "cannot join"),
        ("--uts", "ns:/proc/1/ns/uts", ("private", "host"), "cannot join"),
        ("--userns", "keep-id", ("host",), "ids are those of the host"),
        ("--userns", "private", ("host",), "ids are those of the host"),
        ("--ipc", "foo", ("private", "host"), "not a kind of namespace"),
        ("--uts", "shareable", ("private", "host"), "not a kind of namespace"),
    ],
)
def test_other_kinds_are_refused_with_a_reason(name, text, taken, why):
    with pytest.raises(UsageError, match=why):
        parse_namespace(name, text, taken)


def test_parameters_of_one_container():
    assert parse_sysctl("net.ipv4.ip_forward=1") == ("net.ipv4.ip_forward", "1")
    assert parse_sysctl("kernel.shmmax=5") == ("kernel.shmmax", "5")
    assert parse_sysctl("net/ipv4/conf/eth0.1/forwarding=1")[0] == "net.ipv4.conf.eth0.1.forwarding"


@pytest.mark.parametrize(
    "text",
    ["", "kernel.panic=1", "vm.overcommit_memory=1", "net", "net.ipv4", "=1", "fs.file-max=1", "net/../kernel/panic=1",
     "net.x=\0", "kernel.core_pattern=|/bin/sh"],
)  # fmt: skip
def test_parameters_of_the_host_are_refused(text):
    with pytest.raises(UsageError):
        parse_sysctl(text)


@pytest.mark.parametrize(
    ("name", "how", "network"),
    [
        ("net.core.somaxconn", {}, "host"),
        ("kernel.shmmax", {"ipc": "host"}, "none"),
        ("fs.mqueue.msg_max", {"ipc": "host"}, "none"),
        ("kernel.domainname", {"uts": "host"}, "none"),
    ],
)
def test_parameters_of_shared_namespaces_are_refused(name, how, network):
    with pytest.raises(UsageError, match="would change the host"):
        require_own_namespaces(Isolation(sysctls={name: "1"}, **how), network)
    require_own_namespaces(Isolation(sysctls={name: "1"}), "none")


@pytest.mark.parametrize(("text", "path"), [("/a", "/a"), ("a/b", "/a/b"), ("/a//b/", "/a/b")])
def test_parents_of_control_groups(text, path):
    assert parse_cgroup_parent(text) == path


@pytest.mark.parametrize("text", ["", "/", "/../x", "a/../../b", "machine.slice", "/a\0b", "/" + "x" * 2000, "/a\nb"])
def test_no_parents_of_control_groups(text):
    with pytest.raises(UsageError):
        parse_cgroup_parent(text)


def test_shared_memory():
    assert shared_mounts(Isolation()) == {}
    assert shared_mounts(Isolation(ipc="none")) == {"/dev/shm": None}
    assert all(mount["type"] == "bind" for mount in shared_mounts(Isolation(ipc="host")).values())


def test_personalities():
    assert parse_personality("linux32") == "LINUX32"
    with pytest.raises(UsageError):
        parse_personality("SOLARIS")
