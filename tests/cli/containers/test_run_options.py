"""Options of `run` as processes in containers see them, by a real runtime; and those that are refused."""

from __future__ import annotations

import glob
import json
import os
import resource
import subprocess
import time

import pytest

from arstore.runtime.spec.command import DEFAULT_PATH

ROOT = "root:x:0:0:root:/:/bin/sh\n"
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
OWN = "1234:*:1234:77:container user:/:/bin/sh\n"


def ran(program, *words, script, status=0, **variables):
    """Return the output of a shell in a new container."""
    done = program.run("run", *words, "box:1", "sh", "-c", script, **variables)
    assert done.status == status, done.err
    return done.text


@pytest.mark.parametrize(
    ("words", "script", "expected"),
    [
        (("-h", "name"), "hostname", "name\n"),
        (("--hostname=name",), "cat /etc/hostname", "name\n"),
        (("--umask", "077"), "umask", "0077\n"),
        (("--oom-score-adj", "500"), "cat /proc/self/oom_score_adj", "500\n"),
        (("--sysctl", "net.ipv4.ip_forward=1"), "cat /proc/sys/net/ipv4/ip_forward", "1\n"),
        (("--sysctl", "kernel.shmmax=4096"), "cat /proc/sys/kernel/shmmax", "4096\n"),
        (("--env-merge", "PATH=${PATH}:/x"), "echo $PATH", f"{DEFAULT_PATH}:/x\n"),
        (("--http-proxy=false",), "echo $http_proxy", "\n"),
        ((), "echo $http_proxy", "proxy\n"),
        (("-e", "http_proxy=other"), "echo $http_proxy", "other\n"),
        (("--env-host", "-e", "ONE=2"), "echo $ONE $TWO", "2 two\n"),
        (("-e", "TW*", "-e", "ONE"), "echo $ONE $TWO $http_proxy", "1 two proxy\n"),
        (("--chrootdirs", "/empty"), "grep -c localhost /empty/etc/hosts", "2\n"),
        (("--seccomp-policy=default", "--disable-content-trust", "--shm-size-systemd", "1m"), "echo yes", "yes\n"),
        (("--ulimit", "nofile=50", "--ulimit", "host"), "ulimit -n", f"{FILES}\n"),
        ((), "echo $container; cat /run/.containerenv; cat /proc/sys/net/ipv4/ping_group_range", "oci\n0\t0\n"),
        (("--unsetenv", "container"), "echo $container", "\n"),
        (("--read-only",), "echo x 2>/dev/null >/etc/hosts || echo no", "no\n"),
        (("-v", "/tmp:/empty/new", "-w", "/empty/new/"), "pwd", "/empty/new\n"),
        (("-u", "5", "--passwd-entry", "me:x:5:6::/data:/bin/sh"), "id -g; echo $HOME", "6\n/data\n"),
        (("-u", "1234:77"), "cat /etc/passwd; id -u; id -g", f"{ROOT}{OWN}1234\n77\n"),
        (("-u", "1234", "--passwd=false"), "cat /etc/passwd", ROOT),
        (("--ipc", "none"), "ls /dev/shm 2>/dev/null; echo $?", "1\n"),
        (("--tmpfs", "/data"), "cat /data/file", "image\n"),
        (("--tmpfs", "/data:notmpcopyup"), "ls /data", ""),
        (("--read-only",), "touch /tmp/x /run/x /var/tmp/x && echo yes; touch /x 2>/dev/null || echo no", "yes\nno\n"),
        (("--read-only=true", "--read-only-tmpfs=false"), "touch /tmp/x 2>/dev/null || echo no", "no\n"),
        (("--read-only=false",), "touch /x && echo yes", "yes\n"),
        (("--cpus", "0", "--memory", "0", "--pids-limit", "0"), "echo yes", "yes\n"),
        (("--pids-limit", "-2"), "echo yes", "yes\n"),
        (("--uidmap", "0:100000"), "cat /proc/self/uid_map | tr -s ' '", " 0 100000 1\n"),
        (("-h", "one", "-v", "etc:/etc"), "cat /etc/hostname; grep -c localhost /etc/hosts", "one\n2\n"),
        (("--tmpfs", "/new:U,mode=700", "-u", "5"), "stat -c '%u %a' /new", "5 700\n"),
        (("--userns", "host", "--ipc", "shareable", "--pid", "private", "--systemd=false"), "echo yes", "yes\n"),
        (("--security-opt", "label=disable", "--security-opt", "systempaths=unconfined"), "echo yes", "yes\n"),
    ],
)  # fmt: skip
def test_options(program, words, script, expected):
    assert ran(program, *words, script=script, http_proxy="proxy", ONE="1", TWO="two") == expected


def test_all_variables_can_be_left_out(program):
    done = program.run("run", "--unsetenv-all", "box:1", "/bin/env")
    assert {line.split("=")[0] for line in done.text.split()} == {"HOME", "HOSTNAME"}
    assert program.run("run", "--unsetenv-all", "box:1", "env").status == 127


def test_namespaces_of_the_host(program):
    for kind in ("ipc", "uts", "cgroup"):
        own = os.readlink(f"/proc/self/ns/{kind}")
        option = {"cgroup": "cgroupns"}.get(kind, kind)
        assert ran(program, f"--{option}", "host", script=f"ls -l /proc/self/ns/{kind}").strip().endswith(own)
        private = ("--cgroupns", "private") if kind == "cgroup" else ()
        assert not ran(program, *private, script=f"ls -l /proc/self/ns/{kind}").strip().endswith(own)
    assert ran(program, "--uts", "host", script="hostname") == f"{os.uname().nodename}\n"


def test_files_for_ids(program, tmp_path):
    cid, pid = tmp_path / "cid", tmp_path / "pid"
    program.run("run", "-d", "--name", "one", "--cidfile", cid, "--pidfile", pid, "box:1", "sleep", "60")
    [about] = program.run("ps", "--json").json
    assert cid.read_text() == "one"
    assert int(pid.read_text()) == about["pid"]
    assert program.run("run", "--cidfile", tmp_path / "other", "box:1", "true").status == 0
    assert not (tmp_path / "other").exists()
    (tmp_path / "link").symlink_to(cid)
    for option in ("--cidfile", "--pidfile"):
        assert "symbolic link" in program.run("run", option, tmp_path / "link", "box:1", "true").err
    assert cid.read_text() == "one"
    assert [one["id"] for one in program.run("ps", "--all", "--json").json] == ["one"]


def test_the_number_of_a_process_that_ends_at_once(program, tmp_path):
    words = ("--pidfile", tmp_path / "pid", "--conmon-pidfile", tmp_path / "launcher")
    assert program.run("run", *words, "box:1", "true").status == 0
    assert int((tmp_path / "pid").read_text()) > 0
    assert int((tmp_path / "launcher").read_text()) > 0


def test_set_user_id_counts_in_paths_of_run_unless_it_is_refused(program, tmp_path):
    for options, expected in (("", False), (":nosuid,nodev", True)):
        done = ran(program, "-v", f"{tmp_path}:/empty{options}", script="grep ' /empty ' /proc/self/mountinfo")
        assert ("nosuid,nodev" in done) == expected


def test_a_container_starts_those_that_it_requires(program):
    program.run("create", "--name", "one", "box:1", "sleep", "60")
    assert program.run("run", "--requires", "nothing", "box:1", "true").status == 125
    program.run("create", "--name", "two", "--requires", "one", "box:1", "sleep", "60")
    assert program.run("ps", "--json").json == []
    assert program.run("container", "rm", "one").status == 7
    assert program.run("start", "two").status == 0
    assert sorted(one["id"] for one in program.run("ps", "--json").json) == ["one", "two"]


def test_a_startup_check_starts_the_container_again(program):
    check = ("--health-cmd", "true", "--health-startup-cmd", "false", "--health-startup-interval", "100ms")
    words = ("--health-startup-retries", "1", "--stop-timeout", "0", "--name", "one")
    program.run("run", "-d", *check, *words, "box:1", "sleep", "60")
    until = time.monotonic() + 30
    while not program.run("ps", "--all", "--json").json[0]["restarts"] and time.monotonic() < until:
        time.sleep(0.1)
    assert program.run("ps", "--all", "--json").json[0]["restarts"]


def test_a_container_is_replaced(program):
    words = ("run", "-d", "--name", "one", "--replace", "box:1", "sleep", "60")
    for _ in range(2):
        assert program.run(*words).text == "one\n"
    assert [one["status"] for one in program.run("ps", "--json").json] == ["running"]
    assert program.run("run", "--replace", "box:1", "true").status == 125


def test_a_renamed_container_is_not_in_the_way_by_its_id(program):
    program.run("run", "-d", "--name", "one", "box:1", "sleep", "60")
    program.run("rename", "one", "kept")
    assert program.run("run", "-d", "--name", "one", "--replace", "box:1", "sleep", "60").status == 0
    assert sorted(one["names"][0] for one in program.run("ps", "--json").json) == ["kept", "one"]


def test_a_container_that_restarts_is_replaced_for_good(program):
    words = ("run", "-d", "--name", "one", "--replace", "--restart", "always", "box:1", "sleep", "60")
    for _ in range(2):
        assert program.run(*words).status == 0
    assert [one["restarts"] for one in program.run("ps", "--all", "--json").json] == [0]


def test_the_image_goes_with_its_container(program):
    program.run("tag", "box:1", "two:1")
    assert program.run("run", "--rmi", "two:1", "true").status == 0
    names = [name for one in program.run("images", "--json").json for name in one["names"]]
    assert names == ["box:1"]


def test_files_of_the_caller(program, tmp_path):
    (tmp_path / "f").write_text("given\n")
    command = " ".join(program.words("run", "--preserve-fds", "1", "box:1", "cat", "/proc/self/fd/3"))
    done = subprocess.run(
        ["sh", "-c", f"exec 3<{tmp_path}/f; exec {command}"],
        capture_output=True,
        env=program.environment(),
        check=False,
    )
    assert done.stdout == b"given\n", done.stderr
    assert "not open in the caller" in program.run("run", "--preserve-fds", "900", "box:1", "true").err


def test_control_groups_have_the_parent_that_was_given(program):
    found = ran(program, "--cgroupns", "host", "--cgroup-parent", "/arstore-test/deep", script="cat /proc/self/cgroup")
    assert all("/arstore-test/deep/" in line or line.endswith(":/") for line in found.split())
    assert "/arstore-test/deep/" in found
    left = glob.glob("/sys/fs/cgroup/*/arstore-test/deep") + glob.glob("/sys/fs/cgroup/arstore-test/deep")
    try:
        assert [name for path in left for name in os.listdir(path) if os.path.isdir(f"{path}/{name}")] == []
    finally:
        for path in left:
            os.rmdir(path)
            os.rmdir(os.path.dirname(path))


def test_hooks_are_run(program, tmp_path):
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {tmp_path}/$0", "state"]}
    after = {"path": "/bin/touch", "args": ["touch", f"{tmp_path}/after"]}
    for name, one, stages in (("a", hook, ["createRuntime"]), ("b", after, ["poststop"])):
        document = {"version": "1.0.0", "hook": one, "when": {"commands": ["true$"]}, "stages": stages}
        (tmp_path / "hooks").mkdir(exist_ok=True)
        (tmp_path / "hooks" / f"{name}.json").write_text(json.dumps(document))
    assert program.run("run", "--hooks-dir", tmp_path / "hooks", "box:1", "false").status == 1
    assert not (tmp_path / "state").exists()
    assert program.run("run", "--hooks-dir", tmp_path / "hooks", "box:1", "true").status == 0
    assert "ociVersion" in json.loads((tmp_path / "state").read_text())
    assert (tmp_path / "after").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--pid", "host"), "pid namespace"),
        (("--userns", "keep-id"), "those of the host"),
        (("--systemd", "true"), "systemd"),
        (("--sdnotify", "conmon"), "systemd"),
        (("--log-driver", "journald"), "logs are files"),
        (("--log-driver", "foo"), "not a log driver"),
        (("--memory-swap", "1g"), "needs --memory"),
        (("--memory", "64m", "--memory-swap", "32m"), "less than --memory"),
        (("--memory", "64m", "--memory-reservation", "1g"), "more than --memory"),
        (("--cpus", "1", "--cpu-quota", "2000"), "exclude each other"),
        (("--cpu-quota", "999"), "millisecond"),
        (("--cpu-period", "999"), "millisecond"),
        (("--cpuset-cpus", "99999"), "no such CPUs"),
        (("--blkio-weight", "5"), "--blkio-weight"),
        (("--umask", "99"), "not a umask"),
        (("--platform", "linux/s390x", "--pull", "never"), "not for linux/s390x"),
        (("--platform", "linux/s390x", "--arch", "arm64"), "excludes"),
        (("--uts", "host", "-h", "x"), "would change the host"),
        (("--cgroups=disabled", "--cpu-shares", "5"), "needs control groups"),
        (("--annotation", "x"), "not an annotation"),
        (("--tz", "Nowhere/City"), "not a time zone"),
        (("--label-file", "/nonexistent"), "/nonexistent"),
        (("--hooks-dir", "/nonexistent"), "no such directory"),
        (("--init", "--init-path", "/nonexistent"), "no such program"),
        (("--device-read-bps", "/dev/nothing:1m"), "no such device"),
        (("--read-only=maybe",), "--read-only"),
        (("--image-volume", "foo"), "--image-volume"),
    ],
)
def test_what_is_refused(program, words, why):
    done = program.run("run", *words, "box:1", "true")
    assert done.status == 125, done.err
    assert why in done.err
    assert len(done.err.splitlines()) == 1
