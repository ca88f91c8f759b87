"""Rights of a container: from the options to the rights of a process inside."""

from __future__ import annotations

import json
import os
import resource

import pytest

from arstore.errors import ArstoreError, UsageError
from arstore.runtime.spec.devices import HostDevice, device_section, parse_device
from arstore.runtime.spec.limits import Ulimit, parse_ulimit, parse_ulimits, rlimits
from arstore.runtime.spec.rights.capabilities import DEFAULT, NAMES, capabilities_section, granted, parse_capability
from arstore.runtime.spec.rights.seccomp_file import load_profile
from arstore.runtime.spec.rights.security import Security, parse_security

ALL = (1 << len(NAMES)) - 1


def test_names_stand_at_the_kernels_numbers():
    assert [NAMES.index(name) for name in ("CHOWN", "NET_ADMIN", "SYS_ADMIN", "SETFCAP", "CHECKPOINT_RESTORE")] == [
        0, 12, 21, 31, 40,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["CAP_SYS_ADMIN", "sys_admin", " Cap_Sys_Admin "])
def test_capability_names(text):
    assert parse_capability(text) == "SYS_ADMIN"


@pytest.mark.parametrize("text", ["", "CAP_", "SYS-ADMIN", "ROOT", "21", "*"])
def test_capability_names_refused(text):
    with pytest.raises(UsageError):
        parse_capability(text)


@pytest.mark.parametrize(
    ("added", "dropped", "available", "expected"),
    [
        ([], [], ALL, DEFAULT),
        (["SYS_ADMIN"], [], ALL, DEFAULT | {"SYS_ADMIN"}),
        ([], ["MKNOD"], ALL, DEFAULT - {"MKNOD"}),
        ([], ["ALL"], ALL, set()),
        (["CHOWN"], ["ALL"], ALL, {"CHOWN"}),
        (["ALL"], ["SYS_ADMIN"], ALL, set(NAMES) - {"SYS_ADMIN"}),
        (["ALL"], [], 0b11, {"CHOWN", "DAC_OVERRIDE"}),
        ([], [], 0, set()),
    ],
)
def test_granted(added, dropped, available, expected):
    assert set(granted(added, dropped, available)) == set(expected)


def test_privileged_has_all_that_this_process_has():
    assert set(granted([], [], ALL, privileged=True)) == set(NAMES)
    assert set(granted([], ["SYS_ADMIN"], ALL, privileged=True)) == set(NAMES) - {"SYS_ADMIN"}


def test_another_user_has_what_was_asked_for_and_nothing_else():
    found = capabilities_section(1000, ("CHOWN", "NET_ADMIN"), ("NET_ADMIN",))
    assert found["bounding"] == ["CAP_CHOWN", "CAP_NET_ADMIN"]
    assert found["effective"] == found["permitted"] == found["ambient"] == found["inheritable"] == ["CAP_NET_ADMIN"]
    every = capabilities_section(1000, ("CHOWN", "NET_ADMIN"), ("ALL",))
    assert every["bounding"] == every["effective"] == every["ambient"] == ["CAP_CHOWN", "CAP_NET_ADMIN"]
    root = capabilities_section(0, ("CHOWN", "NET_ADMIN"), ("NET_ADMIN",))
    assert root["inheritable"] == root["ambient"] == []


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], Security()),
        (["seccomp=unconfined"], Security(seccomp="unconfined")),
        (["seccomp=/a=b", "seccomp=default"], Security()),
        (["seccomp:/x"], Security(seccomp="/x")),
        (["no-new-privileges"], Security(no_new_privileges=True)),
        (["no-new-privileges:true"], Security(no_new_privileges=True)),
        (["no-new-privileges=true", "no-new-privileges=false"], Security()),
        (["label=disable", "label=type:x", "apparmor=unconfined"], Security()),
        (["unmask=ALL"], Security(unmasked=("ALL",))),
        (["unmask=/proc/keys:/proc/sys", "mask=/proc/x"], Security(unmasked=("/proc/keys", "/proc/sys"),
                                                                   masked=("/proc/x",))),
    ],
)  # fmt: skip
def test_security_options(texts, expected):
    assert parse_security(texts) == expected


def test_a_relative_profile_is_found_from_where_it_was_asked_for(tmp_path, monkeypatch):
    # The launcher reads it from another directory.
    monkeypatch.chdir(tmp_path)
    assert parse_security(["seccomp=profile.json"]) == Security(seccomp=str(tmp_path / "profile.json"))


@pytest.mark.parametrize(
    "text", ["", "seccomp", "seccomp=", "no-new-privileges=maybe", "apparmor=x", "unmask=proc", "mask=", "label", "x=y"]
)
def test_security_options_refused(text):
    with pytest.raises(UsageError):
        parse_security([text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/null", HostDevice("/dev/null", "/dev/null")),
        ("/dev/null:r", HostDevice("/dev/null", "/dev/null", "r")),
        ("/dev/null:/dev/x", HostDevice("/dev/null", "/dev/x")),
        ("/dev/null:/dev/x:rw", HostDevice("/dev/null", "/dev/x", "rw")),
    ],
)
def test_devices(text, expected):
    assert parse_device(text) == expected


@pytest.mark.parametrize(
    "text", ["", "dev/null", "/dev/null:x:y", "/dev/null:/a:b:c", "/dev/none", "/etc/passwd", "/dev/null:/x:q"]
)
def test_devices_refused(text):
    with pytest.raises(ArstoreError):
        parse_device(text)


def test_device_section():
    entries, rules = device_section((HostDevice("/dev/null", "/dev/mine", "r"),), privileged=False)
    assert entries[0] | {"fileMode": 0} == {
        "path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0, "uid": 0, "gid": 0,
    }  # fmt: skip
    assert rules == [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}]
    entries, rules = device_section((), privileged=True)
    assert rules == [{"allow": True, "access": "rwm"}]
    assert not {"/dev/null", "/dev/tty"} & {entry["path"] for entry in entries}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nofile=10", Ulimit("nofile", 10, 10)),
        ("RLIMIT_NPROC=1:2", Ulimit("nproc", 1, 2)),
        ("core=-1", Ulimit("core", 2**64 - 1, 2**64 - 1)),
        ("core=5:unlimited", Ulimit("core", 5, 2**64 - 1)),
    ],
)
def test_ulimits(text, expected):
    assert parse_ulimit(text) == expected


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile=", "nofile=x", "nosuch=1", "nofile=2:1", "nofile=-2", "core=-1:5"]
)
def test_ulimits_refused(text):
    with pytest.raises(UsageError):
        parse_ulimit(text)


def test_rlimits_replace_the_default():
    found = rlimits([Ulimit("nofile", 5, 6), Ulimit("core", 0, 0)], 1024)
    assert found == [
        {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]  # fmt: skip


# --- profiles in files ----------------------------------------------------------------------------------------------


def load(tmp_path, document, capabilities=(), machine="x86_64", release="6.1.0-test"):
    path = tmp_path / "profile.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return load_profile(str(path), capabilities, machine, release)


def test_a_docker_profile(tmp_path):
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrno": "ENOSYS",
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
        "syscalls": [
            {"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
            {"name": "old", "action": "SCMP_ACT_ALLOW", "args": None},
            {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"names": ["intel"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
            {"names": ["admin"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["others"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["newer"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
            {"names": ["s"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]},
        ],
    }
    found = load(tmp_path, document)
    assert found["defaultErrnoRet"] == 38
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert [rule["names"] for rule in found["syscalls"]] == [["a"], ["old"], ["intel"], ["others"], ["new"], ["s"]]
    assert found["syscalls"][-1]["args"] == [{"op": "SCMP_CMP_NE", "index": 0, "value": 40, "valueTwo": 0}]
    privileged = [rule["names"][0] for rule in load(tmp_path, document, ["SYS_ADMIN"], "aarch64")["syscalls"]]
    assert privileged == ["a", "old", "arm", "admin", "new", "s"]


@pytest.mark.parametrize(
    "document",
    [
        "", "[]", "{", "null", '{"defaultAction": 1}', {"defaultAction": "ALLOW"}, "[" * 100000,
        {"defaultAction": "SCMP_ACT_ALLOW", "unknown": 1},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"]}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": "x", "action": "SCMP_ACT_ALLOW"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "SCMP_ACT_ALLOW", "arg": []}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "SCMP_ACT_ALLOW", "args": [{}]}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "SCMP_ACT_ERRNO", "errno": "E"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["x"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "x"}}]},
        {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"},
    ],
)  # fmt: skip
def test_what_is_not_a_profile_is_refused(tmp_path, document):
    with pytest.raises(UsageError) as caught:
        load(tmp_path, document)
    assert "\n" not in str(caught.value)


def test_a_missing_profile(tmp_path):
    with pytest.raises(ArstoreError):
        load_profile(str(tmp_path / "none"), ())


# --- in real containers ---------------------------------------------------------------------------------------------


def shown(done) -> str:
    assert done.stderr == b""
    return done.stdout.decode().strip()


def caps(box, kind="CapEff", **options) -> int:
    return int(shown(box.run("grep", f"{kind}:", "/proc/self/status", **options)).split()[1], 16)


@pytest.mark.root
def test_capabilities_inside(box):
    default = sum(1 << NAMES.index(name) for name in DEFAULT)
    assert caps(box) == default & caps_here()
    assert caps(box, security={"dropped": ["ALL"]}) == 0
    assert caps(box, security={"added": ["NET_ADMIN"]}) & 1 << 12
    assert caps(box, user="alice", security={"added": ["NET_ADMIN"]}) == 1 << 12
    assert caps(box, user="alice") == 0
    assert caps(box, security={"privileged": True}) == caps_here()


def caps_here() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))


@pytest.mark.root
def test_no_new_privileges_inside(box):
    line = ("grep", "NoNewPrivs:", "/proc/self/status")
    assert shown(box.run(*line)).endswith("0")
    assert shown(box.run(*line, security={"no_new_privileges": True})).endswith("1")


@pytest.mark.root
def test_seccomp_inside(box, tmp_path):
    line = ("grep", "Seccomp:", "/proc/self/status")
    assert shown(box.run(*line)).endswith("2")
    assert shown(box.run(*line, security={"seccomp": "unconfined"})).endswith("0")
    assert shown(box.run(*line, security={"privileged": True})).endswith("0")
    profile = tmp_path / "profile.json"
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    done = box.shell("mkdir /x", security={"seccomp": str(profile)})
    assert b"not supported" in done.stderr.lower() or done.returncode != 0
    profile.write_text("not one")
    assert box.run("true", security={"seccomp": str(profile)}).returncode == 125
    assert box.error[0] == "UsageError"


@pytest.mark.root
def test_user_namespaces_and_mounts_within_them(box):
    """Builds inside containers need this; without a new namespace nothing can be mounted."""
    assert shown(box.shell("unshare -Urm sh -c 'mount -t tmpfs none /tmp && echo mounted'")) == "mounted"
    done = box.shell("mount -t tmpfs none /tmp")
    assert done.returncode != 0


@pytest.mark.root
def test_devices_inside(box):
    script = "head -c 1 /dev/mine | wc -c; echo x >/dev/mine; echo $?"
    found = box.shell(script, devices=[["/dev/zero", "/dev/mine", "r"]])
    assert found.stdout.split()[0] == b"1"
    assert shown(box.shell("ls -l /dev/mine | head -c 1", devices=[["/dev/zero", "/dev/mine", "r"]])) == "c"
    assert box.shell("ls /dev/mine").returncode != 0


@pytest.mark.root
def test_limits_and_tmpfs_inside(box):
    assert shown(box.shell("ulimit -n; ulimit -c", ulimits=[["nofile", 77, 88], ["core", 0, 0]])) == "77\n0"
    done = box.shell(
        "stat -f -c %T /scratch; dd if=/dev/zero of=/scratch/x bs=1M count=9 2>/dev/null; echo $?",
        tmpfs=[["/scratch", ["size=1m"]]],
    )
    assert done.stdout.split() == [b"tmpfs", b"1"]
    assert shown(box.shell("cat /proc/mounts | grep ' /dev/shm '", shm_size=1 << 20)).count("size=1024k") == 1


@pytest.mark.root
def test_masked_paths_inside(box):
    assert shown(box.shell("cat /proc/timer_list | wc -c")) == "0"
    assert int(shown(box.shell("cat /proc/timer_list | wc -c", security={"unmasked": ["ALL"]}))) > 0
    assert shown(box.shell("cat /proc/version | wc -c", security={"masked": ["/proc/version"]})) == "0"


@pytest.mark.root
def test_init_inside(box, tmp_path, monkeypatch):
    found = [p for d in ("/usr/bin", "/usr/libexec/podman") for n in ("catatonit", "tini-static")
             if os.path.exists(p := f"{d}/{n}")]  # fmt: skip
    if not found:
        pytest.skip("neither catatonit nor tini is installed")
    assert shown(box.shell("cat /proc/1/comm; exit 7", init=True)).startswith("arstore-init")


def test_a_profile_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "profile.json"
    path.write_bytes(b" " * (4 << 20) + b'{"defaultAction": "SCMP_ACT_ALLOW"}')
    with pytest.raises(UsageError, match="larger than 4 MiB"):
        load_profile(str(path), ())


def test_limits_of_the_caller():
    own = {one.kind: one for one in parse_ulimits(["host"])}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert own["nofile"] == Ulimit("nofile", soft % 2**64, hard % 2**64)
    assert parse_ulimits(["host", "core=0"])[-1] == Ulimit("core", 0, 0)
    assert {one["type"] for one in rlimits(parse_ulimits(["host"]), 5)} >= {"RLIMIT_CORE", "RLIMIT_NPROC"}


def test_a_capability_is_added_or_dropped():
    with pytest.raises(UsageError, match="CHOWN"):
        parse_security((), ("CHOWN", "KILL"), ("cap_chown",))
    with pytest.raises(UsageError, match="added and dropped"):
        parse_security((), ("ALL",), ("all",))


@pytest.mark.parametrize(
    ("unmasked", "shown_paths"),
    [
        ("/proc/*", {"/proc/acpi", "/proc/timer_list"}),
        ("/proc/a*", {"/proc/acpi"}),
        ("/*", set()),
        ("/sys/firm?are", {"/sys/firmware"}),
        ("/proc/acpi", {"/proc/acpi"}),
        ("/proc", set()),
    ],
)
def test_patterns_of_paths_to_unmask(unmasked, shown_paths):
    paths = {"/proc/acpi", "/proc/timer_list", "/sys/firmware"}
    found = parse_security((f"unmask={unmasked}",), (), ())
    assert {path for path in paths if found.shows(path)} == shown_paths
