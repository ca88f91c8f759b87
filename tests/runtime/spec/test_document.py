import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ArstoreError, ImageConfigError
from arstore.oci.config import ImageConfig
from arstore.oci.platform import Platform
from arstore.runtime.spec.document import Surroundings, build_spec, image_annotations
from arstore.runtime.spec.identity.users import User
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.mounts.section import image_volumes
from arstore.runtime.spec.options import RunOptions, Volume
from arstore.runtime.spec.process import Process, environment, working_directory
from arstore.runtime.spec.rights import seccomp
from arstore.runtime.spec.rights.security import Security

ALICE = User(1000, 1001, (50,), "alice", "/home/alice")


def config(**fields) -> ImageConfig:
    return ImageConfig(b"", Platform("linux", "arm64", "v8"), (), **fields)


def spec(options=None, image=None, user=ALICE, **around):
    process = Process(("sh",), ("PATH=/bin",), "/", user, False)
    surroundings = Surroundings(**{"hostname": "h", "cgroups_path": "/arstore/x", **around})
    return build_spec(image or config(), options or RunOptions(), process, surroundings)


def test_labels_of_an_image_do_not_steer_the_runtime():
    odd = ("run.oci.hooks.stdout", "run.oci.seccomp.receiver", "org.systemd.property.X", "org.criu.config",
           "io.katacontainers.config.hypervisor.path", "module.wasm.image/variant", "dev.gvisor.x")  # fmt: skip
    image = config(labels={**dict.fromkeys(odd, "x"), "org.opencontainers.image.title": "t", "maintainer": "m"})
    found = image_annotations(image, {"run.oci.timens_offset": "0"})
    assert not found.keys() & set(odd)
    assert found["org.opencontainers.image.title"] == "t"
    assert found["maintainer"] == "m"
    # The user may.
    assert found["run.oci.timens_offset"] == "0"


def test_whole_is_json_and_names_the_user():
    found = json.loads(json.dumps(spec(seccomp=seccomp.profile())))
    assert found["process"]["user"] == {"uid": 1000, "gid": 1001, "umask": 18, "additionalGids": [1001, 50]}
    assert found["process"]["capabilities"]["effective"] == []
    assert found["process"]["capabilities"]["inheritable"] == []
    assert found["process"]["noNewPrivileges"] is False
    assert found["root"] == {"path": "rootfs", "readonly": False}


def test_limits_and_network():
    found = spec(RunOptions(memory=64 << 20, cpus=1.5, pids_limit=10, network="host", read_only=True))
    resources = found["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20}
    assert resources["cpu"] == {"quota": 150000, "period": 100000}
    assert resources["pids"] == {"limit": 10}
    assert resources["devices"][0] == {"allow": False, "access": "rwm"}
    kinds = {namespace["type"] for namespace in found["linux"]["namespaces"]}
    assert {"pid", "ipc", "uts", "mount"} <= kinds
    assert "network" not in kinds
    assert "network" in {namespace["type"] for namespace in spec()["linux"]["namespaces"]}
    assert "seccomp" not in found["linux"]
    assert found["root"]["readonly"]


def test_limits_that_nobody_asked_for():
    def resources(limits, **options):
        return spec(RunOptions(**options), limits=frozenset(limits))["linux"]["resources"]

    assert "pids" not in resources([])
    assert resources(["pids"])["pids"] == {"limit": 2048}
    assert "pids" not in resources(["pids"], pids_limit=-1)
    assert resources(["pids"], pids_limit=5000)["pids"] == {"limit": 5000}
    assert resources(["memory", "swap"], memory=64 << 20)["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert "memory" not in resources(["memory", "swap"])


def test_without_control_groups():
    found = spec(RunOptions(cgroups=False), user=User(0, 0), cgroups_path="", limits=frozenset(["pids"]))
    assert not {"cgroupsPath", "resources"} & found["linux"].keys()
    assert "/sys/fs/cgroup" not in {mount["destination"] for mount in found["mounts"]}
    # Nothing prevents it from opening a device that it makes.
    assert "CAP_MKNOD" not in found["process"]["capabilities"]["bounding"]
    every = 2**64 - 1
    for security in (Security(added=("MKNOD",)), Security(added=("ALL",)), Security(privileged=True)):
        assert "MKNOD" in RunOptions(cgroups=False, security=security).capabilities(every)
    assert "MKNOD" in RunOptions().capabilities(every)
    assert "MKNOD" not in RunOptions(security=Security(dropped=("MKNOD",))).capabilities(every)


def test_like_podmans_for_unified_control_groups():
    """`podman create -m 512m --cpus 1.5` (5.8.0, crun, cgroup v2) writes the same, except the container's id."""
    podman = json.loads(Path(__file__).with_name("podman_v2.json").read_text())
    options = RunOptions(memory=512 << 20, cpus=1.5)
    found = spec(options, limits=frozenset(["cpu", "memory", "pids", "swap"]))
    ours, theirs = found["linux"], podman["linux"]
    # Devices are podman's; the allowed ones are listed here instead of being left to the runtime.
    assert ours["resources"]["devices"][0] == theirs["resources"].pop("devices")[0]
    assert {name: ours["resources"][name] for name in theirs["resources"]} == theirs["resources"]
    assert ours["resources"].keys() == {*theirs["resources"], "devices"}
    assert {one["type"] for one in ours["namespaces"]} == {one["type"] for one in theirs["namespaces"]}
    assert set(theirs["maskedPaths"]) <= set(ours["maskedPaths"])
    assert set(theirs["readonlyPaths"]) <= {*ours["readonlyPaths"], *ours["maskedPaths"]}
    for mount in podman["mounts"]:
        (own,) = [one for one in found["mounts"] if one["destination"] == mount["destination"]]
        assert own["type"] == mount["type"]
        assert set(own["options"]) == set(mount["options"]) - {"rprivate"}


def test_volumes_come_last_parents_first_and_replace_what_is_there():
    volumes = [Volume("/a", "/x/y", True), Volume("/b", "/x"), Volume("/c", "/dev/shm"), Volume("/d", "/etc/hosts")]
    mounts = spec(volumes=volumes, files={"/etc/hosts": "/bundle/hosts"})["mounts"]
    places = [mount["destination"] for mount in mounts]
    assert len(places) == len(set(places))
    assert places[-4:] == ["/x", "/x/y", "/dev/shm", "/etc/hosts"]
    by_place = {mount["destination"]: mount for mount in mounts}
    assert by_place["/x/y"]["options"] == ["rbind", "rprivate", "nosuid", "nodev", "ro"]
    assert by_place["/etc/hosts"]["source"] == "/d"


def test_annotations_follow_conversion_md():
    image = config(
        author="A", created="2020", stop_signal="SIGINT", exposed_ports=("80/tcp", "53/udp"), labels={"l": "v\nw"}
    )
    prefix = "org.opencontainers.image."
    assert image_annotations(image, {"own": "1", prefix + "author": "B"}) == {
        prefix + "os": "linux", prefix + "architecture": "arm64", prefix + "variant": "v8", prefix + "author": "B",
        prefix + "created": "2020", prefix + "stopSignal": "SIGINT", prefix + "exposedPorts": "80/tcp,53/udp",
        "l": "v\nw", "own": "1",
    }  # fmt: skip


def test_volumes_of_the_image():
    image = config(volumes=("/data/", "/data", "//x/../y", "/mine"))
    assert image_volumes(image, RunOptions(volumes=(Volume("/h", "/mine"),))) == ("/data", "/y")
    for text in ("/", "/..", "relative", "", "/a\0b", "/\ud800"):
        with pytest.raises(ImageConfigError):
            image_volumes(config(volumes=(text,)), RunOptions())


def test_environment_order_and_defaults():
    found = environment(["A=1", "B=x=y"], ["A=2"], home="/home/alice", hostname="h", tty=True)
    assert set(found) > {"A=2", "B=x=y", "HOSTNAME=h", "TERM=xterm", "HOME=/home/alice"}
    assert "HOME=/mine" in environment(["HOME=/mine"], home="/home/alice", hostname="h", tty=False)
    assert "HOME=/" in environment(home="/", hostname="h", tty=False)


@pytest.mark.parametrize("text", ["novalue", "=x", "A=\0", "A=\udc80"])
def test_environment_refused(text):
    with pytest.raises(ImageConfigError):
        environment([text], home="/home/alice", hostname="h", tty=False)


@given(st.lists(st.text(max_size=8)), st.text(max_size=8))
def test_any_text_is_carried_exactly_or_refused(words, label):
    try:
        found = environment([f"N={word}" for word in words], home="/home/alice", hostname="h", tty=False)
        annotations = image_annotations(config(labels={"l": label}), {})
    except ArstoreError:
        return
    assert json.loads(json.dumps(found)) == list(found)
    if words:
        assert f"N={words[-1]}" in found
    assert json.loads(json.dumps(annotations))["l"] == label


def test_working_directory(tmp_path):
    (tmp_path / "link").symlink_to("/proc/self/fd")
    (tmp_path / "good").symlink_to("/else/where")
    with RootDirectory(str(tmp_path)) as root:
        assert working_directory("", root) == "/"
        assert working_directory("a/../b//c", root) == "/b/c"
        assert working_directory("//x", root) == "/x"
        assert working_directory("/good/x", root) == "/good/x"
        assert working_directory("/process", root) == "/process"
        for text in ("/proc/self/fd/3", "/link/3", "/x/../proc/1", "/dev/fd", "/a\0"):
            with pytest.raises(ImageConfigError):
                working_directory(text, root)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "s390x", "riscv64", "unheard-of"])
def test_seccomp_profile(machine):
    found = seccomp.profile(machine)
    rules = [(rule["action"], name, "args" in rule) for rule in found["syscalls"] for name in rule["names"]]
    allowed = {name for action, name, conditional in rules if action == "SCMP_ACT_ALLOW" and not conditional}
    assert {"read", "openat", "execve", "futex", "clock_gettime", "statx", "rseq"} <= allowed
    nested = {"mount", "umount2", "unshare", "setns", "clone", "clone3", "pivot_root", "move_mount", "fsopen"}
    assert nested <= allowed
    dangerous = {"bpf", "kexec_load", "init_module", "open_by_handle_at", "add_key", "request_key", "acct"}
    dangerous |= {"perf_event_open", "userfaultfd", "io_uring_setup", "reboot", "swapon", "settimeofday", "syslog"}
    assert not dangerous & allowed
    assert found["defaultAction"] == "SCMP_ACT_ERRNO"
    more = seccomp.profile(machine, ["SYS_ADMIN", "SYS_TIME"])["syscalls"][0]["names"]
    assert {"bpf", "settimeofday"} <= set(more)
    assert not {"init_module", "reboot"} & set(more)
