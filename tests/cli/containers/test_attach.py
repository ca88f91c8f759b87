"""`attach`, detaching, and what is left of a container when a client goes: on a real runtime, with real terminals."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.cli import Arstore
from support.ptys import Terminal
from support.waiting import PATIENCE, eventually

KEYS = b"\x10\x11"
pytestmark = [pytest.mark.root, pytest.mark.usefixtures("runtime")]


@pytest.fixture
def runtime():
    from support import programs

    if why := programs.runtime()[1]:
        pytest.skip(why)


class Box(Arstore):
    """The store with the image box:1, used by other processes."""

    __call__ = Arstore.run


@pytest.fixture
def box(box):
    return Box(box.root, box.runroot)


@pytest.fixture
def terminal(box):
    """Runs commands, each on a terminal."""
    running = []

    def start(*words, **more):
        running.append(Terminal(box.words(*words), box.environment(), **more))
        return running[-1]

    yield start
    for one in running:
        one.__exit__(None, None, None)
    for one in box.ok("ps", "-a", "--json").json:
        box("container", "rm", "--force", "-t", "0", one["id"])


def state(box, name):
    return json.loads(Path(box.root, "containers", name, "state.json").read_text())


def restarts(box, name):
    found = state(box, name)
    return found["restarts"] if found["status"] == "running" else None


def gone(box, name):
    return not Path(box.root, "containers", name).exists()


def popen(box, *words, **pipes):
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
    return subprocess.Popen(box.words(*words), env=box.environment(), **given)


def attached(process):
    """Wait until a client catches signals: then it is attached.

    Before its program is started, the process is a copy of this one, whose `readline` catches SIGWINCH, too.
    """

    def catches():
        if b"arstore" not in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0"):
            return False
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), 16)
        return caught >> (signal.SIGWINCH - 1) & 1

    eventually(catches)
    return process


def drained(box, client):
    """Wait until a client has everything that the launcher has for it: neither has anything to do."""
    launcher = state(box, "web")["launcher"]["pid"]

    def waits():
        tasks = [
            path for pid in (launcher, *children(launcher), client.pid) for path in Path(f"/proc/{pid}/task").iterdir()
        ]
        return all((path / "stat").read_text().rpartition(")")[2].split()[0] == "S" for path in tasks)

    def is_quiet():
        for _ in range(5):
            time.sleep(0.05)
            if not waits():
                return False
        return True

    eventually(is_quiet)


def children(pid):
    return [int(one) for path in Path(f"/proc/{pid}/task").iterdir() for one in (path / "children").read_text().split()]


def test_detach_attach_and_exit(box, terminal):
    with terminal("run", "-it", "--name", "web", "box:1", "sh") as one:
        one.type(b"A=first; echo say-$A\n")
        one.until(b"say-first")
        one.type(KEYS)
        assert one.end() == 0
        assert b"arstore attach web" in one.seen
    assert state(box, "web")["status"] == "running"
    with terminal("attach", "web") as two:
        two.type(b"echo still-$A\n")
        two.until(b"still-first")
        two.type(b"exit 7\n")
        assert two.end() == 7
    # It was one that is removed at its end, and the launcher has done so.
    eventually(lambda: gone(box, "web"))


def test_run_it_leaves_nothing_and_has_the_status(box, terminal):
    with terminal("run", "-it", "--name", "web", "box:1", "sh", "-c", "echo out; exit 9") as one:
        assert one.end() == 9
        assert b"out\r\n" in one.seen
    assert gone(box, "web")


def test_errors_of_a_start_are_those_of_run(box, terminal):
    with terminal("run", "-it", "--name", "web", "box:1", "/nothing") as one:
        assert one.end() == 127
        assert b"arstore: " in one.seen
    assert gone(box, "web")


def test_a_kept_container_keeps_its_log(box, terminal):
    with terminal("run", "-it", "--keep", "--name", "web", "box:1", "sh") as one:
        one.type(b"echo told-$((1+1))\n")
        one.until(b"told-2")
        one.type(b"exit 3\n")
        assert one.end() == 3
    assert "told-2" in box.ok("logs", "web").text
    assert state(box, "web")["exit_code"] == 3


def test_other_keys(box, terminal):
    with terminal(
        "run", "-it", "--detach-keys", "ctrl-a,x", "--name", "web", "box:1", "sh", "-c", "echo up; cat"
    ) as one:
        one.until(b"up")
        one.type(KEYS + b"\x01y")
        # The container's terminal takes ^Q for itself.
        one.until(b"^P^Ay")
        one.type(b"\x01x")
        assert one.end() == 0


def test_no_keys(box, terminal):
    with terminal(
        "run", "-it", "--detach-keys", "", "--name", "web", "box:1", "sh", "-c", "echo up; cat; exit 4"
    ) as one:
        one.until(b"up")
        one.type(KEYS)
        one.until(b"^P")
        one.type(b"\n\x04")
        assert one.end() == 4


def test_keys_that_are_none(box):
    for keys in ("ctrl-1", "abc", "a,,b", "ctrl-"):
        result = box("run", "--detach-keys", keys, "box:1")
        assert (keys, result.status) == (keys, 125)
        assert "--detach-keys" in result.err


def test_size_follows(box, terminal):
    script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while true; do sleep 0.1; done"
    words = ("run", "-it", "--name", "web", "box:1", "sh", "-c", script.replace("stty", "busybox stty"))
    with terminal(*words, size=(33, 99)) as one:
        one.until(b"33 99")
        one.until(b"ready")
        one.resize(44, 111)
        one.until(b"44 111")
        assert one.end() == 0


def test_a_killed_terminal_ends_its_container_unless_it_has_detached(box, terminal):
    with terminal("run", "-it", "--keep", "--name", "web", "box:1", "sh", "-c", "echo up; sleep 100") as one:
        one.until(b"up")
        os.kill(one.pid, signal.SIGKILL)
        eventually(lambda: state(box, "web")["status"] == "exited")
    assert state(box, "web")["exit_code"] == 137


def test_a_killed_launcher_ends_its_client(box, terminal):
    with terminal("run", "-it", "--keep", "--name", "web", "box:1", "sh", "-c", "echo up; sleep 100") as one:
        one.until(b"up")
        os.kill(state(box, "web")["launcher"]["pid"], signal.SIGKILL)
        assert one.end() == 137
    assert box.ok("ps", "-a", "--json").json[0]["status"] == "dead"
    assert box("attach", "web").status == 125
    # The socket that the launcher has left is replaced.
    box.ok("start", "web")
    assert state(box, "web")["status"] == "running"


def test_detached_with_input(box, terminal):
    box.ok("run", "-di", "--name", "web", "box:1", "cat")
    first = popen(box, "attach", "web", stdin=subprocess.PIPE)
    second = attached(popen(box, "attach", "--no-stdin", "web"))
    first.stdin.write(b"one\n")
    first.stdin.flush()
    assert first.stdout.readline() == b"one\n"
    # A client that is killed says nothing about the end of the input.
    first.kill()
    first.wait()
    assert state(box, "web")["status"] == "running"
    third = box("attach", "web", data=b"two\n")
    assert (third.status, third.out) == (0, b"two\n")
    out, _ = second.communicate(timeout=PATIENCE)
    assert out.endswith(b"two\n")
    assert second.returncode == 0
    assert box.ok("logs", "web").out == b"one\ntwo\n"


def test_streams_stay_apart(box, terminal):
    box.ok("run", "-di", "--name", "web", "box:1", "sh", "-c", "cat; echo error >&2; exit 5")
    result = box("attach", "web", data=b"out\n")
    assert (result.status, result.out, result.err) == (5, b"out\n", "error\n")


def test_much_input_comes_through_whole(box, terminal):
    data = os.urandom(3 << 20)
    box.ok("run", "-di", "--log-driver", "none", "--name", "web", "box:1", "sh", "-c", "sleep 1; cat")
    result = box("attach", "web", data=data)
    assert result.status == 0
    assert result.out == data


def test_a_terminal_in_the_background(box, terminal):
    box.ok("run", "-dit", "--name", "web", "box:1", "sh")
    with terminal("attach", "web") as one:
        one.type(b"echo it-is-$((2+3))\n")
        one.until(b"it-is-5")
        one.type(KEYS)
        assert one.end() == 0
    with terminal("attach", "web") as one, attached(terminal("attach", "web")) as two:
        one.type(b"echo for-$((1+1))-all\n")
        one.until(b"for-2-all")
        two.until(b"for-2-all")
        one.type(b"exit 6\n")
        assert one.end() == 6
        assert two.end() == 6


def test_a_client_that_is_stopped_delays_nobody(box, terminal):
    line = "line" + 12 * "-$i"
    script = f"read x; i=0; while [ $i -lt 30000 ]; do echo {line}; i=$((i+1)); done; echo end"
    script += "; read x; exit 4"
    box.ok("run", "-di", "--name", "web", "box:1", "sh", "-c", script)
    slow = attached(popen(box, "attach", "--no-stdin", "web"))
    slow.send_signal(signal.SIGSTOP)
    with popen(box, "attach", "web", stdin=subprocess.PIPE) as fast:
        fast.stdin.write(b"go\n")
        fast.stdin.flush()
        assert sum(1 for _ in itertools.takewhile(lambda line: line != b"end\n", fast.stdout)) == 30000
        # After its container's end a launcher waits for a client for two seconds.
        slow.send_signal(signal.SIGCONT)
        drained(box, slow)
        fast.stdin.write(b"end\n")
        fast.stdin.flush()
        assert fast.wait(PATIENCE) == 4
    out, err = slow.communicate(timeout=PATIENCE)
    assert out.startswith(b"line-0-")
    assert b"was not printed" in err
    assert box.ok("logs", "--tail", "1", "web").out == b"end\n"


def test_signals(box, terminal):
    script = "trap 'echo usr; exit 3' USR1; echo up; while true; do sleep 0.1; done"
    box.ok("run", "-d", "--name", "web", "box:1", "sh", "-c", script)
    eventually(lambda: box.ok("logs", "web").out == b"up\n")
    quiet = attached(popen(box, "attach", "--sig-proxy=false", "--no-stdin", "web"))
    loud = attached(popen(box, "attach", "--no-stdin", "web"))
    quiet.send_signal(signal.SIGUSR1)
    assert quiet.wait(PATIENCE) == -signal.SIGUSR1
    assert state(box, "web")["status"] == "running"
    loud.send_signal(signal.SIGUSR1)
    out, _ = loud.communicate(timeout=PATIENCE)
    assert (loud.returncode, out) == (3, b"usr\n")


def test_without_a_proxy_the_container_outlives_its_command(box, terminal):
    run = popen(box, "run", "--sig-proxy=false", "--name", "web", "box:1", "sh", "-c", "echo up; sleep 100")
    assert run.stdout.readline() == b"up\n"
    run.send_signal(signal.SIGTERM)
    assert run.wait(PATIENCE) == -signal.SIGTERM
    assert state(box, "web")["status"] == "running"
    box.ok("stop", "-t", "0", "web")
    eventually(lambda: gone(box, "web"))


def test_some_streams(box, terminal):
    script = "cat; echo out; echo error >&2"
    for streams, out, err in [
        (("stdout",), b"out\n", ""),
        (("stderr",), b"", "error\n"),
        (("stdin", "stdout"), b"given\nout\n", ""),
    ]:
        words = [word for stream in streams for word in ("-a", stream)]
        result = box("run", "-i", *words, "box:1", "sh", "-c", script, data=b"given\n")
        assert (result.status, result.out, result.err) == (0, out, err)
    assert box("run", "-a", "stdlog", "box:1").status == 125
    stdin = box("run", "-i", "-a", "stdin", "--keep", "--name", "one", "box:1", "cat", data=b"given\n")
    assert (stdin.status, stdin.text, stdin.err) == (0, "one\n", "")


def test_a_reader_that_has_gone(box, terminal):
    script = "while true; do echo line; sleep 0.1; done"
    box.ok("run", "-d", "--name", "web", "box:1", "sh", "-c", script)
    words = " ".join(box.words("attach", "--no-stdin", "web"))
    pipe = ["bash", "-c", f"{words} | head -n 2"]
    done = subprocess.run(pipe, env=box.environment(), capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"line\nline\n", b"")
    assert state(box, "web")["status"] == "running"


def test_exec_that_is_left(box, terminal):
    box.ok("run", "-d", "--name", "web", "box:1", "sleep", "100")
    with terminal("exec", "-it", "web", "sh") as one:
        one.type(b"echo $$ >/tmp/pid; echo up; sleep 100; echo after >/tmp/after\n")
        one.until(b"up\r\n")
        one.type(KEYS)
        assert one.end() == 0
    assert box("exec", "web", "sh", "-c", "kill -0 $(cat /tmp/pid)").status == 0
    with terminal("exec", "-it", "web", "sh", "-c", "echo me; exit 8") as one:
        assert one.end() == 8
        assert b"me\r\n" in one.seen
    with terminal("exec", "-it", "web", "sh", "-c", "echo $$ >/tmp/two; echo up; sleep 100") as one:
        one.until(b"up\r\n")
        os.kill(one.pid, signal.SIGKILL)
    eventually(lambda: box("exec", "web", "sh", "-c", "kill -0 $(cat /tmp/two)").status != 0)


def test_start_attached(box, terminal):
    box.ok("create", "-it", "--name", "web", "box:1", "sh")
    with terminal("start", "-ai", "web") as one:
        one.type(b"echo begun-$((3+3))\n")
        one.until(b"begun-6")
        one.type(KEYS)
        assert one.end() == 0
    with terminal("start", "-ai", "web") as one:
        one.type(b"exit 5\n")
        assert one.end() == 5
    assert state(box, "web")["exit_code"] == 5


def test_refusals(box, terminal):
    assert box("attach", "nothing").status == 125
    box.ok("create", "--name", "web", "box:1")
    result = box("attach", "web")
    assert result.status == 125
    run = popen(box, "run", "--name", "front", "box:1", "sh", "-c", "echo up; sleep 100")
    assert run.stdout.readline() == b"up\n"
    result = box("attach", "front")
    assert result.status == 125
    assert "foreground" in result.err
    run.kill()
    run.wait()


def test_the_socket_is_its_owners(box, terminal):
    box.ok("run", "-d", "--name", "web", "box:1", "sleep", "100")
    path = Path(box.root, "containers", "web", "attach")
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    box.ok("check")
    box.ok("stop", "-t", "0", "web")
    eventually(lambda: not path.exists())


def test_restarted_containers_can_be_attached_to(box, terminal):
    box.ok("run", "-dit", "--restart", "always", "--name", "web", "box:1", "sh")
    for status in (1, 2):
        with terminal("attach", "web") as one:
            one.type(f"exit {status}\n".encode())
            assert one.end() == status
        eventually(lambda wanted=status: restarts(box, "web") == wanted)
    box.ok("stop", "-t", "0", "web")


def test_timeout_of_a_terminal(box, terminal):
    with terminal("run", "-it", "--timeout", "1", "--name", "web", "box:1", "sleep", "100") as one:
        assert one.end() == 255
    assert gone(box, "web")


def test_a_slow_client_is_told_what_it_has_lost(box, terminal, tmp_path):
    line = "line" + 12 * "-$i"
    script = f"read x; i=0; while [ $i -lt 30000 ]; do echo {line}; i=$((i+1)); done; read x; echo last"
    box.ok("run", "-di", "--name", "web", "box:1", "sh", "-c", script)
    with open(tmp_path / "out", "wb") as file:
        slow = attached(popen(box, "attach", "--no-stdin", "web", stdout=file))
    slow.send_signal(signal.SIGSTOP)
    with popen(box, "attach", "web", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as other:
        other.stdin.write(b"go\n")
        other.stdin.flush()
        eventually(lambda: b"-29999\n" in box.ok("logs", "--tail", "1", "web").out, 60)
        slow.send_signal(signal.SIGCONT)
        eventually(lambda: os.path.getsize(tmp_path / "out") > 1 << 20)
        drained(box, slow)
        other.stdin.write(b"go\n")
        other.stdin.flush()
        _, err = slow.communicate(timeout=PATIENCE)
        other.communicate(timeout=PATIENCE)
    out = (tmp_path / "out").read_bytes()
    assert out.endswith(b"last\n")
    whole = len(box.ok("logs", "web").out)
    assert f"{whole - len(out)} bytes of output were not printed" in err.decode()
