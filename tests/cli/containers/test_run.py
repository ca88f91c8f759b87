"""`run`, `ps`, `logs`, `exec`, `kill` and `container rm`: the grammar everywhere, running where containers work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import images
from support.waiting import eventually

from arstore.cli.containers.options.env import environment
from arstore.cli.containers.options.setting import parse_entrypoint
from arstore.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", ()), ("/bin/sh", ("/bin/sh",)), ("a b", ("a b",)), ('["a", "b c"]', ("a", "b c")), ("[]", ())],
)
def test_entrypoint(text, words):
    assert parse_entrypoint(text) == words


@pytest.mark.parametrize("text", ["[", "[1]", '["a", {}]', "[" * 100_000])
def test_entrypoints_that_are_none(text):
    with pytest.raises(UsageError):
        parse_entrypoint(text)


def test_environment(monkeypatch):
    monkeypatch.setenv("GIVEN", "v=1")
    monkeypatch.delenv("ABSENT", raising=False)
    assert environment(["A=1", "GIVEN", "ABSENT", "B="]) == ("A=1", "GIVEN=v=1", "B=")
    with pytest.raises(UsageError):
        environment(["=x"])


def test_a_limit_in_which_no_runtime_works(arstore):
    result = arstore("run", "--json", "--memory", "1k", "x")
    assert (result.status, result.error["kind"]) == (126, "RuntimeFailed")


@pytest.mark.parametrize(
    "words",
    [
        ("--keep", "--rm", "x"),
        ("-d", "--rm", "--restart", "always", "x"),
        ("--restart", "sometimes", "x"),
        ("--restart", "always:3", "x"),
        ("-d", "-i", "x"),
        ("--timeout", "0", "x"),
        ("--memory", "lots", "x"),
        ("--cpus", "0", "x"),
        ("--pids-limit", "0", "x"),
        ("--network", "bridge", "x"),
        ("-v", "/a", "x"),
        ("-v", "/nonexistent-source:/b", "x"),
        ("-e", "=1", "x"),
        ("-l", "=1", "x"),
        ("--hostname", "a b", "x"),
        ("--stop-signal", "SIGNOTHING", "x"),
        ("--entrypoint", "[", "x"),
        ("--nonsense", "x"),
        (),
    ],
)
def test_what_run_cannot_do_is_125(arstore, words):
    result = arstore("run", *words)
    assert result.status == 125
    assert len(result.err.splitlines()) == 1
    result = arstore("run", "--json", *words)
    assert result.error["exit_code"] == 125
    assert result.error["kind"] in {"Usage", "NotFound"}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("logs", "nothing"), 3),
        (("exec", "nothing", "true"), 125),
        (("exec", "nothing"), 125),
        (("kill", "nothing"), 3),
        (("kill", "-s", "NONSENSE", "nothing"), 2),
        (("container", "rm", "nothing"), 3),
    ],
)
def test_containers_that_do_not_exist(arstore, words, status):
    result = arstore(*words)
    assert result.status == status
    assert len(result.err.splitlines()) == 1


def derived(box, tmp_path, process, **document):
    """Import odd:1, box:1 with another config: *process* for its `config`, and *document* for further members."""

    def edit(members):
        diff_ids = members["rootfs"]["diff_ids"]
        members.update({"config": process, **document})
        members["rootfs"]["diff_ids"] = diff_ids

    layers = [images.Layer(one, one) for one in [(tmp_path / "box.layer").read_bytes()]]
    box.ok(
        "-q",
        "import",
        images.write_oci_archive(tmp_path / "odd.tar", images.image(*layers, names=["odd:1"], edit_config=edit)),
    )


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
class TestContainers:
    def test_streams_and_status(self, box):
        assert box.ok("run", "box:1").out == b"default\n"
        result = box("run", "box:1", "sh", "-c", "echo out; echo err >&2; exit 42")
        assert (result.status, result.out, result.err) == (42, b"out\n", "err\n")
        assert box.ok("ps", "-a", "--json").json == []

    def test_words_after_the_image_are_the_commands_own(self, box):
        assert box.ok("run", "box:1", "echo", "--json", "-q", "--", "--help").out == b"--json -q -- --help\n"

    @pytest.mark.parametrize(("command", "status"), [("nothing", 127), ("/etc/passwd", 126), ("/tmp", 126)])
    def test_commands_that_cannot_be_run(self, box, command, status):
        result = box("run", "--json", "box:1", command)
        assert result.status == status
        assert result.error["exit_code"] == status

    def test_options_reach_the_container(self, box, tmp_path):
        (tmp_path / "file").write_text("from the host")
        tmp_path.chmod(0o755)
        words = ["-e", "A=b c", "-u", "user", "-w", "/tmp", "--hostname", "there", "-v", f"{tmp_path}:/mnt/x:ro"]
        script = 'echo "$A" $(id -u):$(id -g) $PWD $(cat /etc/hostname) $(cat /mnt/x/file); echo no > /mnt/x/new'
        result = box("run", *words, "box:1", "sh", "-c", script)
        assert result.out == b"b c 7:8 /tmp there from the host\n"
        assert result.status != 0
        assert not (tmp_path / "new").exists()
        assert box.ok("run", "--entrypoint", "echo", "box:1", "only").out == b"only\n"

    def test_what_makes_no_sense_in_a_config_is_left_out(self, box, tmp_path):
        process = {
            "Env": ["A=1", "NAME_ALONE", "", "=x"],
            "Cmd": "id",
            "Volumes": {"relative": {}, "/": {}},
            "Shell": 3,
        }
        derived(box, tmp_path, process, rootfs={"type": "x"}, history="x", created=3)
        assert box.ok("run", "odd:1").out.startswith(b"uid=0")
        result = box.ok("run", "odd:1", "busybox", "env")
        assert {b"A=1", b"NAME_ALONE="} <= set(result.out.splitlines())
        told = ["config.Env[3]", "config.Shell", "config.Volumes.relative", "config.Volumes./"]
        assert "warning: odd:1: parts of its config are ignored: " in result.err
        assert all(one in result.err for one in told)
        assert "history" not in result.err

    @pytest.mark.parametrize(
        ("process", "more", "answer"),
        [
            ({"User": 7}, ("-u", "0"), b"0\n"),
            ({"WorkingDir": 1}, ("-w", "/"), b"0\n"),
            ({"Entrypoint": {}, "Cmd": ["-u"]}, ("--entrypoint", "id"), b"0\n"),
            ({"Cmd": [1]}, (), b"0\n"),
        ],
    )
    def test_what_a_process_cannot_do_without_is_not_guessed(self, box, tmp_path, process, more, answer):
        derived(box, tmp_path, {"Entrypoint": ["id"], "Cmd": ["-u"], **process})
        result = box("run", "--json", "odd:1")
        assert (result.status, result.out) == (125, b"")
        assert result.error["kind"] == "ImageConfig"
        assert box.ok("run", *more, "odd:1", "-u").out == answer

    def test_stdin_only_when_asked_for(self, box):
        line = [sys.executable, "-m", "arstore", "--root", box.root, "--runroot", box.runroot, "run"]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        for more, expected in ((["-i"], b"typed"), ([], b"")):
            words = [*line, *more, "box:1", "cat"]
            done = subprocess.run(words, input=b"typed", capture_output=True, check=True, env=env)
            assert done.stdout == expected

    def test_kept(self, box):
        box.ok("run", "--keep", "--name", "kept", "box:1", "sh", "-c", "echo x > /new")
        [about] = box.ok("ps", "--all", "--json").json
        assert (about["id"], about["status"], about["exit_code"]) == ("kept", "exited", 0)
        assert box("run", "--keep", "--name", "kept", "box:1").status == 125
        path = Path(box.ok("mount", "kept").text.strip())
        assert (path / "new").read_text() == "x\n"
        box.ok("umount", "kept")
        assert box("rm", "box:1").status == 7
        box.ok("container", "rm", "kept")
        box.ok("rm", "box:1")

    def test_life_after_detaching(self, box):
        script = "echo begin; echo wrong >&2; trap 'echo end; exit 3' TERM; while :; do sleep 0.05; done"
        assert box.ok("run", "-d", "--name", "d", "box:1", "sh", "-c", script).out == b"d\n"
        [about] = box.ok("ps", "--json").json
        assert (about["id"], about["name"], about["status"], about["detached"]) == ("d", "box:1", "running", True)
        assert about["pid"] > 0
        assert box("container", "rm", "d").status == 7
        assert box.ok("exec", "-e", "A=1", "d", "sh", "-c", "echo $A $$").out.startswith(b"1 ")
        assert box("exec", "d", "sh", "-c", "exit 9").status == 9
        assert box("exec", "d", "nothing").status == 127
        eventually(lambda: box.ok("logs", "d").out == b"begin\n")
        assert box.ok("kill", "--json", "-s", "TERM", "d").json == {"killed": ["d"], "signal": signal.SIGTERM}
        result = box.ok("logs", "--follow", "d")
        assert (result.out, result.err) == (b"begin\nend\n", "wrong\n")
        assert box.ok("ps", "--json").json == []
        [about] = box.ok("ps", "-a", "--json").json
        assert (about["status"], about["exit_code"]) == ("exited", 3)
        lines = box.ok("logs", "--json", "d").json
        assert {(line["stream"], line["text"]) for line in lines} == {
            ("stdout", "begin\n"), ("stderr", "wrong\n"), ("stdout", "end\n"),
        }  # fmt: skip
        assert box.ok("logs", "-t", "d").text.startswith(lines[0]["time"][:10])
        assert box("kill", "d").status == 3
        assert box("exec", "d", "true").status == 125
        assert box.ok("container", "rm", "--json", "d").json == {"removed": ["d"]}

    def test_json_when_detached(self, box):
        made = box.ok("run", "--json", "-d", "box:1", "sleep", "60").json
        assert made["image"].startswith("sha256:")
        assert [about["id"] for about in box.ok("ps", "--json").json] == [made["container"]]
        box.ok("container", "rm", "--force", made["container"])
        assert box.ok("ps", "--all", "--json").json == []

    def test_the_table(self, box):
        box.ok("run", "-d", "--name", "t", "box:1", "sh", "-c", "echo 'a\nb'; exit 5")
        box.ok("logs", "-f", "t")
        eventually(lambda: box.ok("ps", "-a", "--json").json[0]["status"] == "exited")
        head, line = box.ok("ps", "--all").text.splitlines()
        assert head.split() == ["ID", "IMAGE", "STATUS", "EXIT", "CREATED", "COMMAND", "NAME"]
        assert line.split()[:4] == ["t", "box:1", "exited", "5"]
        assert line.endswith("sh -c echo 'a\\nb'; exit 5  t")

    def test_a_timeout(self, box):
        result = box("run", "--json", "--timeout", "0.3", "--stop-timeout", "0.5", "box:1", "sleep", "60")
        assert result.status == 255
        assert result.error["kind"] == "PipelineTimeout"
        assert box.ok("ps", "-a", "--json").json == []

    def test_a_runtime_that_is_none(self, box):
        result = box("run", "--json", "--runtime", "/nonexistent/runc", "box:1")
        assert result.status == 125
        assert result.error["kind"] == "RuntimeMissing"


def test_what_the_runtime_made_is_no_change(box, tmp_path):
    """Neither mount points nor the times of their directories count as changes."""
    (tmp_path / "host").mkdir()
    places = ("-v", f"{tmp_path}/host:/srv/deep/host", "--tmpfs", "/tmp/scratch")
    box.ok("run", "--keep", "--name", "c", *places, "box:1", "true")
    assert box.ok("diff", "c").text == ""
    box.ok("run", "--keep", "--name", "d", *places, "box:1", "sh", "-c", "echo x >/tmp/x; echo y >/srv/deep/y")
    told = box.ok("diff", "d").text.split()
    assert {"/tmp/x", "/srv/deep/y"} <= set(told)
    assert not {"/etc", "/tmp/scratch", "/srv/deep/host"} & set(told)
    box.ok("-q", "commit", "d", "new:1")
    box.ok("run", "--keep", "--name", "e", "new:1", "true")
    root = Path(box.ok("mount", "e").text.strip())
    assert (root / "srv/deep/y").read_text() == "y\n"
    assert not (root / "srv/deep/host").exists()
    box.ok("umount", "e")


def test_several_capabilities_and_groups_in_one_word(box):
    script = (
        "while read -r name value; do case $name in CapBnd:|Groups:) echo $name $value;; esac; done </proc/self/status"
    )
    apart = box.ok(
        "run",
        "--cap-add",
        "NET_ADMIN",
        "--cap-add",
        "SYS_TIME",
        "--group-add",
        "5",
        "--group-add",
        "6",
        "box:1",
        "sh",
        "-c",
        script,
    )
    joined = box.ok("run", "--cap-add", "NET_ADMIN,SYS_TIME", "--group-add", "5,6", "box:1", "sh", "-c", script)
    assert joined.text == apart.text
    assert "Groups: 0 5 6" in joined.text
