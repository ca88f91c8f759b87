"""`logs`: what of the output is printed, when following ends, and how much of the disk a log takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support import programs
from support.cli import Arstore
from support.waiting import eventually

from arstore.runtime.stdio.logs import log_time


@pytest.fixture
def written(box):
    """Writes logs of containers that never ran, as a launcher does."""

    def write(name, *lines):
        box.ok("create", "--name", name, "box:1")
        text = b"".join(b"%b %b F %b\n" % (log_time(when).encode(), stream, data) for when, stream, data in lines)
        Path(box.root, "containers", name, "log").write_bytes(text)

    return write


@pytest.fixture
def running(box):
    """The store, whose containers run; they are removed at the end."""
    if why := programs.runtime()[1]:
        pytest.skip(why)
    yield Arstore(box.root, box.runroot)
    for one in box.ok("ps", "-a", "--json").json:
        box("container", "rm", "--force", "-t", "0", one["id"])


def test_which_lines(box, written):
    written("web", *[(100 * number, b"stdout", b"%d" % number) for number in range(1, 6)])
    assert box.ok("logs", "web").out == b"1\n2\n3\n4\n5\n"
    assert box.ok("logs", "--tail", "2", "web").out == b"4\n5\n"
    assert box.ok("logs", "--tail", "0", "web").out == b""
    assert box.ok("logs", "--tail", "all", "web").out == box.ok("logs", "--tail", "-1", "web").out
    assert box.ok("logs", "--since", "200", "--until", "400", "web").out == b"2\n3\n4\n"
    assert box.ok("logs", "--since", "300", "--tail", "2", "web").out == b"4\n5\n"
    assert box.ok("logs", "-t", "--tail", "1", "web").out == b"1970-01-01T00:08:20.000000000Z 5\n"
    assert box.ok("logs", "-n", "--tail", "1", "web").out == b"web 5\n"
    assert box.ok("logs", "-f", "--tail", "1", "web").out == b"5\n"


def test_several_containers_by_time(box, written):
    written("a", (1, b"stdout", b"one"), (3, b"stdout", b"three"))
    written("b", (2, b"stderr", b"two"), (4, b"stdout", b"four"))
    result = box.ok("logs", "a", "b")
    assert (result.out, result.err) == (b"a one\na three\nb four\n", "b two\n")
    assert [(one["container"], one["text"]) for one in box.ok("logs", "--json", "b", "a", "b").json] == [
        ("a", "one\n"), ("b", "two\n"), ("a", "three\n"), ("b", "four\n"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words", [("--tail", "x"), ("--tail", "1.5"), ("--since", "soon"), ("--until", "later"), ("--json", "--follow")]
)
def test_usage(box, written, words):
    written("web", (1, b"stdout", b"one"))
    result = box("logs", *words, "web")
    assert result.status == 2
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--log-driver", "journald"),
        ("--log-driver", "passthrough-tty"),
        ("--log-driver", "x"),
        ("--log-opt", "max-size"),
        ("--log-opt", "max-size=x"),
        ("--log-opt", "max-file=0"),
        ("--log-opt", "max-file=1001"),
        ("--log-opt", "path=/x"),
        ("--log-opt", "y=1"),
    ],
)
def test_options_of_the_log(box, words):
    result = box("create", *words, "box:1")
    assert result.status == 125
    assert words[0] in result.err


def test_a_log_is_limited_and_counted(running):
    script = "i=0; while [ $i -lt 5000 ]; do echo line-$i; i=$((i+1)); done"
    limits = ("--log-opt", "max-size=20k", "--log-opt", "max-file=3")
    running.ok("run", "-d", *limits, "--name", "web", "box:1", "sh", "-c", script)
    running.ok("wait", "web")
    files = list(Path(running.root, "containers/web").glob("log*"))
    assert len(files) == 3
    assert all(file.stat().st_size <= 20 << 10 for file in files)
    lines = running.ok("logs", "web").text.splitlines()
    assert lines == [f"line-{number}" for number in range(5000 - len(lines), 5000)]
    assert running.ok("logs", "--tail", "700", "web").text.splitlines() == lines[-700:]
    assert not running.ok("check", "--json").json["findings"]
    before = running.json("du")["containers"]
    files[0].write_bytes(files[0].read_bytes() + b"x" * 40960)
    assert running.json("du")["containers"] > before


def test_following_over_a_restart_and_new_files(running):
    script = "echo begin; i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; echo end; sleep 100"
    limits = ("--log-opt", "max-size=5k", "--log-opt", "max-file=100")
    running.ok("create", *limits, "--name", "web", "box:1", "sh", "-c", script)
    running.ok("start", "web")
    follower = subprocess.Popen(
        running.words("logs", "-f", "web"), env=running.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    once = ["begin", *map(str, range(3000)), "end"]
    eventually(lambda: running.ok("logs", "--tail", "1", "web").text == "end\n", 30)
    running.ok("restart", "-t", "0", "web")
    eventually(lambda: running.ok("logs", "web").text.splitlines()[-1] == "end", 30)
    eventually(lambda: running.ok("logs", "web").text.splitlines().count("end") == 2, 30)
    assert follower.poll() is None
    running.ok("stop", "-t", "0", "web")
    out, err = follower.communicate(timeout=30)
    assert (follower.returncode, err) == (0, b"")
    assert out.decode().splitlines() == once * 2


def test_no_log(running):
    running.ok("run", "-d", "--log-driver", "none", "--name", "web", "box:1", "echo", "x")
    running.ok("wait", "web")
    assert "--log-driver=none" in running.fails("NotFound", "logs", "web")


def test_passthrough(running):
    words = ("--log-driver", "passthrough", "--name", "web", "box:1", "sh", "-c", "echo x; echo y >&2")
    result = running.ok("run", "-d", *words)
    assert sorted(result.text.splitlines()) == ["web", "x"]
    assert result.err == "y\n"
