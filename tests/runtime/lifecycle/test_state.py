import json
import os
import stat

import pytest

from arstore.disk.owner import Owner
from arstore.errors import (
    NotFoundError,
    StoreDamagedError,
)
from arstore.runtime.lifecycle.control import kill, wait
from arstore.runtime.lifecycle.state import RunState, encoded, is_running, known_status, status, write_state


def state_of(pid: int, **fields) -> RunState:
    process = Owner.of(pid)
    return RunState("x", "running", "/runc", process, process, process, ("a",), **fields)


def test_state_round_trip(tmp_path):
    write_state(str(tmp_path), state_of(os.getpid()))
    assert status(str(tmp_path)) == state_of(os.getpid())
    assert os.listdir(tmp_path) == ["state.json"]
    assert stat.S_IMODE(os.stat(tmp_path / "state.json").st_mode) == 0o600


def test_what_is_known_of_the_state(tmp_path):
    assert (known_status(str(tmp_path)), is_running(str(tmp_path))) == (None, False)
    write_state(str(tmp_path), state_of(os.getpid()))
    assert known_status(str(tmp_path)) == status(str(tmp_path))
    assert is_running(str(tmp_path))
    (tmp_path / "state.json").write_text("{")
    assert (known_status(str(tmp_path)), is_running(str(tmp_path))) == (None, False)


def test_state_of_a_launcher_that_is_gone(tmp_path):
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exec sleep 60"], {"PATH": os.defpath})
    write_state(str(tmp_path), state_of(pid))
    kill(str(tmp_path))
    os.waitpid(pid, 0)
    assert status(str(tmp_path)).status == "dead"
    assert wait(str(tmp_path), 1).status == "dead"
    with pytest.raises(NotFoundError):
        kill(str(tmp_path))


def test_state_of_another_boot_is_dead(tmp_path):
    own = Owner.of(os.getpid())
    other = Owner(own.pid, own.start, "another boot")
    write_state(str(tmp_path), RunState("x", "running", "/runc", other, other))
    assert status(str(tmp_path)).status == "dead"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"args": 1}', "[" * 100000])
def test_damaged_state(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(StoreDamagedError):
        status(str(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"keeper": None},
        {"keeper": {"pid": "1/../self", "start": 1, "boot": ""}},
        {"process": {"pid": -1, "start": 1, "boot": ""}},
        {"launcher": {"pid": 1, "start": 0.5, "boot": ""}},
        {"status": "well"},
        {"args": [1]},
        {"created": 1e300},
        {"started": float("nan")},
        {"finished": -1},
        {"stop_signal": 65},
        {"exit_code": "0"},
        {"tty": None},
        {"more": 1},
    ],
)
def test_a_state_that_no_launcher_writes_is_damaged(tmp_path, change):
    """A reader of a state signals its processes and shows its times, so they must be valid."""
    state = json.loads(encoded(state_of(os.getpid())))
    (tmp_path / "state.json").write_text(json.dumps({**state, **change}))
    with pytest.raises(StoreDamagedError):
        status(str(tmp_path))


def test_no_state(tmp_path):
    with pytest.raises(NotFoundError):
        status(str(tmp_path))
