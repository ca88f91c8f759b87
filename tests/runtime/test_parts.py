"""The small parts: signals, logs, state, events, control groups, volumes, discovery."""

import errno
import json
import os
import signal
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import stores

from arstore.disk.cgroups import cgroups_path, delegated, is_populated, remove_cgroups
from arstore.errors import (
    ArstoreError,
    ImageConfigError,
    MountError,
    NotFoundError,
    RuntimeMissingError,
    StoreDamagedError,
    UsageError,
)
from arstore.mounts.leftovers import passing_name
from arstore.runtime import discovery
from arstore.runtime.driver import OciRuntime
from arstore.runtime.lifecycle.channel import Event, Receiver, Sender, error_of
from arstore.runtime.lifecycle.control import kill, wait
from arstore.runtime.lifecycle.signals import parse_signal
from arstore.runtime.lifecycle.state import ProcessId, RunState, encoded, status, write_state
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.volumes import private_volumes
from arstore.runtime.stdio.logs import LONGEST_LINE, LogWriter, read_log_lines


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", signal.SIGRTMIN + 3), ("SIGRTMAX-1", signal.SIGRTMAX - 1)],
)
def test_signals(text, number):
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "99", "-9", "SIGNOPE", "RTMIN+99", "RTMIN-1", "SIG_DFL", "²", "RTMIN+ 1", "_IGN"]
)
def test_no_signals(text):
    with pytest.raises(UsageError):
        parse_signal(text)


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, 2))
def test_log_gives_every_byte_back(tmp_path_factory, pieces, longer):
    directory = tmp_path_factory.mktemp("log")
    pieces = [*pieces, b"x" * (LONGEST_LINE * longer)]
    with open(directory / "log", "ab", buffering=0) as file:
        writers = [LogWriter(file.fileno(), name) for name in ("stdout", "stderr")]
        for number, piece in enumerate(pieces):
            writers[number % 2].write(piece)
        for writer in writers:
            writer.finish()
    lines = list(read_log_lines(str(directory)))
    assert b"".join(line.data for line in lines if line.stream == "stdout") == b"".join(pieces[0::2])
    assert b"".join(line.data for line in lines if line.stream == "stderr") == b"".join(pieces[1::2])
    assert max((len(line.data) for line in lines), default=0) <= LONGEST_LINE + 1


@given(st.binary(max_size=300))
def test_damaged_log(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("log")
    (directory / "log").write_bytes(data)
    list(read_log_lines(str(directory)))


def test_log_is_followed_to_its_end(tmp_path):
    assert list(read_log_lines(str(tmp_path))) == []
    path = tmp_path / "log"
    path.write_bytes(b"T stdout F one\nT std")
    looks = [lambda: True, lambda: path.write_bytes(path.read_bytes() + b"err P two\n") and False]
    found = list(read_log_lines(str(tmp_path), wait=lambda: bool(looks.pop(0)())))
    assert [(line.stream, line.data) for line in found] == [("stdout", b"one\n"), ("stderr", b"two")]


def state_of(pid: int, **fields) -> RunState:
    process = ProcessId.of(pid)
    return RunState("x", "running", "/runc", process, process, process, ("a",), **fields)


def test_state_round_trip(tmp_path):
    write_state(str(tmp_path), state_of(os.getpid()))
    assert status(str(tmp_path)) == state_of(os.getpid())
    assert os.listdir(tmp_path) == ["state.json"]
    assert stat.S_IMODE(os.stat(tmp_path / "state.json").st_mode) == 0o600


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
    own = ProcessId.of(os.getpid())
    other = ProcessId(own.pid, own.start, "another boot")
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
    """Who reads a state signals the processes that it names, and shows its times."""
    state = json.loads(encoded(state_of(os.getpid())))
    (tmp_path / "state.json").write_text(json.dumps({**state, **change}))
    with pytest.raises(StoreDamagedError):
        status(str(tmp_path))


def test_no_state(tmp_path):
    with pytest.raises(NotFoundError):
        status(str(tmp_path))


@pytest.mark.parametrize(
    "error", [MountError("a", "b", "c"), OSError(errno.ENOSPC, "No space", "/x"), NotFoundError("a", "b")]
)
def test_errors_cross_the_pipe(error):
    reading, writing = os.pipe()
    Sender(writing).fail(error)
    os.close(writing)
    receiver = Receiver(reading)
    event = receiver.receive()
    found = error_of(event)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert receiver.receive() is None
    os.close(reading)


def test_events_in_one_piece_and_a_deadline():
    reading, writing = os.pipe()
    sender = Sender(writing)
    sender.send("started", pid=5)
    sender.send("exited", status=0)
    receiver = Receiver(reading)
    assert receiver.receive(0.0) == Event("started", {"pid": 5})
    assert receiver.receive(0.0) == Event("exited", {"status": 0})
    with pytest.raises(TimeoutError):
        receiver.receive(0.0)
    os.close(reading)
    sender.send("nobody listens")
    sender.close()
    sender.send("nothing happens")


@pytest.mark.parametrize("unified", [True, False])
def test_control_groups_are_removed_everywhere(tmp_path, unified):
    container = tmp_path / "web"
    container.mkdir()
    name = cgroups_path(str(container)).lstrip("/")
    root = tmp_path / "cgroup"
    hierarchies = [root] if unified else [root / "cpu", root / "memory"]
    for hierarchy in hierarchies:
        (hierarchy / name / "inner/deep").mkdir(parents=True)
        (hierarchy / "arstore/other").mkdir()
    if unified:
        (root / "cgroup.controllers").touch()
    assert remove_cgroups(str(container), str(root))
    assert all(os.listdir(hierarchy / "arstore") == ["other"] for hierarchy in hierarchies)
    assert remove_cgroups(str(container), str(root))


def test_what_control_groups_can_limit(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for name in ("cpu,cpuacct", "memory", "pids", "systemd"):
        (old / name).mkdir(parents=True)
    assert delegated(str(old)) == {"cpu", "cpuacct", "memory", "pids", "systemd"}
    (old / "memory/memory.memsw.limit_in_bytes").touch()
    assert "swap" in delegated(str(old))
    (new / "init.scope").mkdir(parents=True)
    (new / "cgroup.controllers").write_text("cpu memory pids\n")
    assert delegated(str(new)) == frozenset()
    # What the groups below have is what counts.
    (new / "cgroup.subtree_control").write_text("memory pids\n")
    assert delegated(str(new)) == {"memory", "pids"}
    (new / "init.scope/memory.swap.max").touch()
    assert delegated(str(new)) == {"memory", "pids", "swap"}
    assert delegated(str(tmp_path / "none")) == frozenset()


def test_control_group_with_a_process_stays(tmp_path):
    name = cgroups_path(str(tmp_path)).lstrip("/")
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "cgroup.procs").write_text("1\n")
    (tmp_path / "cgroup.controllers").touch()
    assert not remove_cgroups(str(tmp_path), str(tmp_path))
    assert is_populated(str(tmp_path), str(tmp_path))
    (tmp_path / name / "cgroup.procs").write_text("")
    assert not is_populated(str(tmp_path), str(tmp_path))


def test_same_id_in_two_stores_has_two_groups(tmp_path):
    assert cgroups_path(str(tmp_path / "a/web")) != cgroups_path(str(tmp_path / "b/web"))
    assert cgroups_path(str(tmp_path / "a/web")).startswith("/arstore/web-")


def test_volume_is_an_exact_copy(tmp_path):
    data = tmp_path / "root/data"
    (data / "sub").mkdir(parents=True)
    (data / "sub/file").write_bytes(b"x" * 100000)
    os.utime(data / "sub/file", ns=(1, 1234567890123456789))
    os.link(data / "sub/file", data / "hard")
    (data / "link").symlink_to("/etc/passwd")
    os.mkfifo(data / "fifo")
    (data / "sub").chmod(0o2750)
    os.utime(data / "sub", ns=(1, 987654321))
    with RootDirectory(str(tmp_path / "root")) as root:
        (volume,) = private_volumes(str(tmp_path), ("/data",), root)
        assert private_volumes(str(tmp_path), ("/data",), root) == [volume]
        assert private_volumes(str(tmp_path), (), root) == []
    copy = volume.source
    assert sorted(os.listdir(copy)) == ["fifo", "hard", "link", "sub"]
    assert os.stat(f"{copy}/sub/file").st_mtime_ns == 1234567890123456789
    assert os.stat(f"{copy}/hard").st_ino == os.stat(f"{copy}/sub/file").st_ino
    assert os.readlink(f"{copy}/link") == "/etc/passwd"
    assert stat.S_ISFIFO(os.stat(f"{copy}/fifo").st_mode)
    assert (os.stat(f"{copy}/sub").st_mode & 0o7777, os.stat(f"{copy}/sub").st_mtime_ns) == (0o2750, 987654321)


def test_volume_behind_a_link_out_of_the_root_is_empty(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").touch()
    (tmp_path / "root/data").symlink_to("../secret")
    (tmp_path / "root/plain").touch()
    with RootDirectory(str(tmp_path / "root")) as root:
        (volume,) = private_volumes(str(tmp_path), ("/data",), root)
        assert os.listdir(volume.source) == []
        with pytest.raises(ImageConfigError):
            private_volumes(str(tmp_path), ("/plain",), root)


def program(path, text="#!/bin/sh\nexit 1\n"):
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_discovery_names_each_reason(tmp_path, monkeypatch):
    for name in ("crun", "runc"):
        program(tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(discovery, "_MORE_PLACES", ())

    def refuse(runtime, _runroot):
        raise RuntimeMissingError("x", f"{runtime.name} says no")

    monkeypatch.setattr(discovery, "_trial", refuse)
    with pytest.raises(RuntimeMissingError, match=r"crun: crun says no; runc: runc says no"):
        discovery.find_runtime(None, str(tmp_path / "run"))
    with pytest.raises(RuntimeMissingError, match="not found"):
        discovery.find_runtime("nonesuch", str(tmp_path / "run"))


def test_discovery_remembers_until_the_program_changes(tmp_path, monkeypatch):
    path = program(tmp_path / "runc")
    runroot = str(tmp_path / "run")
    tried = []

    def accept(runtime, _runroot):
        tried.append(runtime.path)
        os.makedirs(runroot, exist_ok=True)
        if runtime.seccomp:
            raise RuntimeMissingError("x", "seccomp is not supported")
        return runtime

    monkeypatch.setattr(discovery, "_trial", accept)
    first = discovery.find_runtime(str(path), runroot)
    assert not first.seccomp
    assert "seccomp" in first.note
    assert discovery.find_runtime(str(path), runroot) == first
    assert len(tried) == 2
    program(path, "#!/bin/sh\nexit 12\n")
    discovery.find_runtime(str(path), runroot)
    assert len(tried) == 4
    cache = tmp_path / "run/runtime.json"
    for text in ("", "[]", "{}", json.dumps({"surroundings": ["old"]}), '{"surroundings": 1, "programs": 5}'):
        cache.write_text(text)
        assert discovery.find_runtime(str(path), runroot).path == str(path)


def test_discovery_tries_without_control_groups_apart(tmp_path, monkeypatch):
    path = str(program(tmp_path / "crun"))
    runroot = str(tmp_path / "run")
    tried = []

    def accept(runtime, _runroot):
        tried.append(runtime.cgroups)
        os.makedirs(runroot, exist_ok=True)
        return runtime

    monkeypatch.setattr(discovery, "_trial", accept)
    for _ in range(2):
        assert discovery.find_runtime(path, runroot).cgroups
        assert not discovery.find_runtime(path, runroot, cgroups=False).cgroups
    assert tried == [True, False]


def test_trial_that_was_killed_is_swept(tmp_path):
    living = passing_name("trial")
    (tmp_path / f"trial.{stores.dead_owner().directory_name()}/bundle").mkdir(parents=True)
    (tmp_path / living).mkdir()
    (tmp_path / "other").mkdir()
    with discovery._scratch(str(tmp_path)) as directory:
        assert sorted(os.listdir(tmp_path)) == sorted(["other", living, os.path.basename(directory)])
    assert sorted(os.listdir(tmp_path)) == ["other", living]


@pytest.mark.root
def test_discovery_by_a_real_trial(tmp_path):
    try:
        found = discovery.find_runtime(None, str(tmp_path))
    except ArstoreError as error:
        pytest.skip(str(error))
    assert isinstance(found, OciRuntime)
    assert os.listdir(tmp_path) == ["runtime.json"]
    with pytest.raises(RuntimeMissingError):
        discovery.find_runtime("/bin/false", str(tmp_path))
    assert os.listdir(tmp_path) == ["runtime.json"]
