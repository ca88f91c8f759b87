"""`run`: a container's output, status and limits, through a runtime that works on this host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import features, images
from support.copying import copy_store

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]

APPLETS = ["cat", "echo", "env", "false", "hostname", "id", "ls", "pwd", "sh", "sleep", "touch", "true"]


@pytest.fixture(scope="module")
def box_image(busybox):
    """An image of busybox, named box:1."""
    members = [images.directory("./"), images.directory("bin")]
    members.append(images.file("bin/busybox", Path(busybox).read_bytes(), 0o755))
    members += [images.symlink(f"bin/{name}", "busybox") for name in APPLETS]
    members += [images.directory("etc"), images.directory("tmp", 0o1777), images.file("etc/data", b"", 0o644)]
    members.append(images.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/home:/bin/sh\n"))
    members.append(images.file("etc/group", b"root:x:0:\nmain:x:1001:\nmore:x:2000:user\n"))
    config = {"Env": ["PATH=/bin", "FROM=image"], "Cmd": ["echo", "default"], "WorkingDir": "/etc"}
    return images.image(images.layer(members, "none"), names=["box:1"], config=config)


@pytest.fixture
def box(store, tmp_path_factory, box_image):
    """A store with an image of busybox."""
    copy_store(tmp_path_factory, box_image, store.root, store.runroot)
    return store


def shell(store, script, *options, **more):
    return store.run("run", *options, "box:1", "sh", "-c", script, **more)


def test_the_images_own_command(box):
    assert box.ok("run", "box:1").out == b"default\n"


def test_output_goes_where_it_belongs(box):
    outcome = shell(box, "echo out; echo err >&2")
    assert (outcome.status, outcome.out, outcome.err) == (0, b"out\n", "err\n")


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)])
def test_its_exit_status_is_the_commands(box, script, status):
    assert shell(box, script).status == status


CANNOT_START = [("nowhere", 127), ("/no/where", 127), ("/etc/data", 126), ("/etc", 126)]


@pytest.mark.parametrize(("command", "status"), CANNOT_START)
def test_commands_that_cannot_be_started(box, command, status):
    outcome = box.run("run", "box:1", command)
    assert (outcome.status, outcome.out) == (status, b"")
    assert outcome.err.startswith("arstore: ")
    assert len(outcome.err.splitlines()) == 1


def test_own_errors_are_125(box):
    outcome = box.run("run", "nothing:1")
    assert (outcome.status, len(outcome.err.splitlines())) == (125, 1)


def test_input_is_passed(box):
    assert box.ok("run", "-i", "box:1", "cat", data=b"from outside").out == b"from outside"


def test_environment_directory_user(box):
    assert shell(box, "echo $FROM $MORE $PWD", "-e", "MORE=x y").out == b"image x y /etc\n"
    assert shell(box, "pwd", "-w", "/tmp").out == b"/tmp\n"
    assert shell(box, "id -u; id -g; id -G", "-u", "user").out == b"1000\n1001\n1001 2000\n"
    assert shell(box, "id -u; id -g", "-u", "5:6").out == b"5\n6\n"
    assert box.ok("run", "--entrypoint", "/bin/echo", "box:1", "a", "b").out == b"a b\n"


def test_volumes(box, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("seen")
    assert shell(box, "cat /v/file; echo x >/v/new", "-v", f"{outside}:/v").out == b"seen"
    assert (outside / "new").read_text() == "x\n"
    assert shell(box, "echo x >/v/newer", "-v", f"{outside}:/v:ro").status != 0
    assert not (outside / "newer").exists()


def test_it_is_a_container(box):
    outcome = shell(box, "echo $$; ls /proc/1/root >/dev/null && touch /written; ls -d /sys/firmware/*; true")
    assert outcome.out.splitlines()[0] == b"1"
    assert shell(box, "touch /x", "--read-only").status != 0
    assert shell(box, "ls /sys/class/net").out == b"lo\n"
    assert b"written" not in shell(box, "ls /").out


def test_nothing_is_left(box):
    before = box.files()
    shell(box, "touch /x")
    assert box.json("mounts") == []
    assert box.files() == before
    assert str(box.runroot) not in Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    box.ok("check")


def test_a_container_that_is_kept(box):
    assert shell(box, "echo kept >/file", "--keep", "--name", "mine").status == 0
    path = box.ok("mount", "mine").text.strip()
    assert Path(path, "file").read_text() == "kept\n"
    box.ok("umount", "mine")


def wait_for(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {seconds} s"
        time.sleep(0.02)


def commands():
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


def test_signals_reach_the_command(box):
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        box.words("run", "box:1", "sh", "-c", script), stdout=subprocess.PIPE, env=box.environment(), cwd="/"
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == b"got it\n"
    assert process.returncode == 9


def test_nothing_outlives_arstore(box):
    script = f"echo ready; sleep 3600; : {box.root.name}-victim"
    process = subprocess.Popen(
        box.words("run", "box:1", "sh", "-c", script), stdout=subprocess.PIPE, env=box.environment(), cwd="/"
    )
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    marker = script.encode()
    wait_for(lambda: not any(marker in one for one in commands()), "the end of the container")
    wait_for(lambda: str(box.runroot) not in Path("/proc/self/mountinfo").read_text(), "the end of its mounts")
    assert shell(box, "echo again").out == b"again\n"
    box.ok("gc")
    box.ok("check")


@pytest.mark.skipif(not features.detached_clones(), reason="the kernel clones no detached mounts (before 6.15)")
def test_containers_of_one_image_share_its_file_system(box, tmp_path):
    """Overlayfs shows other device numbers for the only layer's files, so the layer is examined from outside."""
    if not can_use_index_form(box):
        pytest.skip("the index form cannot be mounted here")
    box.ok("run", "-d", "--name", "first", "box:1", "sleep", "600")
    box.ok("run", "-d", "--name", "second", "box:1", "sleep", "600")
    try:
        first, second = held(box)
        assert first == second
        kill_launcher(box, "first")
        box.ok("run", "-d", "--name", "third", "box:1", "sleep", "600")
        assert held(box) == [first, first]
        mounted = box.ok("mount", "box:1").out.decode().strip()
        assert Path(mounted, "bin/sh").exists()
        kill_launcher(box, "second")
        assert box.ok("exec", "third", "cat", "/etc/data").out == b""
        kill_launcher(box, "third")
        assert Path(mounted, "bin/busybox").stat().st_size > 0
    finally:
        box.ok("umount", "--all")
        box.run("container", "rm", "--force", "-t", "0", "first", "second", "third")
    box.ok("gc")
    assert list((box.runroot / "shared").iterdir()) == []


def can_use_index_form(box):
    return any(box.root.glob("trees/*/layer.erofs"))


def held(box):
    """The devices of the mounts that launchers hold."""
    found = []
    for entry in box.runroot.glob("shared/*/*"):
        _, pid, fd = entry.name.split(".")
        if Path(f"/proc/{pid}").exists():
            found.append(os.stat(f"/proc/{pid}/fd/{fd}").st_dev)
    return found


def kill_launcher(box, name):
    state = json.loads((box.root / "containers" / name / "state.json").read_bytes())
    pid = state["launcher"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the launcher's end")
