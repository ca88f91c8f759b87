"""Networks of containers, with the real helpers, on a host in a namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support import images, programs
from support.network_world import ADDRESS, ANSWER, World, kill, until, why_none

HELPERS = ("pasta", "slirp4netns")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A host with an image."""
    reason = why_none() or programs.why_no_mounts() or ("" if programs.busybox() else "busybox-static is not installed")
    if reason:
        pytest.skip(reason)
    with World(tmp_path_factory.mktemp("world")) as made:
        made.add_image()
        yield made


@pytest.fixture(params=HELPERS)
def helper(request, world):
    """Each helper that is installed."""
    if reason := why_none(request.param):
        pytest.skip(reason)
    return request.param


def words(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split()


def running(world, *options: str, script: str, name: str) -> None:
    done = world.arstore("run", "-d", "--name", name, *options, "box:1", "sh", "-c", script)
    assert done.returncode == 0, done.stderr


def test_servers_of_the_host_are_reached_at_its_address_only(world, helper):
    world.serve("tcp", ADDRESS, 7001, "public")
    world.serve("tcp", "127.0.0.1", 7002, "private")
    world.serve("tcp", "::1", 7003, "private")
    script = (
        f"wget -qO- http://{ADDRESS}:7001; echo; nslookup a.example {ADDRESS} | grep -o {ANSWER};"
        "for to in 127.0.0.1 10.0.2.2 10.0.2.3 10.0.2.100 169.254.1.2; do timeout 1 wget -qO- http://$to:7002; done;"
        "for to in [::1] 10.0.2.2 [fd00::2]; do timeout 1 wget -qO- http://$to:7003; done; echo end"
    )
    done = world.arstore("run", f"--network={helper}", "box:1", "sh", "-c", script)
    assert words(done) == ["public", ANSWER, "end"]


def test_the_host_loopback_is_reached_if_asked_for(world):
    if reason := why_none("slirp4netns"):
        pytest.skip(reason)
    world.serve("tcp", "127.0.0.1", 7005, "private")
    network = "--network=slirp4netns:allow_host_loopback=true"
    assert words(world.arstore("run", network, "box:1", "wget", "-qO-", "http://10.0.2.2:7005")) == ["private"]


def test_names_are_asked_of_the_hosts_resolver(world, helper):
    done = world.arstore("run", f"--network={helper}", "box:1", "sh", "-c", "cat /etc/resolv.conf; nslookup a.example")
    assert done.stdout.decode().splitlines()[:3] == ["search example.org", "nameserver 10.0.2.3", "options timeout:2"]
    assert ANSWER in done.stdout.decode()


def test_ports(world, helper):
    options = (f"--network={helper}", "-p", "8080:80", "-p", "127.0.0.1:8081:81", "-p", "8090-8091:90-91/udp")
    serve = "mkdir /a /b; echo web >/a/index.html; echo local >/b/index.html; httpd -p 80 -h /a; httpd -p 81 -h /b;"
    serve += "sleep 300"
    running(world, *options, script=serve, name=f"ports-{helper}")
    try:
        assert world.ask("tcp", ADDRESS, 8080) == "web\n"
        assert world.ask("tcp", "127.0.0.1", 8080) == "web\n"
        assert world.ask("tcp", "127.0.0.1", 8081) == "local\n"
        assert world.ask("tcp", ADDRESS, 8081, 0) == ""
        world.serve("udp", "0.0.0.0", 91, "u91", _state(world, f"ports-{helper}")["process"]["pid"])
        assert world.ask("udp", ADDRESS, 8091) == "u91"
    finally:
        world.end(f"ports-{helper}")
    assert world.ask("tcp", ADDRESS, 8080, 0) == ""
    until(lambda: not world.helpers())


def test_a_port_in_use(world, helper):
    world.serve("tcp", ADDRESS, 8100 + len(helper), "mine")
    port = str(8100 + len(helper))
    before = words(world.arstore("ps", "-a", "--json"))
    for more in ((), ("-d",)):
        done = world.arstore("run", *more, f"--network={helper}", "-p", f"{port}:80", "box:1", "true")
        assert done.returncode == 126
        assert done.stderr.decode() == f"arstore: port 0.0.0.0:{port}/tcp: is in use on this host\n"
    assert words(world.arstore("ps", "-a", "--json")) == before
    assert not world.helpers()


def test_all_exposed_ports_get_a_place(world):
    world.add_image("web:1", ExposedPorts={"80/tcp": {}, "nonsense": {}, "53/udp": {}})
    script = "echo web >/index.html; httpd -f -p 80 -h /"
    done = world.arstore(
        "run", "-d", "--name", "web", "--network=private", "-P", "--expose", "90", "web:1", "sh", "-c", script
    )
    assert done.returncode == 0, done.stderr
    try:
        found = subprocess.run(
            world.words("sh", "-c", "cat /proc/net/tcp"), capture_output=True, check=True
        ).stdout.decode()
        lines = [line.split() for line in found.splitlines()[1:]]
        ports = [
            int(line[1].partition(":")[2], 16) for line in lines if line[1].startswith("00000000:") and line[3] == "0A"
        ]
        assert len(ports) == 2
        assert "web\n" in [world.ask("tcp", ADDRESS, port, 3) for port in ports]
    finally:
        world.end("web")


@pytest.mark.parametrize("victim", ["container", "launcher", "keeper", "helper"])
def test_nothing_is_left_after_a_kill(world, helper, victim):
    until(lambda: not world.helpers())
    name = f"victim-{helper}-{victim}"
    command = world.arstore_words(
        "run", "--name", name, f"--network={helper}", "-p", "8200:80", "box:1", "sleep", "300"
    )
    process = world.popen(*command)
    until(lambda: _state(world, name).get("status") == "running")
    state = _state(world, name)
    assert len(world.helpers()) == 1
    if victim == "launcher":
        os.kill(state["launcher"]["pid"], 9)
    elif victim == "keeper":
        os.kill(state["keeper"]["pid"], 9)
    elif victim == "container":
        assert world.arstore("kill", name).returncode == 0
    else:
        os.kill(world.helpers()[0], 9)
        assert process.poll() is None
        assert world.arstore("kill", name).returncode == 0
    process.wait(timeout=30)
    until(lambda: not world.helpers())
    assert world.ask("tcp", ADDRESS, 8200, 0) == ""
    words(world.arstore("run", f"--network={helper}", "-p", "8200:80", "box:1", "true"))


def _state(world, name):
    path = world.store / "containers" / name / "state.json"
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def test_many_at_once(world, helper):
    world.serve("tcp", ADDRESS, 7100 + len(helper), "public")
    command = world.arstore_words(
        "run", f"--network={helper}", "box:1", "wget", "-qO-", f"http://{ADDRESS}:{7100 + len(helper)}"
    )
    started = [world.popen(*command) for _ in range(6)]
    assert [process.communicate(timeout=60)[0] for process in started] == [b"public"] * 6
    until(lambda: not world.helpers())


def test_other_processes_of_a_container_have_its_network(world, helper):
    world.serve("tcp", ADDRESS, 7200 + len(helper), "public")
    name = f"exec-{helper}"
    running(world, f"--network={helper}", script="sleep 300", name=name)
    try:
        assert words(world.arstore("exec", name, "wget", "-qO-", f"http://{ADDRESS}:{7200 + len(helper)}")) == [
            "public"
        ]
    finally:
        world.end(name)


def test_a_namespace_is_joined(world, tmp_path):
    subprocess.run(world.words("ip", "netns", "add", "arstore-test"), check=True)
    try:
        script = "ls /sys/class/net; cat /etc/resolv.conf"
        named = words(world.arstore("run", "--network=ns:/run/netns/arstore-test", "box:1", "sh", "-c", script))
        assert named[0] == "lo"
        assert named[-1] == "timeout:2"
    finally:
        subprocess.run(world.words("ip", "netns", "del", "arstore-test"), check=True)
    with world.popen("sleep", "60") as process:
        done = world.arstore("run", f"--network=ns:/proc/{process.pid}/ns/net", "box:1", "ls", "/sys/class/net")
        assert {"d0", "lo"} <= set(words(done))
        refused = world.arstore("run", f"--network=ns:/proc/{process.pid}/ns/uts", "box:1", "true")
        assert (refused.returncode, refused.stderr.count(b"\n")) == (125, 1)
        kill(process)


def test_files_of_names(world):
    options = ("--hostname", "me", "--add-host", "db;cache:10.1.1.1", "--add-host", "up:host-gateway", "--name", "n1")
    script = "cat /etc/hosts"
    found = world.arstore("run", "--network=private", *options, "box:1", "sh", "-c", script).stdout.decode()
    assert found.splitlines() == [
        "10.1.1.1\tdb cache",
        f"{ADDRESS}\tup",
        "127.0.0.1\tlocalhost",
        "198.51.100.5\tneighbour",
        f"{ADDRESS}\thost.containers.internal host.docker.internal",
        "10.0.2.100\tme n1",
    ]
    found = world.arstore("run", "--network=none", *options, "box:1", "sh", "-c", script).stdout.decode()
    assert found.splitlines() == [
        "10.1.1.1\tdb cache",
        f"{ADDRESS}\tup",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "127.0.0.1\tme n1",
    ]
    options = ("--dns", "9.9.9.9,8.8.8.8", "--dns-search", "x.org", "--dns-option", "ndots:2")
    found = world.arstore("run", "--network=host", *options, "box:1", "cat", "/etc/resolv.conf").stdout.decode()
    assert found == "search x.org\nnameserver 9.9.9.9\nnameserver 8.8.8.8\noptions ndots:2\n"


def test_files_of_the_image(world):
    members = [
        images.directory("etc"),
        *(images.file(f"etc/{name}", b"image\n") for name in ("hosts", "hostname", "resolv.conf")),
    ]
    world.add_image("named:1", members)
    script = "cat /etc/hosts /etc/hostname /etc/resolv.conf"
    options = ("--network=private", "--no-hosts", "--no-hostname", "--dns=none")
    assert words(world.arstore("run", *options, "named:1", "sh", "-c", script)) == ["image"] * 3
    found = world.arstore("run", "--hosts-file=image", "--name", "x", "named:1", "cat", "/etc/hosts").stdout.decode()
    assert found.splitlines()[0] == "image"
    assert found.splitlines()[-1] == "127.0.0.1\tx"


def test_addresses(world):
    if reason := why_none("pasta"):
        pytest.skip(reason)
    options = ("--network=private", "--ip", "10.9.8.7", "--mac-address", "92:d0:c6:0a:29:33")
    found = world.arstore("run", *options, "box:1", "ip", "addr").stdout.decode()
    assert "inet 10.9.8.7/24" in found
    assert "link/ether 92:d0:c6:0a:29:33" in found


def test_without_a_helper(world, tmp_path):
    (tmp_path / "bin").mkdir()
    probe = "from arstore.runtime.networking import network; network._MORE_PLACES = ();network.find_helper('private')"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env=os.environ | {"PATH": str(tmp_path / "bin")},
        capture_output=True,
        check=False,
    )
    last = done.stderr.decode().splitlines()[-1]
    assert last.endswith(
        "--network=private: neither pasta nor slirp4netns is installed; `apt install passt` installs it"
    )


def test_a_helper_that_fails_says_why(world, tmp_path):
    fake = tmp_path / "pasta"
    fake.write_text("#!/bin/sh\necho 'first' >&2\necho 'no tap\033[0m device' >&2\nexit 3\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = world.words("env", f"PATH={path}", *world.arstore_words("run", "--network=pasta", "box:1", "true"))
    done = subprocess.run(command, env=world.environment, capture_output=True, check=False)
    assert done.returncode == 126
    assert done.stderr.decode() == "arstore: --network=pasta: pasta: first; no tap [0m device\n"
    assert words(world.arstore("ps", "-a", "--json"))[-1:] == ["[]"] or b"running" not in done.stdout
