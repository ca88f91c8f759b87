import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.waiting import PATIENCE

from arstore.disk.cgroups import cgroups_path, remove_cgroups
from arstore.runtime.lifecycle.control import kill, stop, wait
from arstore.runtime.lifecycle.signals import FORWARDED
from arstore.runtime.stdio.log_reader import LogReader

pytestmark = pytest.mark.root


def groups_left(box) -> list[str]:
    parent, _, leaf = cgroups_path(str(box.directory)).strip("/").rpartition("/")
    # os.walk skips directories that vanish meanwhile, as other tests' groups do.
    walk = os.walk("/sys/fs/cgroup")
    return [f"{top}/{leaf}" for top, names, _ in walk if leaf in names and top.endswith(f"/{parent}")]


def processes_of(box) -> list[int]:
    """Processes that see the container's bundle, or have its id in their environment (HOSTNAME)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(box.directory).encode() in (entry / "mountinfo").read_bytes():
                    found.append(int(entry.name))
            except (OSError, ProcessLookupError):
                continue
    return found


def wait_until_gone(box, *pids: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not processes_of(box) and not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return
        time.sleep(0.01)
    raise AssertionError(f"left: {processes_of(box)} {pids}")


def remove_groups(box) -> None:
    """Remove the container's remaining groups; a process that was killed in one may take a moment to end."""
    deadline = time.monotonic() + PATIENCE
    while not remove_cgroups(str(box.directory)):
        assert time.monotonic() < deadline, groups_left(box)
        time.sleep(0.01)
    assert not groups_left(box)


def test_status_and_output(box):
    done = box.shell("echo out; echo err >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"out\n", b"err\n")
    state = box.state()
    assert (state.status, state.exit_code, state.args[0]) == ("exited", 42, "sh")
    assert not groups_left(box)
    assert os.listdir(box.directory / "bundle") == []


def test_death_by_signal_is_128_and_its_number(box):
    process = box.popen("sleep", "60")
    os.kill(box.until("running").process.pid, signal.SIGKILL)
    assert process.wait(20) == 137


def test_ten_megabytes_through_pipes(box):
    data = os.urandom(10 << 20)
    done = box.run("cat", given=data, interactive=True)
    assert done.returncode == 0
    assert done.stdout == data


def test_error_stream_and_joined_streams_are_exact(box):
    data = os.urandom(3 << 20)
    assert box.shell("cat >&2", given=data, interactive=True).stderr == data
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out$i; echo err$i >&2; done"
    joined = box.shell(script, popen={"stderr": subprocess.STDOUT}).stdout
    assert joined == b"".join(b"out%d\nerr%d\n" % (i, i) for i in range(1, 10))


def test_without_interactive_input_is_empty(box):
    assert box.run("cat", given=b"secret").stdout == b""


def test_command_errors_have_their_classes_and_print_nothing(box):
    done = box.run("nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (125, b"", b"")
    assert box.error[0] == "CommandNotFoundError"
    assert box.state().status == "failed"
    box.run("/etc/passwd")
    assert box.error[0] == "CommandNotExecutableError"
    assert not groups_left(box)


def test_runtime_failure_is_one_error_and_prints_nothing(box, tmp_path):
    (tmp_path / "file").write_text("x")
    done = box.run("true", volumes=[[str(tmp_path / "file"), "/bin", True]])
    assert (done.returncode, done.stderr) == (125, b"")
    name, line = box.error
    assert name == "RuntimeFailedError"
    assert "\n" not in line
    assert "/bin" in line
    assert not groups_left(box)


def test_failing_mount_is_reported(box):
    box.rootfs = Path("/nonexistent")
    assert box.run("true").returncode == 1
    assert box.state().status == "failed"


COUNT = "n=0; trap 'n=$((n+1))' SIGNAL; echo ready; sleep 1 & wait; sleep 0.3; exit $((n+70))"


@pytest.mark.parametrize("number", [n for n in FORWARDED if n not in {signal.SIGWINCH, signal.SIGCONT}])
def test_signals_reach_the_container_once(box, number):
    name = signal.Signals(number).name.removeprefix("SIG")
    process = box.popen("sh", "-c", COUNT.replace("SIGNAL", name))
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(20) == 71
    process.communicate()


def test_terminal_signal_is_delivered_once_too(box):
    process = box.popen("sh", "-c", COUNT.replace("SIGNAL", "INT"), popen={"process_group": 0})
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 71
    process.communicate()


@pytest.mark.parametrize("victim", ["launcher", "keeper", "process"])
def test_sigkill_of_anyone_leaves_nothing(box, victim):
    process = box.popen("sh", "-c", "sleep 1111 & sleep 1112")
    state = box.until("running")
    os.kill(getattr(state, victim).pid, signal.SIGKILL)
    assert process.wait(20) in {137, -9}
    process.communicate()
    wait_until_gone(box, state.launcher.pid, state.keeper.pid, state.process.pid)
    assert box.state().status == ("exited" if victim == "process" else "dead")
    remove_groups(box)
    assert os.listdir(box.directory / "bundle") == []


def test_sigkill_while_starting_leaves_nothing(box):
    for pause in (0.05, 0.1, 0.15, 0.2):
        process = box.popen("sleep", "1113")
        time.sleep(pause)
        process.kill()
        process.communicate()
        wait_until_gone(box, process.pid)
    remove_groups(box)


def test_timeout_stops_and_then_says_so(box):
    # A shell that has not set its trap yet would be killed, ten seconds after the timeout.
    began = time.monotonic()
    assert box.shell("trap 'exit 0' TERM; sleep 50 & wait", timeout=2).returncode == 125
    assert box.error[0] == "PipelineTimeoutError"
    assert time.monotonic() - began < 11


def read_terminal(fd: int, until: bytes, seconds: float = PATIENCE) -> bytes:
    found, deadline = b"", time.monotonic() + seconds
    while until not in found and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                found += os.read(fd, 65536)
            except OSError:
                break
    return found


def test_terminal(box):
    import termios

    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (33, 99))
    before = termios.tcgetattr(slave)
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    script = "trap 'stty size' WINCH; stty size; tty; echo TERM=$TERM; read x; echo got-$x; sleep 5 & wait; read x"
    process = box.popen("sh", "-c", script, popen=streams, tty=True, interactive=True, env=["TERM=vt220"])
    shown = read_terminal(master, b"TERM=vt220")
    assert b"33 99\r\n/dev/pts/0\r\n" in shown
    assert termios.tcgetattr(slave)[3] & termios.ICANON == 0
    os.write(master, b"hello\r")
    assert b"got-hello" in read_terminal(master, b"got-hello")
    termios.tcsetwinsize(master, (40, 120))
    process.send_signal(signal.SIGWINCH)
    assert b"40 120" in read_terminal(master, b"40 120")
    os.write(master, b"\r")
    assert process.wait(20) == 0
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_users_terminal_is_not_given_away(box):
    master, slave = pty.openpty()
    process = box.popen(
        "sh",
        "-c",
        "for i in 0 1 2; do test -t $i && echo terminal; done; read x; echo end-$x",
        interactive=True,
        popen={"stdin": slave, "stdout": slave, "stderr": slave},
    )
    os.write(master, b"typed\n")
    shown = read_terminal(master, b"end-typed")
    assert b"end-typed" in shown
    assert b"terminal" not in shown
    assert process.wait(20) == 0
    os.close(master)
    os.close(slave)


def test_detached_life(box):
    script = "echo out; echo err >&2; printf part; trap 'exit 5' TERM; while :; do sleep 0.1; done"
    assert box.shell(script, mode="start").returncode == 0
    assert box.until("running").detached
    done = box.run("sh", "-c", "echo in $X; pwd; id -u; exit 4", mode="exec", env=["X=y"], workdir="/tmp", user="alice")
    assert (done.returncode, done.stdout, done.stderr) == (4, b"in y\n/tmp\n1000\n", b"")
    assert box.run("cat", mode="exec", interactive=True, given=b"x" * 300000).stdout == b"x" * 300000
    assert box.run("nonsense", mode="exec").returncode == 125
    assert box.error[0] == "CommandNotFoundError"
    kill(str(box.directory), signal.SIGCONT)
    assert wait(str(box.directory), 0.05).status == "running"
    state = stop(str(box.directory))
    assert (state.status, state.exit_code) == ("exited", 5)
    with LogReader(str(box.directory)) as reader:
        lines = list(reader.read())
    assert b"".join(line.data for line in lines if line.stream == "stdout") == b"out\npart"
    assert b"".join(line.data for line in lines if line.stream == "stderr") == b"err\n"
    wait_until_gone(box, state.launcher.pid, state.keeper.pid)
    assert not groups_left(box)


def test_detached_failure_is_raised_by_start(box):
    assert box.run("nonsense", mode="start").returncode == 125
    assert box.error[0] == "CommandNotFoundError"
    assert box.state().status == "failed"


def test_detached_returns_although_its_output_goes_on(box):
    """A caller that reads `$(arstore run -d ...)` must see the end of the pipe at once."""
    assert box.run("sleep", "60", mode="start").returncode == 0
    state = box.until("running")
    kill(str(box.directory))
    assert wait(str(box.directory), 20).exit_code == 137
    wait_until_gone(box, state.launcher.pid)


@pytest.mark.parametrize("victim", ["launcher", "keeper"])
def test_sigkill_of_a_detached_launcher_leaves_nothing(box, victim):
    box.run("sleep", "60", mode="start")
    state = box.until("running")
    os.kill(getattr(state, victim).pid, signal.SIGKILL)
    wait_until_gone(box, state.launcher.pid, state.keeper.pid)
    assert box.state().status == "dead"


def test_killed_exec_takes_its_process_along(box):
    box.run("sleep", "60", mode="start")
    box.until("running")
    process = box.popen("sh", "-c", "echo ready; exec sleep 1114", mode="exec")
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    deadline = time.monotonic() + PATIENCE
    while b"1114" in box.run("ps", mode="exec").stdout and time.monotonic() < deadline:
        time.sleep(0.05)
    assert b"1114" not in box.run("ps", mode="exec").stdout
    process.communicate()


@pytest.mark.mounts
def test_a_disk_that_the_container_fills_does_not_change_its_status(box, tmp_path):
    """The space for the launcher's last record is reserved before the container starts."""
    disk, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with open(disk, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    try:
        box.base = place
        fill = "dd if=/dev/zero of=/disk/full bs=64k; dd if=/dev/zero of=/disk/more bs=1 count=9999; exit 3"
        volumes = [[str(place), "/disk", False]]
        assert box.shell(fill, volumes=volumes).returncode == 3
        assert os.statvfs(place).f_bavail < 64
        assert (box.state().status, box.state().exit_code) == ("exited", 3)
        assert not [name for name in os.listdir(box.directory) if name.startswith("state.json.")]
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.mounts
@pytest.mark.parametrize("space", [True, False])
def test_a_detached_container_on_a_full_disk_goes_on(box, tmp_path, space):
    """Its log says how much is missing once there is space again, or else its state does."""
    disk, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with open(disk, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    try:
        box.base = place
        fill = "dd if=/dev/zero of=/disk/full bs=64k; dd if=/dev/zero of=/disk/more bs=1 count=9999"
        say = "i=0; while [ $i -lt 2000 ]; do echo line-$i-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done"
        rest = "sleep 1; rm /disk/full; echo after; " if space else ""
        script = f"({fill}) 2>/dev/null; {say}; {rest}exit 3"
        assert box.shell(script, mode="start", volumes=[[str(place), "/disk", False]]).returncode == 0
        state = wait(str(box.directory), 60)
        assert (state.status, state.exit_code) == ("exited", 3)
        with LogReader(str(box.directory)) as reader:
            lines = [line.data for line in reader.read()]
        said = [b"line-%d-%b\n" % (number, b"x" * 32) for number in range(2000)]
        kept = [line for line in lines if line.startswith(b"line-")]
        missing = sum(map(len, said)) - sum(map(len, kept))
        rest = iter(said)
        assert all(line in rest for line in kept)
        assert missing > 0
        notices = [line for line in lines if line.startswith(b"arstore: ")]
        assert all(line.endswith(b" bytes of output are missing here: No space left on device\n") for line in notices)
        assert sum(int(line.split()[1]) for line in notices) + state.lost == missing
        if space:
            assert state.lost == 0
            assert lines[-1] == b"after\n"
    finally:
        subprocess.run(["umount", place], check=True)


def test_out_of_memory_is_recorded(box):
    grow = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"
    assert box.shell(grow, memory=16 << 20).returncode != 0
    assert box.state().oom_killed
    assert box.shell("true", memory=16 << 20).returncode == 0
    assert not box.state().oom_killed


def test_the_time_between_the_stop_signal_and_the_kill(box):
    began = time.monotonic()
    script = "trap '' TERM; while :; do sleep 0.1; done"
    assert box.shell(script, timeout=0.2, stop_timeout=0.3).returncode == 125
    assert box.error[0] == "PipelineTimeoutError"
    assert time.monotonic() - began < 8
    assert box.shell(script, mode="start", stop_timeout=0.3).returncode == 0
    box.until("running")
    assert stop(str(box.directory)).exit_code == 137


def test_a_detached_exec_goes_on_alone(box):
    box.run("sleep", "60", mode="start")
    box.until("running")
    began = time.monotonic()
    done = box.run("sh", "-c", "sleep 0.5; touch /made; sleep 40", mode="exec-detached")
    assert (done.returncode, done.stdout) == (0, b"")
    assert time.monotonic() - began < 20
    deadline = time.monotonic() + PATIENCE
    while not (box.rootfs / "made").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (box.rootfs / "made").exists()
    assert box.run("nonsense", mode="exec-detached").returncode == 125
    assert box.error[0] == "CommandNotFoundError"


def test_a_time_that_is_over_before_the_container_has_started_ends_it_too(box):
    began = time.monotonic()
    script = "trap '' TERM; while :; do sleep 0.1; done"
    assert box.shell(script, timeout=0.0001, stop_timeout=0.2).returncode == 125
    assert box.error[0] == "PipelineTimeoutError"
    assert time.monotonic() - began < 10
