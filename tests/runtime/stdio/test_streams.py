"""The standard streams that a container gets from its caller: it can only read and write their bytes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.root


@pytest.fixture(params=["run", "exec"])
def shell(request, box):
    """Runs a script in a container, as its command or as a further process, with the given descriptors."""
    if request.param == "exec":
        box.run("sleep", "60", mode="start")
        box.until("running")

    def call(script: str, **settings) -> int:
        files = {name: settings.pop(name) for name in ("stdin", "stdout", "stderr") if name in settings}
        with box.popen("sh", "-c", script, mode=request.param, popen=files, **settings) as process:
            process.communicate(timeout=30)
        return process.returncode

    return call


def test_a_log_that_is_appended_to_is_not_truncated_through_dev_stdout(shell, tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    with open(log, "ab") as file:
        assert shell("echo one; echo two >/dev/stdout; echo three >/proc/self/fd/1; echo four", stdout=file) == 0
    assert log.read_bytes() == b"before\none\ntwo\nthree\nfour\n"


def test_an_error_log_is_not_truncated_through_dev_stderr(shell, tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    with open(log, "ab") as file:
        assert shell("echo one >&2; echo two >/dev/stderr", stderr=file) == 0
    assert log.read_bytes() == b"before\none\ntwo\n"


def test_a_file_for_reading_is_not_written(shell, tmp_path):
    given = tmp_path / "given"
    given.write_bytes(b"content\n")
    with open(given, "rb") as file:
        shell("echo x >/proc/self/fd/0; : >/dev/stdin; cat", stdin=file, interactive=True)
    assert given.read_bytes() == b"content\n"


@pytest.mark.parametrize("user", ["alice", "0"])
def test_files_keep_their_owner_and_mode(shell, tmp_path, user):
    files = {name: open(tmp_path / name, "wb+") for name in ("stdin", "stdout", "stderr")}  # noqa: SIM115
    before = {name: os.fstat(file.fileno()) for name, file in files.items()}
    script = "chown 7 /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; chmod 7 /proc/self/fd/0 /proc/self/fd/1; echo x"
    shell(script, user=user, interactive=True, **files)
    for name, file in files.items():
        after = os.fstat(file.fileno())
        assert (after.st_uid, after.st_gid, after.st_mode) == (
            before[name].st_uid, before[name].st_gid, before[name].st_mode,
        )  # fmt: skip
        file.close()


def test_a_user_who_is_not_root_can_open_its_streams_again(shell, tmp_path):
    with open(tmp_path / "out", "wb") as file:
        assert shell("echo a >/dev/stdout; echo b >/dev/stderr", user="alice", stdout=file, stderr=file) == 0
    assert (tmp_path / "out").read_bytes() == b"a\nb\n"


def test_non_blocking_mode_stays_inside(shell):
    reading, writing = os.pipe()
    # busybox has no command that sets the flag: dd does with this option.
    shell("dd if=/dev/zero of=/dev/stdout oflag=nonblock bs=1 count=1 2>/dev/null; dd iflag=nonblock bs=1 count=1",
          stdout=writing, stdin=subprocess.DEVNULL)  # fmt: skip
    assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(reading)
    os.close(writing)


def test_a_callers_non_blocking_pipe_gets_every_byte_and_stays_non_blocking(shell):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    found = hashlib.sha256()
    size = 0

    def collect() -> None:
        nonlocal size
        time.sleep(0.2)
        while data := os.read(reading, 1 << 16):
            found.update(data)
            size += len(data)

    thread = threading.Thread(target=collect)
    thread.start()
    assert shell("head -c 3000000 /dev/zero", stdout=writing) == 0
    assert not os.get_blocking(writing)
    os.close(writing)
    thread.join()
    assert size == 3000000
    assert found.digest() == hashlib.sha256(bytes(3000000)).digest()


@pytest.mark.parametrize("kind", ["pipe", "file", "appended"])
@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_001])
def test_bytes_pass_through_both_ways(shell, tmp_path, kind, size):
    data = os.urandom(size)
    (tmp_path / "in").write_bytes(data)
    with open(tmp_path / "in", "rb") as file, open(tmp_path / "out", "ab" if kind == "appended" else "wb") as out:
        if kind == "pipe":
            feeder = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
            taker = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out)
            assert shell("cat", stdin=feeder.stdout, stdout=taker.stdin, interactive=True) == 0
            feeder.stdout.close()
            taker.stdin.close()
            assert (feeder.wait(20), taker.wait(20)) == (0, 0)
        else:
            assert shell("cat", stdin=file, stdout=out, interactive=True) == 0
    assert (tmp_path / "out").read_bytes() == data


def test_output_and_error_keep_their_order_in_one_file(shell, tmp_path):
    script = "i=0; while [ $i -lt 200 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done"
    with open(tmp_path / "both", "wb") as file:
        assert shell(script, stdout=file, stderr=file) == 0
    assert (tmp_path / "both").read_text().split() == [f"{c}{i}" for i in range(200) for c in "oe"]


def test_a_reader_that_has_gone_is_told_to_the_container(shell):
    reading, writing = os.pipe()
    os.close(reading)
    assert shell("while :; do echo x || exit 3; done", stdout=writing) in {3, 141}
    os.close(writing)


def test_exec_returns_when_its_process_ends_whoever_holds_its_pipes(box):
    box.run("sleep", "60", mode="start")
    box.until("running")
    began = time.monotonic()
    done = box.shell("sleep 50 & echo out; echo err >&2; exit 3", mode="exec")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert time.monotonic() - began < 20


def test_ignored_signals_of_the_caller_do_not_reach_the_container(box):
    ignored = [signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX, signal.SIGUSR1, signal.SIGPIPE, signal.SIGTSTP]

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    command = box.command("grep", "SigIgn", "/proc/self/status")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, env=environment, capture_output=True, preexec_fn=ignore, timeout=30, check=True)
    assert int(done.stdout.split()[1], 16) == 0
