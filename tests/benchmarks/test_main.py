"""The command as a whole, and the files that it leaves."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import parse, work_directory
from benchmarks.archives import deep_stack
from benchmarks.ground import CHECKOUT, Ground
from benchmarks.measure import MeasurementError, UnavailableError
from benchmarks.rows import ROWS


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BENCHMARK_PYTHON": sys.executable}
    command = [str(CHECKOUT / "benchmarks" / "run"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    directory = tmp_path / "images"
    directory.mkdir()
    deep_stack(str(directory / "base.tar"), 3)
    return directory


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--on", "/"],
        ["--on", "/no/such", "--images", "/"],
        ["--on", "/", "--images", "/", "--only", "nothing"],
        ["--on", "/", "--images", "/", "--rounds", "0"],
        ["--on", "/", "--images", "/", "--timeout", "0"],
    ],
)
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(words)
    assert caught.value.code == 2


def test_rows_are_chosen_by_name() -> None:
    assert parse(["--on", "/", "--images", "/", "--only", "memory,space"]).only == ["memory", "space"]
    assert parse(["--on", "/", "--images", "/"]).only == list(ROWS)
    assert run("--list").stdout.split() == list(ROWS)


def test_every_row_can_be_made_and_its_bars_are_about_its_contenders(tmp_path: Path) -> None:
    ground = Ground(str(tmp_path), str(tmp_path))
    for name, make in ROWS.items():
        row = make(ground)
        labels = [contender.label for contender in row.contenders]
        assert row.name == name
        assert len(set(labels)) == len(labels)
        for bar in row.bars:
            assert {bar.subject, *bar.against} <= set(labels), bar
            assert bar.required


def test_the_work_directory_goes_and_so_do_those_that_were_left(tmp_path: Path) -> None:
    left, used = tmp_path / "arstore-benchmark-left", tmp_path / "arstore-benchmark-used"
    for directory in (left, used):
        (directory / "store").mkdir(parents=True)
    fd = os.open(used, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with work_directory(str(tmp_path)) as work:
            (Path(work) / "file").write_text("x")
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted([used.name, Path(work).name])
    finally:
        os.close(fd)
    assert [path.name for path in tmp_path.iterdir()] == [used.name]


def test_peers_in_another_root_see_other_paths(tmp_path: Path) -> None:
    for name in ("work", "images", "peers"):
        (tmp_path / name).mkdir()
    ground = Ground(*(str(tmp_path / name) for name in ("work", "images", "peers")))
    assert ground.seen(f"{tmp_path}/work/podman") == "/mnt/podman"
    assert ground.seen(f"{tmp_path}/images/base.tar") == "/media/base.tar"
    assert ground.unseen("/mnt/podman/x") == f"{tmp_path}/peers/mnt/podman/x"
    with pytest.raises(MeasurementError):
        ground.seen(str(tmp_path))
    with pytest.raises(UnavailableError, match=r"no base\.tar"):
        ground.archive("base")


@pytest.mark.root
@pytest.mark.mounts
def test_a_run_measures_and_leaves_nothing(tmp_path: Path, images: Path) -> None:
    on, out = tmp_path / "on", tmp_path / "out"
    on.mkdir()
    rows = "command-mount,mount-m100,import-base"
    done = run("--on", on, "--images", images, "--rounds", 1, "--only", rows, "--output", out, "--timeout", 60)
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "results.json").read_text())
    found = {row["name"]: {one["label"]: one for one in row["contenders"]} for row in document["rows"]}
    assert list(found) == rows.split(",")
    assert found["command-mount"]["arstore"]["failure"] is None, done.stderr
    assert len(found["command-mount"]["arstore"]["samples"][0]["milliseconds"]) == 10
    assert found["mount-m100"]["arstore"]["failure"] == "no m100.tar among the images"
    assert found["import-base"]["floor"]["samples"][0]["seconds"][0] > 0
    assert found["import-base"]["arstore"]["samples"][0]["seconds"][0] > 0
    assert list(on.iterdir()) == []
    for name in ("results.json", "results.md", "results.svg"):
        assert str(tmp_path) not in (out / name).read_text()


@pytest.mark.root
@pytest.mark.mounts
def test_a_run_that_is_killed_leaves_nothing(tmp_path: Path, images: Path) -> None:
    on = tmp_path / "on"
    on.mkdir()
    arguments = ["--on", str(on), "--images", str(images), "--only", "command-mount", "--rounds", "1000"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "benchmarks", *arguments, "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "round 1: arstore" not in process.stderr.readline():
            assert process.poll() is None
        process.terminate()
        process.stderr.read()
        assert process.wait(30) != 0
    assert list(on.iterdir()) == []


def test_every_row_is_documented() -> None:
    text = (CHECKOUT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [name for name in ROWS if f"`{name}`" not in text] == []
