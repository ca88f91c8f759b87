"""Containers of an ordinary user, whose commands each enter the user namespace by themselves."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support import ordinary, programs
from support.cli import exit_status
from support.ordinary import COUNT, FIRST, UID
from support.runnable import write_runnable

pytestmark = [pytest.mark.root, pytest.mark.runtime]


def processes():
    """The processes that run as the user, or with a subordinate id."""
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.partition(":")[::2] for line in path.read_text().splitlines())
        except OSError:
            continue
        uid = int(fields["Uid"].split()[0])
        if (uid == UID or FIRST <= uid < FIRST + COUNT) and fields["State"].strip()[0] not in "ZX":
            found.append(f"{path.parent.name} {fields['Name'].strip()}")
    return found


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    place = tmp_path_factory.mktemp("archives")
    write_runnable(place)
    return place


@contextmanager
def alone(why, ranges=None):
    if why:
        pytest.skip(why)
    with ordinary.user(ranges) as one:
        try:
            yield one
            # A launcher takes a moment to end after its container.
            until = time.monotonic() + 20
            while processes() and time.monotonic() < until:
                time.sleep(0.05)
            assert processes() == []
        finally:
            for process in processes():
                with suppress(ProcessLookupError):
                    os.kill(int(process.split()[0]), signal.SIGKILL)


@pytest.fixture
def user():
    with alone(ordinary.why_no_namespace()) as one:
        yield one


@pytest.fixture
def single():
    with alone(ordinary.why_none(), ranges="") as one:
        yield one


def with_archive(user, archives, name):
    """Copy the archive to where the user can read it, and import it unless it is a pipeline's."""
    path = user.home / name
    path.write_bytes((archives / name).read_bytes())
    path.chmod(0o644)
    if name == "box.tar":
        user.ok("import", path)
    return path


def owners(directory):
    return {os.lstat(Path(at, name)).st_uid for at, names, files in os.walk(directory) for name in [*names, *files]}


def test_a_command_and_its_files(user, archives):
    with_archive(user, archives, "box.tar")
    shown = user.ok("run", "box:1", "/bin/sh", "-c", "/bin/busybox id -u; echo $0; /bin/busybox cat /proc/self/uid_map")
    assert shown.text.split() == ["0", "/bin/sh", "0", str(UID), "1", "1", str(FIRST), "65536"]
    script = "/bin/busybox touch /mine /other; /bin/busybox chown 1000:5 /other; /bin/busybox ls -ln /"
    kept = user.ok("run", "--keep", "--name", "kept", "box:1", "/bin/sh", "-c", script).text
    assert " 1000     5 " in " ".join(kept.split(" "))
    # On the host, root of the container is the user, and another user of it has a subordinate id.
    upper = user.root / "containers/kept/upper"
    assert (upper / "mine").stat().st_uid == UID
    assert (upper / "other").stat().st_uid == FIRST + 999
    assert (upper / "other").stat().st_gid == FIRST + 4
    # A commit keeps the owners as the container has them.
    user.ok("commit", "kept", "next:1")
    assert " 1000 " in user.ok("run", "next:1", "/bin/busybox", "stat", "-c", " %u ", "/other").text
    user.ok("container", "rm", "kept")
    assert user.json("ps", "--all") == []
    assert owners(user.root / "containers") == set()
    user.ok("rm", "next:1")
    user.ok("gc")
    assert owners(user.root) == {UID}


def test_other_commands_act_on_a_running_container(user, archives):
    with_archive(user, archives, "box.tar")
    script = "echo here; trap 'exit 3' TERM; while :; do /bin/busybox sleep 0.1; done"
    user.ok("run", "-d", "--user", "1000:1000", "--name", "web", "box:1", "/bin/sh", "-c", script)
    assert user.ok("exec", "web", "/bin/busybox", "id", "-u").text == "1000\n"
    assert user.ok("exec", "-u", "0", "web", "/bin/busybox", "touch", "/made").status == 0
    assert "1000" in user.ok("top", "web", "user").text
    until = time.monotonic() + 20
    while "here" not in user.ok("logs", "web").text:
        assert time.monotonic() < until
    user.ok("cp", "web:/made", user.home / "made")
    # Another one shares its user namespace, and both are known by one process at least.
    user.ok("run", "-d", "--name", "next", "box:1", "/bin/busybox", "sleep", "1000")
    spaces = {user_namespace_of(user, name) for name in ("web", "next")}
    assert len(spaces) == 1
    # The command's own user may not signal another user's process without that namespace.
    user.ok("stop", "web")
    found = {one["id"]: one for one in user.json("ps", "--all")}
    assert (found["web"]["status"], found["web"]["exit_code"]) == ("exited", 3)
    user.ok("restart", "-t", "0", "web")
    user.ok("kill", "next")
    user.ok("container", "rm", "--force", "-t", "0", "web", "next")
    assert user.json("ps", "--all") == []
    user.ok("check")


def test_what_info_says_after_a_container_has_run(user, archives):
    with_archive(user, archives, "box.tar")
    user.ok("run", "-d", "--name", "web", "box:1", "/bin/busybox", "sleep", "1000")
    found = {one["action"]: one for one in user.json("info")["abilities"]}
    assert found["run containers"]["possible"] is True
    assert "has run a container in this boot" in found["run containers"]["why"]
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        reason = "control groups are of version 1, which only root can use"
        assert reason in found["limit a container's memory and processes"]["why"]
        outcome = user.run("pause", "web")
        assert outcome.status == exit_status("Host")
        assert outcome.err.endswith(f"has no control group to be paused with: this host's {reason}\n")
    user.ok("container", "rm", "--force", "-t", "0", "web")


def user_namespace_of(user, name):
    state = json.loads((user.root / "containers" / name / "state.json").read_text())
    return os.stat(f"/proc/{state['keeper']['pid']}/ns/user").st_ino


def test_a_kill_leaves_nothing(user, archives):
    with_archive(user, archives, "box.tar")
    user.ok("run", "-d", "--name", "kept", "--user", "7", "box:1", "/bin/busybox", "sleep", "1000")
    user.ok("run", "-d", "--rm", "--name", "passing", "box:1", "/bin/busybox", "sleep", "1000")
    for name in ("kept", "passing"):
        state = json.loads((user.root / "containers" / name / "state.json").read_text())
        os.kill(state["launcher"]["pid"], signal.SIGKILL)
    until = time.monotonic() + 20
    while processes() and time.monotonic() < until:
        time.sleep(0.05)
    assert processes() == []
    # The namespace has ended with the last process; the next command makes another one, and clears up.
    user.ok("gc")
    assert [(one["id"], one["status"]) for one in user.json("ps", "--all")] == [("kept", "dead")]
    user.ok("container", "rm", "kept")
    assert owners(user.root / "containers") == set()
    user.ok("check")


def test_a_container_of_another_user_namespace(user, archives):
    """`unshare` of util-linux makes a namespace that arstore did not know before."""
    with_archive(user, archives, "box.tar")
    apart = ("unshare", "--map-auto", "-Urm", *inner(user))
    done = user.program(
        *apart, *("run", "-d", "--user", "1", "--name", "web", "box:1", "/bin/busybox", "sleep", "1000")
    )
    if done.returncode and "map-auto" in done.stderr:
        pytest.skip("this unshare(1) cannot map subordinate ids")
    assert done.returncode == 0, done.stderr
    # From outside, it is joined; in a third one, it cannot be entered, but ended.
    assert user.ok("exec", "web", "/bin/busybox", "id", "-u").text == "1\n"
    assert "another user namespace" in user.program(*apart, "exec", "web", "/bin/true").stderr
    done = user.program(*apart, "kill", "web")
    assert done.returncode == 0, done.stderr
    user.ok("wait", "web")
    user.ok("container", "rm", "web")


def test_what_only_root_may(user, archives):
    with_archive(user, archives, "box.tar")

    def refused(kind, *options):
        outcome = user.run("run", *options, "box:1", "/bin/true")
        assert outcome.status in {125, 126}, outcome
        (line,) = [line for line in outcome.err.splitlines() if "warning" not in line]
        assert kind in line
        return line

    assert "65537 ids" in refused("user 70000: ", "--user", "70000")
    refused("group 99999: ", "--group-add", "99999")
    assert "--uidmap" in refused("only the host's root may map the ids of mounts", "--uidmap", "0:100000:65536")
    refused("only root may set rules", "--device-cgroup-rule", "c 1:3 rwm")
    refused("may set at most", "--ulimit", "nofile=1048577:1048577")
    if programs.program("pasta") or programs.program("slirp4netns"):
        line = refused("port 0.0.0.0:80/tcp: ", "--network", "private", "-p", "80:80") if has_tun() else ""
        assert not line or "ip_unprivileged_port_start" in line
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        done = user.ok("run", "-m", "64m", "--cgroup-parent", "/x", "box:1", "/bin/true")
        assert "warning: --memory, --cgroup-parent: left out, because this host's control groups are of version 1" in (
            done.err
        )


def has_tun():
    return os.path.exists("/dev/net/tun") and os.stat("/dev/net/tun").st_mode & 0o006 == 0o006


def test_devices_networks_and_volumes(user, archives):
    with_archive(user, archives, "box.tar")
    script = "/bin/busybox head -c 3 /dev/own | /bin/busybox wc -c; /bin/busybox cat /proc/net/dev | /bin/busybox wc -l"
    both = user.ok("run", "--device", "/dev/zero:/dev/own", "--network", "host", "box:1", "/bin/sh", "-c", script).text
    assert both.split()[0] == "3"
    assert int(both.split()[1]) >= 3
    assert user.program("sh", "-c", "mkdir $HOME/shared && echo hello >$HOME/shared/file").returncode == 0
    volume = f"{user.home}/shared:/shared:U"
    user.ok("run", "--user", "33", "-v", volume, "box:1", "/bin/sh", "-c", "echo more >>/shared/file")
    assert (user.home / "shared/file").stat().st_uid == FIRST + 32
    line = user.run("run", "-v", "/etc/hosts:/x:U", "box:1", "/bin/true").err
    assert "option U: this user may not change the owner" in line
    user.ok("run", "--user", "5", "-v", "named:/n", "box:1", "/bin/sh", "-c", "echo x >/n/f")
    assert (user.root / "volumes/named/data/f").stat().st_uid == FIRST + 4
    user.ok("volume", "rm", "named")


def test_a_pipeline(user, archives):
    path = with_archive(user, archives, "pipeline.tar.gz")
    user.ok("load", "-i", path)
    assert {"counter:1", "greeter:1"} <= names(user)
    shown = user.inside('cat "$(ar mount greeter:1)/greeting"')
    assert (shown.returncode, bool(shown.stdout)) == (0, True), shown.stderr
    user.ok("gc")
    user.ok("check")


def names(user):
    return {name for one in user.json("images") for name in one["names"]}


def inner(user):
    """The command line inside of the user's own namespace."""
    return user.words()[len(user.prefix) :]


def test_with_a_single_id(single, archives):
    with_archive(single, archives, "box.tar")
    done = single.ok("run", "box:1", "/bin/busybox", "id")
    assert done.text.startswith("uid=0 gid=0")
    assert "no subordinate ids" in done.err
    line = single.run("run", "--user", "1", "box:1", "/bin/true").err
    assert "this user's containers have 1 id" in line
    # A program that wants to be sure of its groups goes on, although the kernel refuses to set them.
    script = "echo root:x:0:0::/:/bin/sh >/etc/passwd; exec /bin/busybox su root -c 'echo fine'"
    become = ("box:1", "/bin/sh", "-c", script)
    assert single.ok("run", *become).text == "fine\n"
    assert single.run("run", "--security-opt", "seccomp=unconfined", *become).status == 1
    path = with_archive(single, archives, "pipeline.tar.gz")
    single.ok("load", "-i", path)
    assert {"counter:1", "greeter:1"} <= names(single)
    assert owners(single.root) == {UID}


def test_without_user_namespaces_the_reason_is_told(archives):
    with alone(ordinary.why_none()) as user:
        every = "0,0,4294967295"
        outer = ("unshare", "--user", f"--map-users={every}", f"--map-groups={every}", "sh", "-c")
        none = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
        user.prefix = (*outer, none, "sh", *user.prefix)
        if (done := user.program("true")).returncode:
            pytest.skip(f"no user namespace with a separate setting: {done.stderr}")
        with_archive(user, archives, "box.tar")
        for words in (("run", "box:1", "/bin/true"), ("exec", "x", "/bin/true"), ("load", "box:1")):
            outcome = user.run(*words)
            assert outcome.status in {125, exit_status("Host")}
            (line,) = outcome.err.splitlines()
            assert "need a user namespace: " in line
            assert "user.max_user_namespaces" in line


@pytest.mark.long
def test_the_image_that_builds_images(user, single):
    """A nested build by buildah, if the archive of it is given."""
    archive = os.environ.get("ARSTORE_TEST_NEST")
    if not archive:
        pytest.skip("ARSTORE_TEST_NEST names no archive of a pipeline that builds with buildah")
    for one, options in ((user, ()), (single, ("--cap-add", "SYS_ADMIN"))):
        one.ok("load", *options, "-i", archive, timeout=600)
        for name in names(one) - {"nest:latest"}:
            assert one.ok("run", name, "/bin/sh", "-c", "echo ran").text == "ran\n"
        assert len(names(one)) == 4
