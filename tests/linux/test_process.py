import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arstore.linux import process

SLEEPER = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def child():
    running = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    yield running
    running.stdin.close()
    running.wait()


def test_the_boot_id_is_a_uuid_that_stays():
    assert len(process.boot_id()) == 36
    assert process.boot_id() == process.boot_id()


def test_this_process_is_alive():
    me = os.getpid()
    assert process.is_alive(me, process.start_time(me), process.boot_id())


def test_another_start_or_boot_is_another_process():
    me, boot = os.getpid(), process.boot_id()
    start = process.start_time(me)
    assert not process.is_alive(me, start + 1, boot)
    assert not process.is_alive(me, start, "00000000-0000-0000-0000-000000000000")
    assert not process.is_alive(0, 0, boot)
    assert not process.is_alive(-1, 0, boot)


def test_the_start_time_is_ticks_since_the_boot(child):
    ticks = os.sysconf("SC_CLK_TCK")
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert now - 60 < process.start_time(child.pid) / ticks <= now + 0.1


def test_a_process_that_ended_is_not_alive_even_as_a_zombie():
    running = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    start, boot = process.start_time(running.pid), process.boot_id()
    assert process.is_alive(running.pid, start, boot)
    running.stdin.close()
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
    assert process.start_time(running.pid) == start
    assert not process.is_alive(running.pid, start, boot)
    running.wait()
    assert not process.is_alive(running.pid, start, boot)
    with pytest.raises(ProcessLookupError):
        process.start_time(running.pid)


@pytest.mark.parametrize("name", ["a b) c", ") R 1 2 3", "((", "\n) S"])
def test_a_name_with_blanks_and_parentheses_does_not_shift_the_fields(name):
    code = "import sys; open('/proc/self/comm','w').write(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-S", "-c", code, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        running.stdout.readline()
        assert name.encode() in Path(f"/proc/{running.pid}/stat").read_bytes()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        start = process.start_time(running.pid)
        assert now - 60 < start / os.sysconf("SC_CLK_TCK") <= now + 0.1
        assert process.is_alive(running.pid, start, process.boot_id())
        running.stdin.close()


def test_a_process_that_hides_counts_as_alive(monkeypatch):
    def hidden(pid):
        raise ProcessLookupError(2, "hidden", str(pid))

    monkeypatch.setattr(process, "_stat_fields", hidden)
    assert process.is_alive(os.getpid(), 1, process.boot_id())
    assert not process.is_alive(2**22 + 1, 1, process.boot_id())
    assert not process.is_alive(2**40, 1, process.boot_id())


def in_child(action):
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = action()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def status_line(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split()[1]
    return ""


def test_no_new_privileges_is_set():
    def action():
        process.set_no_new_privileges()
        return 0 if status_line("NoNewPrivs") == "1" else 1

    assert in_child(action) == 0


def test_the_death_of_the_parent_is_signalled():
    reader, writer = os.pipe()

    def parent():
        pid = os.fork()
        if pid == 0:
            process.set_parent_death_signal(signal.SIGKILL)
            os.write(writer, b"ready")
            time.sleep(30)
            os.write(writer, b"survived")
            os._exit(0)
        os.read(reader, 5)
        os.write(writer, b"%d " % pid)
        return 0

    assert in_child(parent) == 0
    os.close(writer)
    # The read ends when the last holder of the other end is gone.
    with open(reader, "rb") as file:
        assert b"survived" not in file.read()


def test_a_subreaper_inherits_orphans():
    def action():
        process.become_subreaper()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                while os.getppid() not in (grandparent,):
                    time.sleep(0.01)
                os._exit(7)
            os._exit(0)
        os.waitpid(middle, 0)
        return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])

    grandparent = 0

    def rooted():
        nonlocal grandparent
        grandparent = os.getpid()
        return action()

    assert in_child(rooted) == 7


def test_an_unknown_option_raises():
    with pytest.raises(OSError, match="Invalid argument"):
        process.prctl(0x7FFF)


@pytest.mark.root
@pytest.mark.tools("unshare")
@pytest.mark.parametrize("offset", ["100000", "12345"])
def test_a_time_namespace_changes_no_start_time(child, offset):
    """/proc shows shifted start times there; a running container must not look dead because of that."""
    code = (
        "import sys; from arstore.linux import process; pid, start = map(int, sys.argv[1:]);"
        "print(process.start_time(pid) == start, process.is_alive(pid, start, process.boot_id()), process.runs(pid))"
    )
    start = process.start_time(child.pid)
    words = ["unshare", "--time", "--boottime", offset, sys.executable, "-c", code, str(child.pid), str(start)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no time namespaces here: {done.stderr.strip()}")
    assert done.stdout.split() == ["True", "True", "True"]


def test_whether_a_pid_is_in_use(child):
    assert process.runs(child.pid)
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not process.runs(ended.pid)
    ended.wait()
    assert not process.runs(ended.pid)
