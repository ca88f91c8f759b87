"""Containers of an ordinary user, whose commands each enter the user namespace by themselves."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from support import programs
from support.cli import exit_status
from support.ordinary_user import FIRST, UID, ordinary_user
from support.runnable import write_runnable

pytestmark = [pytest.mark.root, pytest.mark.runtime]

NO_NAMESPACES = "echo 0 >/proc/sys/user/max_user_namespaces"
"""In a user namespace around the user's, so that it holds for this user alone."""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    place = tmp_path_factory.mktemp("archives")
    write_runnable(place)
    return place


@pytest.fixture
def user():
    with ordinary_user() as made:
        yield made
        assert made.processes() == []


@pytest.fixture
def single():
    with ordinary_user(ids=0) as made:
        yield made
        assert made.processes() == []


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


def user_namespace_of(user, name):
    state = json.loads((user.root / "containers" / name / "state.json").read_text())
    return os.stat(f"/proc/{state['keeper']['pid']}/ns/user").st_ino


def test_a_container_of_another_user_namespace(user, archives):
    """`unshare` of util-linux makes a namespace that arstore did not know before."""
    with_archive(user, archives, "box.tar")
    words = [*user.prefix, "unshare", "--map-auto", "-Urm", *user.words()[len(user.prefix) :]]
    words += ["run", "-d", "--user", "1", "--name", "web", "box:1", "/bin/busybox", "sleep", "1000"]
    done = subprocess.run(words, env=user.environment(), capture_output=True, text=True, check=False, cwd="/")
    if done.returncode and "map-auto" in done.stderr:
        pytest.skip("this unshare(1) cannot map subordinate ids")
    assert done.returncode == 0, done.stderr
    # From outside, it is joined; in a third one, it cannot be entered, but ended.
    assert user.ok("exec", "web", "/bin/busybox", "id", "-u").text == "1\n"
    apart = [*user.prefix, "unshare", "--map-auto", "-Urm", *user.words()[len(user.prefix) :]]
    done = subprocess.run(
        [*apart, "exec", "web", "/bin/true"], env=user.environment(), capture_output=True, text=True, check=False
    )
    assert "another user namespace" in done.stderr
    done = subprocess.run([*apart, "kill", "web"], env=user.environment(), capture_output=True, text=True, check=False)
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
    user.shell("mkdir -p $HOME/shared && echo hello >$HOME/shared/file")
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
    shown = user.ok("unshare", "sh", "-c", 'cat "$($AR mount greeter:1)/greeting"', AR=" ".join(inner(user))).text
    assert shown
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
    become = ("box:1", "/bin/busybox", "su", "-s", "/bin/sh", "root", "-c", "echo fine")
    assert single.ok("run", *become).text == "fine\n"
    assert single.run("run", "--security-opt", "seccomp=unconfined", *become).status == 1
    path = with_archive(single, archives, "pipeline.tar.gz")
    single.ok("load", "-i", path)
    assert {"counter:1", "greeter:1"} <= names(single)
    assert owners(single.root) == {UID}


def test_without_user_namespaces_the_reason_is_told(archives):
    outer = "exec unshare --user --map-users 0,0,4294967295 --map-groups 0,0,4294967295 "
    before = outer + 'sh -c "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --reuid=$uid --regid=$uid '
    before += '--clear-groups \\"\\$@\\"" sh "$@"'
    with ordinary_user(before=before) as user:
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
