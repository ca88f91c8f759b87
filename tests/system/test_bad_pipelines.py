"""Pipelines and runtimes that misbehave: one clear line, the documented status, and nothing left on the host."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import images, programs
from support.groups import groups_below
from support.waiting import PATIENCE

from arstore.errors import (
    HostError,
    ImageConfigError,
    InvalidReferenceError,
    NotFoundError,
    PipelineFailedError,
    PipelineTimeoutError,
    SubImageError,
)

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]

PROGRAMS = ("sh", "sleep", "seq", "touch", "true", "id", "mknod", "xargs")


@pytest.fixture
def made(store, tmp_path, busybox):
    """Import an image of busybox under the name job:1, with this command and config."""

    def make(script: str, **config):
        tools = [images.directory(name) for name in ("bin", "dev", "etc", "proc", "sys", "tmp")]
        tools.append(images.file("bin/busybox", Path(busybox).read_bytes(), 0o755))
        tools += [images.symlink(f"bin/{name}", "busybox") for name in PROGRAMS]
        config = {"Cmd": ["sh", "-c", script], "Env": ["PATH=/bin"], **config}
        job = images.image(images.layer([images.directory("./"), *tools]), names=["job:1"], config=config)
        store.ok("import", images.write_oci_archive(tmp_path / "job.tar", job))
        return store

    return make


@pytest.fixture
def nothing_left(store):
    """Nothing of the store runs, is mounted or has a control group afterwards."""
    yield
    deadline = time.monotonic() + PATIENCE
    while (left := processes_of(store)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert store.json("ps", "--all") == []
    assert store.json("mounts") == []
    assert not groups_below(store.root / "containers", store.runroot)
    store.ok("check")


def processes_of(store):
    """Processes that have a mount of a container of *store*."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"{store.root}/containers/" in (entry / "mountinfo").read_text(errors="replace"):
                    found.append((entry.name, (entry / "cmdline").read_bytes()))
            except OSError:
                continue
    return found


def odd_runtime(tmp_path, script):
    """A runtime that runs *script* instead of starting a container, once the file `odd` exists; else it works."""
    path = tmp_path / "runtime"
    real = programs.runtime()[0]
    condition = f'[ -e {tmp_path}/odd ] && case " $* " in *" run "*) {script.replace("REAL", real)};; esac'
    path.write_text(f'#!/bin/sh\n{condition}\nexec {real} "$@"\n')
    path.chmod(0o755)
    return str(path)


def one_line(outcome):
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("arstore: ") and "took:" not in line][-1:]
    return line


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo gibberish >&2; exit 3", "kill -KILL $$", 'REAL "$@" >/dev/null 2>&1; exit 1'],
    ids=["silent", "gibberish", "killed", "started-and-failed"],
)
def test_a_runtime_that_fails_half_way(made, nothing_left, tmp_path, script):
    store = made("sleep 1000")
    runtime = odd_runtime(tmp_path, script)
    store.ok("run", "--runtime", runtime, "job:1", "true")
    (tmp_path / "odd").touch()
    # The shell in the container ignores SIGTERM.
    outcome = store.run("run", "--stop-timeout", "1", "--runtime", runtime, "job:1", timeout=60)
    assert (outcome.status, len(outcome.err.splitlines())) == (126, 1), outcome.err


def test_a_runtime_that_hangs(made, nothing_left, tmp_path):
    store = made("true")
    runtime = odd_runtime(tmp_path, "sleep 1000")
    store.ok("run", "--runtime", runtime, "job:1", "true")
    (tmp_path / "odd").touch()
    began = time.monotonic()
    words = ("--timeout", "1", "--stop-timeout", "1", "--runtime", runtime)
    assert store.run("load", *words, "job:1", timeout=60).status == PipelineTimeoutError.exit_code
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("run", "--timeout", "1"), 255),
        (("load", "--timeout", "1"), PipelineTimeoutError.exit_code),
        (("load", "--timeout-total", "1"), PipelineTimeoutError.exit_code),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_runtime_that_hangs_in_its_trial(made, nothing_left, tmp_path, words, status):
    store = made("true")
    runtime = odd_runtime(tmp_path, "exec sleep 100")
    (tmp_path / "odd").touch()
    began = time.monotonic()
    outcome = store.run(*words, "--runtime", runtime, "job:1", timeout=60)
    assert time.monotonic() - began < 20
    assert (outcome.status, "did not run a trial container in" in one_line(outcome)) == (status, True), outcome.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("tried", [False, True], ids=["in its trial", "later"])
def test_a_runtime_that_hangs_ends_with_a_signal(made, nothing_left, tmp_path, number, tried):
    """The signal asks the command to end, whether the container is a trial's or the command's."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{signal.Signals(number).name} is ignored here, as under nohup(1)")
    store = made("true")
    runtime = odd_runtime(tmp_path, f"touch {tmp_path}/hangs; exec sleep 100")
    if tried:
        store.ok("run", "--runtime", runtime, "job:1", "true")
    (tmp_path / "odd").touch()
    process = store.start("run", "--runtime", runtime, "job:1", "true")
    end_when_it_hangs(process, tmp_path, number)
    # An interrupt has its own status; any other signal ends a trial as it ends every command.
    expected = {130} if number == signal.SIGINT else {126} if tried else {-number}
    assert {process.returncode} == expected, process.stderr.read()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 126), (signal.SIGINT, 130)])
def test_a_runtime_that_hangs_in_an_exec(made, nothing_left, tmp_path, number, status):
    store = made("sleep 100")
    real = programs.runtime()[0]
    path = tmp_path / "runtime"
    path.write_text(
        f'#!/bin/sh\ncase " $* " in *" exec "*) touch {tmp_path}/hangs; exec sleep 100;; esac\nexec {real} "$@"\n'
    )
    path.chmod(0o755)
    store.ok("run", "-d", "--name", "box", "--runtime", str(path), "job:1")
    process = store.start("exec", "box", "true")
    end_when_it_hangs(process, tmp_path, number)
    assert process.returncode == status, process.stderr.read()
    store.ok("container", "rm", "-f", "-t", "0", "box")


def end_when_it_hangs(process, tmp_path, number):
    """Send the signal once the runtime hangs, and wait for the end of the command."""
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "hangs").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    process.wait(timeout=PATIENCE)


@pytest.mark.parametrize(("way", "why"), [(">/dev/full", "no space left on device"), (">&-", "is closed")])
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_output_that_cannot_be_passed_on(made, nothing_left, way, why, verb):
    """A command that ended with 0 must not count as successful when its output is lost."""
    store = made("sleep 100")
    store.ok("run", "-d", "--name", "box", "job:1")
    words = ["run", "job:1"] if verb == "run" else ["exec", "box"]

    def ended(script, redirection):
        line = ["sh", "-c", f'"$@" {redirection}', "sh", *store.words(*words, "sh", "-c", script)]
        done = subprocess.run(line, capture_output=True, check=False, env=store.environment(), timeout=60)
        return done.returncode, done.stderr.decode()

    status, err = ended("echo there", way)
    assert (status, err.count("\n"), f"standard output: {why}" in err) == (HostError.exit_code, 1, True), err
    status, err = ended("echo there; exit 7", way)
    assert (status, f"warning: standard output: {why}" in err) == (7, True), err
    assert ended(":", way) == (0, "")
    assert ended("exit 3", way) == (3, "")
    assert ended("echo there >&2", "2>/dev/full")[0] == HostError.exit_code
    # A reader that has gone ends the command in the container as everywhere.
    assert "standard output" not in ended("while echo y; do :; done", "| head -1 >/dev/null")[1]
    store.ok("container", "rm", "-f", "-t", "0", "box")


def test_a_pipeline_that_forks_for_ever(made, nothing_left):
    """The usual limit on processes keeps the host alive, and the time-out ends it."""
    store = made("f() { f | f & }; while :; do f; done 2>/dev/null")
    words = ("--timeout", "2", "--stop-timeout", "1", "--pids-limit", "200")
    outcome = store.run("load", *words, "job:1", timeout=90)
    # A shell that cannot fork may end by itself.
    assert outcome.status in {PipelineFailedError.exit_code, PipelineTimeoutError.exit_code}, outcome.err
    assert "the pipeline ended" in one_line(outcome) or "did not finish" in one_line(outcome)


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_pipeline_that_leaves_thousands_of_files(made, nothing_left, count):
    store = made(f"cd $ARSTORE_IMAGES && seq {count} | xargs touch")
    outcome = store.run("load", "job:1", timeout=120)
    assert outcome.status == SubImageError.exit_code
    assert f"{count - 1} more" in one_line(outcome)


@pytest.mark.parametrize(
    "config",
    [
        {"HostConfig": {"Privileged": True, "CapAdd": ["SYS_ADMIN"], "Binds": ["/:/host"]}},
        {"CapAdd": ["ALL"], "Devices": ["/dev/kmsg"], "Privileged": True, "SecurityOpt": ["seccomp=unconfined"]},
        {"Labels": {"run.oci.keep_original_groups": "1", "run.oci.seccomp.receiver": "/run/receiver"}},
        {"Volumes": {"/host": {}}, "Labels": {"io.podman.annotations.privileged": "TRUE"}},
    ],
    ids=["host-config", "capabilities", "labels", "volumes"],
)
def test_an_image_that_asks_for_more_gets_no_more(made, nothing_left, config):
    script = "while read -r name value; do case $name in CapBnd:|Seccomp:|Groups:) echo $name $value;; esac; done"
    script += " </proc/self/status; for one in /host/*; do echo $one; done; mknod /tmp/k c 1 11; : </tmp/k"
    plain = made(script)
    expected = plain.run("run", "job:1")
    asking = made(script, **config)
    found = asking.run("run", "job:1")
    assert (found.status, found.out) == (expected.status, expected.out)
    assert b"Seccomp: 2" in found.out
    assert b"/host/*" in found.out


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.long)])
def test_many_bad_leavings_are_a_few_lines(made, nothing_left, count):
    store = made(f"cd $ARSTORE_IMAGES && seq {count} | xargs touch")
    outcome = store.run("load", "--json", "job:1", timeout=120)
    assert outcome.status == SubImageError.exit_code
    assert len(outcome.err.splitlines()) < 20
    assert f"{count - 10} more could not be imported" in outcome.err
    assert len(outcome.json["failed"]) == count


def test_an_image_without_a_command_is_no_pipeline(store, tmp_path):
    bare = images.image(images.layer([images.directory("./")]), names=["bare:1"], config={"Cmd": None})
    archive = images.write_oci_archive(tmp_path / "bare.tar", bare)
    outcome = store.run("load", "-i", archive)
    assert (outcome.status, "running" in outcome.err) == (ImageConfigError.exit_code, False)
    assert "bare:1: the image has neither an entrypoint nor a command" in one_line(outcome)


def test_a_name_that_no_pipeline_can_have(made, nothing_left, tmp_path):
    """It is refused before anything is imported; an image that has it already can be loaded by its digest."""
    store = made("true")
    before = store.json("images")
    bare = images.image(images.layer([images.file("x", b"x")]), names=[])
    archive = images.write_oci_archive(tmp_path / "bare.tar", bare)
    outcome = store.run("load", "-i", archive, "--name", "blobs")
    assert (outcome.status, "--name" in one_line(outcome)) == (InvalidReferenceError.exit_code, True)
    assert store.json("images") == before
    store.ok("tag", "job:1", "blobs:9")
    store.ok("untag", "job:1")
    outcome = store.run("load", "blobs:9")
    assert (outcome.status, "arstore tag blobs:9 NAME" in one_line(outcome)) == (InvalidReferenceError.exit_code, True)
    store.ok("load", before[0]["digest"])


def test_discarding_what_no_pipeline_left(made, nothing_left):
    store = made("exit 3")
    assert store.run("load", "--discard-failed", "jbo").status == NotFoundError.exit_code
    for _ in range(2):
        assert store.run("load", "job:1").status == PipelineFailedError.exit_code
    plan = store.run("load", "--discard-failed", "--dry-run", "job").text.splitlines()
    assert [line.startswith("would delete ") for line in plan] == [True] * len(plan)
    done = store.run("load", "--discard-failed", "job").text.splitlines()
    assert [f"would delete {line}" for line in done] == plan
