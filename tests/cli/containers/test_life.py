"""A container's life on a real runtime: create, start, restart, policies, pause, rename, removal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import images
from support.waiting import eventually

from arstore.disk.cgroups import freezer

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("start", "nothing"), 125),
        (("start", "-a", "one", "two"), 125),
        (("start",), 125),
        (("restart", "nothing"), 3),
        (("create", "nothing:1"), 125),
        (("create", "--rm", "--restart", "always", "x"), 125),
        (("pause", "nothing"), 3),
        (("unpause", "nothing"), 3),
        (("rename", "nothing", "other"), 3),
        (("rename", "nothing"), 2),
        (("container", "rm", "-t", "1", "nothing"), 2),
        (("container", "rm", "--force", "nothing"), 0),
        (("container", "prune"), 0),
    ],
)
def test_without_a_container(arstore, words, status):
    result = arstore(*words)
    assert result.status == status
    assert len(result.err.splitlines()) == (status != 0)


def about(box, name):
    """The entry of a container in `ps`; None if there is none."""
    return next((one for one in box.ok("ps", "-a", "--json").json if name in one["names"]), None)


def ended(box, name):
    return not about(box, name)["running"]


def state(box, container_id):
    return json.loads(Path(box.root, "containers", container_id, "state.json").read_text())


def kill_launcher(box, container_id):
    os.kill(state(box, container_id)["launcher"]["pid"], signal.SIGKILL)
    eventually(lambda: about(box, container_id)["status"] == "dead")


@pytest.fixture
def tidy(box):
    """The same, without containers in the end."""
    yield box
    for one in box.ok("ps", "-a", "--json").json:
        box.ok("container", "rm", "-f", "-t", "0", one["id"])


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
class TestLife:
    def test_a_container_is_created_and_started_again_and_again(self, tidy, tmp_path):
        (tmp_path / "data").mkdir()
        words = ("-e", "A=b c", "-v", f"{tmp_path}/data:/mnt", "-w", "/tmp", "--memory", "64m")
        script = 'echo "$A" $PWD; echo line >> /file; echo line >> /mnt/file; cat /file; exit 4'
        assert tidy.ok("create", "--name", "c", *words, "box:1", "sh", "-c", script).out == b"c\n"
        assert about(tidy, "c")["status"] == "created"
        result = tidy("start", "-a", "c")
        assert (result.status, result.out) == (4, b"b c /tmp\nline\n")
        assert tidy.ok("start", "c").out == b"c\n"
        assert tidy.ok("wait", "c").out == b"4\n"
        assert tidy.ok("logs", "c").out == b"b c /tmp\nline\nline\n"
        assert tidy.ok("restart", "c").out == b"c\n"
        assert tidy.ok("wait", "c").out == b"4\n"
        assert (tmp_path / "data/file").read_text() == "line\n" * 3
        assert tidy.ok("diff", "c").text.count("file") == 1

    def test_a_running_one_is_left_alone(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "box:1", "sleep", "100")
        before = state(tidy, "c")
        assert tidy.ok("start", "c", "c").out == b"c\n"
        assert state(tidy, "c") == before
        assert tidy.ok("restart", "-t", "0", "--json", "c").json == {"restarted": ["c"]}
        assert about(tidy, "c")["status"] == "running"
        assert state(tidy, "c")["process"] != before["process"]

    def test_containers_without_a_request(self, tidy):
        tidy.ok("mount", "--rw", "--name", "w", "box:1")
        tidy.ok("umount", "w")
        result = tidy("start", "w")
        assert result.status == 125
        assert "mount --rw" in result.err
        assert "commit" in result.err
        assert tidy("restart", "w").status == 3

    def test_a_mounted_one_is_not_started(self, tidy):
        tidy.ok("create", "--name", "c", "box:1")
        tidy.ok("mount", "c")
        result = tidy("start", "c")
        assert result.status == 125
        assert "is mounted" in result.err
        assert tidy("restart", "c").status == 7
        tidy.ok("umount", "c")
        tidy.ok("start", "c")

    def test_a_damaged_request(self, tidy):
        tidy.ok("create", "--name", "c", "box:1")
        path = Path(tidy.root, "containers/c/run.json")
        path.write_bytes(path.read_bytes()[:-9])
        result = tidy("start", "c")
        assert result.status == 125
        assert "damaged" in result.err
        assert len(result.err.splitlines()) == 1
        assert [found["kind"] for found in tidy("check", "--json").json["findings"]] == ["container-request"]

    def test_one_that_cannot_be_started_stays(self, tidy):
        tidy.ok("create", "--name", "c", "box:1", "/nothing")
        assert tidy("start", "c").status == 127
        assert about(tidy, "c")["status"] == "failed"
        assert tidy("start", "-a", "c").status == 127
        assert tidy("restart", "c").status == 53

    def test_two_at_once(self, tidy):
        """One starts the container, the other one finds it running."""
        tidy.ok("create", "--name", "c", "box:1", "sh", "-c", "echo x >> /runs; sleep 100")
        line = [sys.executable, "-m", "arstore", "--root", tidy.root, "--runroot", tidy.runroot, "start", "c"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        both = [subprocess.Popen(line, stdout=subprocess.PIPE, env=environment) for _ in range(2)]
        assert [one.communicate(timeout=60)[0] for one in both] == [b"c\n"] * 2
        assert [one.returncode for one in both] == [0, 0]
        assert tidy.ok("exec", "c", "cat", "/runs").out == b"x\n"

    def test_removed_at_its_end(self, tidy):
        for words in (("run", "-d", "--rm"), ("create", "--rm")):
            tidy.ok(*words, "--name", "c", "box:1", "sh", "-c", "sleep 0.3; exit 5")
            tidy.ok("start", "c")
            assert tidy.ok("wait", "c").out == b"5\n"
            eventually(lambda: about(tidy, "c") is None)
        assert os.listdir(Path(tidy.root, "containers")) == []
        tidy.ok("create", "--rm", "--name", "c", "box:1")
        assert tidy.ok("start", "-a", "c").out == b"default\n"
        assert about(tidy, "c") is None

    def test_restart_of_one_that_is_removed_at_its_end(self, tidy):
        tidy.ok("run", "-d", "--rm", "--name", "c", "box:1", "sh", "-c", "echo x >> /runs; sleep 100")
        for count in (1, 2):
            # What was not written before the restart never is.
            eventually(lambda count=count: tidy("exec", "c", "cat", "/runs").out == b"x\n" * count)
            tidy.ok("restart", "-t", "0", "c")
        assert about(tidy, "c")["status"] == "running"
        eventually(lambda: tidy.ok("exec", "c", "cat", "/runs").out == b"x\n" * 3)
        tidy.ok("stop", "-t", "0", "c")
        eventually(lambda: about(tidy, "c") is None)

    @pytest.mark.parametrize("words", [("--rm",), ("--restart", "always")])
    def test_a_timeout_of_a_detached_one(self, tidy, words):
        # The time for a trial of the runtime counts too, and this run finds one. So does that of the start, which takes
        # a second on a busy machine.
        tidy.ok("run", "box:1")
        tidy.ok("run", "-d", *words, "--stop-timeout", "0", "--timeout", "2", "--name", "c", "box:1", "sleep", "100")
        if words == ("--rm",):
            eventually(lambda: about(tidy, "c") is None)
        else:
            eventually(lambda: about(tidy, "c")["restarts"] > 1)

    def test_stdin_as_it_was_asked_for(self, tidy):
        line = [sys.executable, "-m", "arstore", "--root", tidy.root, "--runroot", tidy.runroot, "start"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        for name, words, expected in (("c", ("-i",), b"typed"), ("d", (), b"")):
            tidy.ok("create", *words, "--name", name, "box:1", "cat")
            for option in ("-a", "-i"):
                done = subprocess.run([*line, option, name], input=b"typed", capture_output=True, env=environment)
                assert (done.returncode, done.stdout) == (0, expected)

    def test_removed_after_a_kill(self, tidy):
        tidy.ok("run", "-d", "--rm", "--name", "c", "box:1", "sleep", "100")
        kill_launcher(tidy, "c")
        # The kernel may still be ending its processes.
        eventually(lambda: tidy.ok("run", "box:1") and about(tidy, "c") is None)

    def test_removed_by_force_while_it_removes_itself(self, tidy):
        tidy.ok("run", "-d", "--rm", "--name", "c", "box:1", "sleep", "100")
        tidy.ok("container", "rm", "-f", "-t", "0", "c")
        assert about(tidy, "c") is None

    def test_a_killed_launcher_and_a_new_start(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "box:1", "sh", "-c", "echo x >> /runs; cat /runs; sleep 100")
        kill_launcher(tidy, "c")
        tidy.ok("start", "c")
        eventually(lambda: tidy.ok("logs", "c").out == b"x\nx\nx\n")

    def test_the_files_of_a_killed_launcher_are_collected(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "box:1", "sleep", "100")
        directory = Path(tidy.root, "containers/c")
        assert not tidy.ok("gc", "--json").json["orphans"]
        kill_launcher(tidy, "c")
        assert (directory / "attach").is_socket()
        gone = tidy.ok("gc", "--json").json["orphans"]
        assert {"containers/c/attach", "containers/c/state.json.1"} <= {*gone}
        left = {path.name for path in directory.iterdir()}
        assert left == {"upper", "work", "bundle", "whole", "record", "run.json", "state.json", "log"}
        assert about(tidy, "c")["status"] == "dead"
        tidy.ok("start", "c")

    def test_policies(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "--restart", "on-failure:2", "box:1", "sh", "-c", "echo x; exit 3")
        eventually(lambda: ended(tidy, "c"), 30)
        found = about(tidy, "c")
        assert (found["status"], found["exit_code"], found["restarts"]) == ("exited", 3, 2)
        assert tidy.ok("logs", "c").out == b"x\n" * 3
        tidy.ok("run", "-d", "--name", "d", "--restart", "on-failure", "box:1", "true")
        assert tidy.ok("wait", "d").out == b"0\n"
        eventually(lambda: ended(tidy, "d"))
        assert about(tidy, "d")["restarts"] == 0

    @pytest.mark.parametrize("ending", [("stop",), ("kill",), ("kill", "-s", "USR1"), ("container", "rm", "-f")])
    def test_a_user_ends_it_for_good(self, tidy, ending):
        script = "trap 'exit 1' TERM USR1; echo x >> /runs; while :; do sleep 0.05; done"
        tidy.ok("run", "-d", "--name", "c", "--restart", "always", "box:1", "sh", "-c", script)
        os.kill(state(tidy, "c")["process"]["pid"], signal.SIGKILL)
        eventually(lambda: (found := about(tidy, "c"))["restarts"] == 1 and found["status"] == "running")
        tidy.ok(*ending, "c")
        if ending[0] == "container":
            assert about(tidy, "c") is None
            return
        eventually(lambda: ended(tidy, "c"))
        assert about(tidy, "c")["status"] == "exited"
        assert about(tidy, "c")["restarts"] == 1

    def test_a_stop_during_the_pause(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "--restart", "always", "box:1", "sh", "-c", "exit 6")
        # The pauses become longer than the runs soon.
        eventually(lambda: (found := about(tidy, "c"))["restarts"] >= 3 and found["status"] == "restarting", 60)
        tidy.ok("stop", "c")
        found = about(tidy, "c")
        assert (found["status"], found["exit_code"]) == ("exited", 6)

    def test_a_policy_in_the_foreground(self, tidy):
        result = tidy("run", "--name", "c", "--restart", "on-failure:1", "box:1", "sh", "-c", "echo x >> /runs; exit 3")
        assert result.status == 3
        eventually(lambda: ended(tidy, "c"), 30)
        assert about(tidy, "c")["restarts"] == 1
        assert (Path(tidy.root) / "containers/c/upper/runs").read_text() == "x\n" * 2

    def test_pause(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "box:1", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
        if freezer(os.path.join(tidy.root, "containers/c")) is None:
            pytest.skip("this host has no freezer of control groups")
        assert tidy.ok("pause", "c").out == b"c\n"
        assert about(tidy, "c")["status"] == "paused"
        for words, status in (
            (("pause", "c"), 7),
            (("stop", "c"), 7),
            (("restart", "c"), 7),
            (("start", "c"), 125),
            (("exec", "c", "true"), 125),
            (("container", "rm", "c"), 7),
        ):
            result = tidy(*words)
            assert result.status == status, words
            assert "paused" in result.err or words[0] == "container"
        tidy.ok("kill", "-s", "TERM", "c")
        assert about(tidy, "c")["status"] == "paused"
        assert tidy.ok("unpause", "c").out == b"c\n"
        assert tidy.ok("wait", "c").out == b"7\n"
        assert tidy("unpause", "c").status == 3
        tidy.ok("start", "c")
        tidy.ok("pause", "c")
        tidy.ok("kill", "c")
        assert tidy.ok("wait", "c").out == b"137\n"

    def test_a_launcher_killed_while_its_container_is_paused(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "box:1", "sleep", "100")
        if freezer(os.path.join(tidy.root, "containers/c")) is None:
            pytest.skip("this host has no freezer of control groups")
        tidy.ok("pause", "c")
        kill_launcher(tidy, "c")
        tidy.ok("start", "c")
        assert about(tidy, "c")["status"] == "running"
        tidy.ok("pause", "c")
        tidy.ok("container", "rm", "-f", "-t", "0", "c")

    def test_names(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "box:1", "sleep", "100")
        tidy.ok("rename", "c", "old")
        assert about(tidy, "old")["id"] == "c"
        assert about(tidy, "c") is None
        second = tidy.ok("create", "--name", "c", "box:1").text.strip()
        assert second != "c"
        assert about(tidy, "c")["id"] == second
        # A name comes before an id.
        assert tidy.ok("start", "-a", "c").out == b"default\n"
        assert about(tidy, "old")["status"] == "running"
        for taken in ("old", "c"):
            assert tidy("create", "--name", taken, "box:1").status == 125
            assert tidy("mount", "--rw", "--name", taken, "box:1").status == 6
        assert tidy("rename", "old", "c").status == 6
        assert tidy("rename", "old", "a/b").status == 5
        tidy.ok("rename", "old", "old")
        tidy.ok("container", "rm", "c")
        tidy.ok("rename", "old", "c")
        assert about(tidy, "c")["id"] == "c"
        assert tidy.ok("exec", "c", "id", "-u").out == b"0\n"
        tidy.ok("stop", "-t", "0", "c")
        tidy.ok("rename", "c", "other")
        tidy.ok("mount", "other")
        tidy.ok("umount", "other")
        assert tidy.ok("mounts", "--json").json == []

    def test_rm_is_for_images(self, tidy):
        tidy.ok("run", "-d", "--name", "c", "box:1", "sleep", "100")
        result = tidy("rm", "c")
        assert result.status == 3
        assert "arstore container rm c" in result.err
        assert tidy("rm", "box:1").status == 7
        plan = tidy.ok("rm", "--force", "--dry-run", "box:1")
        assert "removed container c\nuntagged box:1\n" in plan.text
        assert about(tidy, "c")["status"] == "running"
        tidy.ok("tag", "box:1", "box:2")
        assert tidy.ok("rm", "--force", "--json", "box:2").json["containers"] == []
        done = tidy.ok("rm", "--force", "--json", "box:1").json
        assert done["containers"] == ["c"]
        assert len(done["removed"]) == 1
        assert tidy.ok("ps", "-a", "--json").json == []

    def test_prune(self, tidy):
        tidy.ok("run", "--keep", "--name", "one", "box:1")
        tidy.ok("create", "--name", "two", "box:1")
        tidy.ok("run", "-d", "--name", "three", "box:1", "sleep", "100")
        tidy.ok("mount", "--rw", "--name", "four", "box:1")
        tidy.ok("umount", "four")
        plan = tidy.ok("container", "prune", "--dry-run", "--json").json
        assert plan["removed"] == ["one", "two"]
        assert plan["freed"] > 0
        assert len(tidy.ok("ps", "-a", "--json").json) == 4
        assert tidy.ok("container", "prune", "-f").text.startswith("one\ntwo\n")
        assert [one["id"] for one in tidy.ok("ps", "-a", "--json").json] == ["four", "three"]

    def test_volumes_of_the_image_stay(self, tidy, tmp_path):
        layers = [images.Layer(one, one) for one in [(tmp_path / "box.layer").read_bytes()]]
        odd = images.image(*layers, names=["odd:1"], config={"Volumes": {"/data": {}}})
        tidy.ok("-q", "import", images.write_oci_archive(tmp_path / "odd.tar", odd))
        tidy.ok("create", "--name", "c", "odd:1", "sh", "-c", "echo x >> /data/file; cat /data/file")
        assert tidy.ok("start", "-a", "c").out == b"x\n"
        assert tidy.ok("start", "-a", "c").out == b"x\nx\n"


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
class TestHealth:
    def test_a_check_that_is_scheduled(self, tidy):
        words = ("--health-cmd", "cat /ok", "--health-interval", "200ms", "--health-retries", "2")
        tidy.ok("run", "-d", "--name", "c", *words, "box:1", "sleep", "100")
        eventually(lambda: about(tidy, "c")["health"] == "unhealthy", 30)
        tidy.ok("exec", "c", "sh", "-c", "echo fine > /ok")
        eventually(lambda: about(tidy, "c")["health"] == "healthy", 30)
        log = json.loads(Path(tidy.root, "containers/c/health.json").read_text())["log"]
        assert log[-1]["output"] == "fine\n"
        tidy.ok("restart", "-t", "0", "c")
        eventually(lambda: about(tidy, "c")["health"] == "healthy", 30)

    def test_by_hand(self, tidy):
        words = ("--health-cmd", '["cat", "/ok"]', "--health-interval", "disable")
        tidy.ok("run", "-d", "--name", "c", *words, "box:1", "sleep", "100")
        assert about(tidy, "c")["health"] == "starting"
        result = tidy("healthcheck", "run", "c")
        assert (result.status, result.out) == (1, b"unhealthy\n")
        tidy.ok("exec", "c", "sh", "-c", "echo fine > /ok")
        assert tidy.ok("healthcheck", "run", "c").out == b""
        found = tidy.ok("healthcheck", "run", "--json", "c").json
        assert (found["health"], found["exit_code"], found["output"]) == ("healthy", 0, "fine\n")
        tidy.ok("stop", "-t", "0", "c")
        assert tidy("healthcheck", "run", "c").status == 125
        tidy.ok("run", "-d", "--name", "d", "box:1", "sleep", "100")
        result = tidy("healthcheck", "run", "d")
        assert result.status == 125
        assert "no health check" in result.err

    def test_a_check_that_takes_too_long_ends(self, tidy):
        words = ("--health-cmd", "sleep 50", "--health-timeout", "300ms", "--health-interval", "disable")
        tidy.ok("run", "-d", "--name", "c", *words, "box:1", "sleep", "100")
        result = tidy("healthcheck", "run", "--json", "c")
        assert result.status == 1
        assert "longer than 0.3 s" in result.json["output"]
        script = "cat /proc/[0-9]*/cmdline"
        eventually(lambda: b"50" not in tidy("exec", "c", "sh", "-c", script).out)

    @pytest.mark.parametrize(("action", "restarts"), [("kill", False), ("stop", False), ("restart", True)])
    def test_actions(self, tidy, action, restarts):
        words = ("--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1", "--stop-timeout", "0")
        tidy.ok("run", "-d", "--name", "c", *words, "--health-on-failure", action, "box:1", "sleep", "100")
        if restarts:
            eventually(lambda: about(tidy, "c")["restarts"] >= 2, 30)
            tidy.ok("stop", "c")
        eventually(lambda: ended(tidy, "c"), 30)
        assert about(tidy, "c")["status"] == "exited"

    def test_the_check_of_an_image(self, tidy, tmp_path):
        layers = [images.Layer(one, one) for one in [(tmp_path / "box.layer").read_bytes()]]
        odd = images.image(*layers, names=["odd:1"], config={"Healthcheck": {"Test": ["CMD", "true"]}})
        tidy.ok("-q", "import", images.write_oci_archive(tmp_path / "odd.tar", odd))
        tidy.ok("run", "-d", "--name", "c", "odd:1", "sleep", "100")
        eventually(lambda: about(tidy, "c")["health"] == "healthy", 30)
        tidy.ok("run", "-d", "--name", "d", "--no-healthcheck", "odd:1", "sleep", "100")
        assert about(tidy, "d")["health"] is None

    @pytest.mark.parametrize(
        "words",
        [
            ("--no-healthcheck", "--health-cmd", "true"),
            ("--health-interval", "3x"),
            ("--health-retries", "0"),
            ("--health-on-failure", "nothing"),
            ("--health-cmd", "[]"),
        ],
    )
    def test_what_is_refused(self, tidy, words):
        assert tidy("run", *words, "box:1").status == 125
