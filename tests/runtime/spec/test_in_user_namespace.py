"""The description of a container of an ordinary user, who is root in a user namespace only."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from arstore.errors import IdentityError, PermissionDeniedError, RuntimeFailedError
from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.user_namespace import IdMaps, IdRange, maps_for
from arstore.oci.config import ImageConfig
from arstore.oci.platform import Platform
from arstore.runtime.spec import limits
from arstore.runtime.spec import process as processes
from arstore.runtime.spec.devices import HostDevice, parse_device
from arstore.runtime.spec.document import Surroundings, build_spec
from arstore.runtime.spec.identity.users import User, require_mapped
from arstore.runtime.spec.isolation import Isolation
from arstore.runtime.spec.limits import parse_ulimit, rlimits
from arstore.runtime.spec.nets import ports
from arstore.runtime.spec.options import RunOptions
from arstore.runtime.spec.process import Process, settable_oom_score
from arstore.runtime.spec.resource_section import undelegated
from arstore.runtime.spec.resources import DeviceNumber, Resources
from arstore.runtime.spec.rights.security import Security

MANY = maps_for(1000, 1000, [(100000, 65536)], [(100000, 65536)])
SINGLE = maps_for(1000, 1000, (), ())
ROOT = User(0, 0, (), "root", "/root")


def spec(options=None, ids=MANY, **around):
    process = Process(("sh",), ("PATH=/bin",), "/", ROOT, False)
    surroundings = Surroundings(**{"hostname": "h", "cgroups_path": "", "ids": ids, **around})
    return build_spec(ImageConfig(b"", Platform("linux", "amd64"), ()), options or RunOptions(), process, surroundings)


def mounts_of(document):
    return {mount["destination"]: mount for mount in document["mounts"]}


@pytest.fixture
def inside(monkeypatch):
    """Let this process seem to be in a user namespace."""

    def let(maps: IdMaps):
        monkeypatch.setattr(user_namespace, "is_initial", lambda: False)
        monkeypatch.setattr(user_namespace, "current", lambda: maps)

    return let


def test_devices_are_bind_mounts():
    options = RunOptions(devices=(parse_device("/dev/null:/dev/my/null"), parse_device("/dev/zero")))
    document = spec(options)
    assert "devices" not in document["linux"]
    found = mounts_of(document)
    assert found["/dev/my/null"]["source"] == "/dev/null"
    assert found["/dev/zero"]["type"] == "bind"
    assert "nodev" not in found["/dev/zero"]["options"]
    # The host's root makes nodes.
    outside = spec(options, ids=None)
    assert [node["path"] for node in outside["linux"]["devices"]] == ["/dev/my/null", "/dev/zero"]
    assert "/dev/zero" not in mounts_of(outside)


def test_a_privileged_container_gets_the_devices_of_the_host():
    found = mounts_of(
        spec(RunOptions(security=Security(privileged=True), devices=(HostDevice("/dev/null", "/dev/n"),)))
    )
    assert "/dev/n" in found
    assert "/dev/null" not in found  # every container has its own
    assert found["/sys"]["type"] == "sysfs"


@pytest.mark.parametrize("network", ["host", "ns"])
def test_with_the_network_of_the_host_sys_is_that_of_the_host(network):
    document = spec(RunOptions(network=network))
    found = mounts_of(document)
    assert found["/sys"]["type"] == "bind"
    assert "ro" in found["/sys"]["options"]
    assert "/sys/fs/cgroup" in document["linux"]["maskedPaths"]
    outside = spec(RunOptions(network=network), ids=None)
    assert mounts_of(outside)["/sys"]["type"] == "sysfs"
    assert "/sys/fs/cgroup" not in outside["linux"]["maskedPaths"]


def test_its_own_network_has_its_own_sys():
    document = spec(RunOptions(network="private"), network="/x")
    assert mounts_of(document)["/sys"]["type"] == "sysfs"
    assert "/sys/fs/cgroup" not in document["linux"]["maskedPaths"]


def test_with_control_groups_they_are_shown():
    document = spec(RunOptions(network="host"), cgroups_path="/delegated/arstore/x")
    assert "/sys/fs/cgroup" in mounts_of(document)
    assert "/sys/fs/cgroup" not in document["linux"]["maskedPaths"]
    assert document["linux"]["cgroupsPath"] == "/delegated/arstore/x"


def test_terminals_belong_to_a_group_that_exists():
    assert "gid=5" in mounts_of(spec())["/dev/pts"]["options"]
    assert "gid=5" not in mounts_of(spec(ids=SINGLE))["/dev/pts"]["options"]


def test_message_queues_of_the_host_cannot_be_mounted_anew():
    found = mounts_of(spec(RunOptions(isolation=Isolation(ipc="host"))))
    assert found.get("/dev/mqueue", {}).get("type") != "mqueue"
    assert mounts_of(spec())["/dev/mqueue"]["type"] == "mqueue"


def test_ids_that_do_not_exist(inside):
    inside(MANY)
    assert require_mapped(User(65535, 65535), (5,)).groups == (5,)
    for user, added in ((User(65537, 0), ()), (User(0, 70000), ()), (User(0, 0, (99999,)), ()), (User(0, 0), (99999,))):
        with pytest.raises(IdentityError, match="65537 ids, and this one is not among them"):
            require_mapped(user, added)


def test_with_a_single_id_no_process_has_groups(inside):
    inside(SINGLE)
    assert require_mapped(User(0, 0, (4, 27))).groups == ()
    with pytest.raises(IdentityError, match="have 1 id,"):
        require_mapped(User(0, 0), (4,))
    with pytest.raises(IdentityError, match="user 33"):
        require_mapped(User(33, 0))


def test_a_hole_between_ranges_is_outside(inside):
    inside(IdMaps((IdRange(0, 1000, 1), IdRange(100, 100000, 10)), (IdRange(0, 1000, 1),)))
    assert require_mapped(User(105, 0)).uid == 105
    for uid in (1, 99, 110):
        with pytest.raises(IdentityError):
            require_mapped(User(uid, 0))


def test_the_host_has_all_ids():
    assert require_mapped(User(4_000_000_000, 7, (8,)), (9,)).groups == (8, 9)


def test_capabilities_of_a_namespace_raise_no_limit(inside, monkeypatch):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _kind: (100, 1000))
    assert rlimits([parse_ulimit("nofile=1000")], 100)[0]["hard"] == 1000
    inside(MANY)
    with pytest.raises(RuntimeFailedError, match="at most 1000"):
        rlimits([parse_ulimit("nofile=1001")], 100)


def test_only_root_lowers_the_score(inside):
    inside(MANY)
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert settable_oom_score(1000) == 1000
    assert settable_oom_score(-1000) == own
    assert processes.settable_oom_score(own) == own


def test_ports_that_only_root_may_bind(tmp_path, monkeypatch):
    first = tmp_path / "first"
    first.write_text("1024\n")
    monkeypatch.setattr(ports, "_FIRST_FREE", str(first))
    error = ports._refusal("port 0.0.0.0:80/tcp", 80, OSError(errno.EACCES, "Permission denied"))
    assert isinstance(error, PermissionDeniedError)
    assert "ip_unprivileged_port_start is 1024" in error.why
    assert "80" in error.hint
    other = ports._refusal("port 0.0.0.0:8080/tcp", 8080, OSError(errno.EACCES, "Permission denied"))
    assert not isinstance(other, PermissionDeniedError)


def test_limits_without_a_controller():
    more = Resources(cpuset_cpus="0", block_devices=(DeviceNumber("device_read_bps", 8, 0, 1000),))
    options = RunOptions(memory=1 << 28, cpus=1.0, pids_limit=10, resources=more)
    everything = ["--memory", "--cpus", "--cpuset-cpus", "--pids-limit", "--device-read-bps"]
    assert undelegated(options, frozenset()) == everything
    assert undelegated(options, frozenset({"memory", "pids"})) == ["--cpus", "--cpuset-cpus", "--device-read-bps"]
    assert undelegated(options, frozenset({"memory", "pids", "cpu", "cpuset", "io"})) == []
    assert undelegated(RunOptions(pids_limit=-1), frozenset()) == []
    unified = RunOptions(resources=Resources(unified=(("memory.high", "1G"),)))
    assert undelegated(unified, frozenset({"pids"})) == ["--cgroup-conf"]
    assert undelegated(unified, frozenset({"memory"})) == []
