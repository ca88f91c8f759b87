"""Running and timing commands, and ending the processes that they leave."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from support.waiting import PATIENCE

from benchmarks.measure import MeasurementError, PatienceError
from benchmarks.process import Command, Started, descendants, execute
from benchmarks.runner import patience

ENVIRONMENT = {"PATH": os.defpath, "WORD": "given"}


def shell(script: str, *arguments: str, root: str = "/") -> Command:
    return Command(("sh", "-c", script, "sh", *arguments), ENVIRONMENT, root)


def gone(pid: int) -> bool:
    """Whether *pid* has ended (it may be the zombie of another process)."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_output_time_and_memory_of_a_command() -> None:
    done = execute(shell('sleep 0.2; echo "$1 $WORD"; echo trouble >&2; pwd', "an argument"))
    assert done.stdout == "an argument given\n/\n"
    assert done.stderr == "trouble\n"
    assert 0.2 <= done.seconds < 5
    assert done.max_rss > 100_000
    assert done.status == 0


def test_processor_time_includes_children() -> None:
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    assert execute(shell('"$1" -c "$2" & wait', sys.executable, spin)).cpu >= 0.2


def test_a_failure_is_told_with_the_last_line_that_is_no_warning() -> None:
    with pytest.raises(MeasurementError, match=r"^sh: the reason \(status 3\)$"):
        execute(shell("echo first >&2; echo the reason >&2; echo level=warning x >&2; echo >&2; exit 3"))
    with pytest.raises(MeasurementError, match=r"no message \(status -9\)"):
        execute(shell("kill -9 $$"))
    with pytest.raises(MeasurementError, match=r"^nothing: /no/such/nothing: No such file"):
        execute(Command(("/no/such/nothing",), ENVIRONMENT))


def test_a_command_is_watched_until_it_ends() -> None:
    seen: list[int] = []
    execute(shell("sleep 0.1"), seen.append)
    assert len(seen) > 3
    assert len(set(seen)) == 1


def test_descendants_are_all_processes_below() -> None:
    found: set[int] = set()
    execute(shell("(sleep 0.3 & sleep 0.3; wait) & wait"), lambda pid: found.update(descendants(pid)))
    assert len(found) >= 4


def test_impatience_ends_the_command_and_its_group() -> None:
    pids: set[int] = set()
    with pytest.raises(PatienceError), patience(0.3):
        execute(shell("sleep 60 & sleep 60"), lambda pid: pids.update(descendants(pid)))
    assert len(pids) == 3
    assert all(gone(pid) for pid in pids)


def test_a_daemon_is_stopped() -> None:
    daemon = Started(shell("trap 'echo asked >&2; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done"))
    pid = daemon.pid
    deadline = time.monotonic() + PATIENCE
    while "ready" not in daemon.output() and time.monotonic() < deadline:
        time.sleep(0.01)
    daemon.stop()
    assert gone(pid)


@pytest.mark.root
def test_a_command_may_have_another_root(tmp_path: Path, busybox: str) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(busybox, tmp_path / "bin" / "sh")
    done = execute(Command(("/bin/sh", "-c", "echo /*"), ENVIRONMENT, str(tmp_path)))
    assert done.stdout == "/bin\n"
