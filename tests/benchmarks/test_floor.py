"""The floor does all the work that it claims to do, and detects wrong bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import images

from benchmarks import floor
from benchmarks.archives import deep_stack, huge_layer
from benchmarks.ground import CHECKOUT


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.floor", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def archive(tmp_path: Path) -> str:
    path = str(tmp_path / "deep.tar")
    deep_stack(path, 5)
    return path


def test_every_layer_is_inflated_and_written(archive: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = run(archive, out)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["layers"] == 5
    assert 0 < said["seconds"] < 30
    assert sorted(os.listdir(out)) == [f"{number}.tar" for number in range(5)]
    assert all(path.stat().st_size % 512 == 0 and path.stat().st_size for path in out.iterdir())


def test_a_large_layer_arrives_whole(tmp_path: Path) -> None:
    huge_layer(str(tmp_path / "huge.tar"), 32 << 20)
    (layer,) = floor.layers(str(tmp_path / "huge.tar"))
    for inflater in floor.inflaters():
        assert floor.measure(str(tmp_path / "huge.tar"), [layer], inflater, str(tmp_path), 2) > 0
        assert (tmp_path / "0.tar").stat().st_size == (32 << 20) + 3 * 512


def test_layers_of_another_archive_are_left_out(archive: str, tmp_path: Path) -> None:
    fewer = str(tmp_path / "fewer.tar")
    deep_stack(fewer, 3)
    assert json.loads(run(archive, tmp_path, "--without", fewer).stdout)["layers"] == 2
    assert json.loads(run(fewer, tmp_path, "--without", archive).stdout)["layers"] == 0


@pytest.mark.parametrize("field", ["digest", "diff_id"])
def test_a_wrong_digest_is_noticed(archive: str, tmp_path: Path, field: str, capfd: pytest.CaptureFixture[str]) -> None:
    layers = floor.layers(archive)
    layers[2] = replace(layers[2], **{field: "0" * 64})
    with pytest.raises(floor.FloorError, match="could not be taken"):
        floor.measure(archive, layers, next(iter(floor.inflaters())), str(tmp_path), 2)
    assert "do not have its digests" in capfd.readouterr().err


def test_a_full_disk_is_an_error_and_no_deadlock(tmp_path: Path) -> None:
    huge_layer(str(tmp_path / "huge.tar"), 32 << 20)
    fd = os.open(tmp_path / "huge.tar", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="No space"):
            floor.take(fd, floor.layers(str(tmp_path / "huge.tar"))[0], next(iter(floor.inflaters())), "/dev/full")
    finally:
        os.close(fd)


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"x" * 4096)
    done = run(tmp_path / "bad.tar", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("floor: not an archive of one image")


@pytest.mark.parametrize("style", ["podman", "old"])
def test_the_layers_of_a_docker_archive_are_hashed_and_synced_once(tmp_path: Path, style: str) -> None:
    layers = [images.layer([images.file(name, name.encode() * 9000)], "none") for name in "abc"]
    path = images.write_docker_archive(tmp_path / "docker.tar", images.image(*layers, names=["x:1"]), style=style)
    assert [layer.diff_id for layer in floor.layers(str(path))] == [one.diff_id.partition(":")[2] for one in layers]
    out = tmp_path / "out"
    out.mkdir()
    done = run(path, out, "--sync")
    assert done.returncode == 0, done.stderr
    assert sorted(file.read_bytes() for file in out.iterdir()) == sorted(layer.blob for layer in layers)


def test_a_docker_archive_with_other_bytes_is_noticed(tmp_path: Path) -> None:
    layer = images.layer([images.file("a", b"a" * 9000)], "none")
    path = images.write_docker_archive(tmp_path / "docker.tar", images.image(layer, names=["x:1"]))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a" * 8000, b"a" * 7999 + b"b"))
    assert "digests" in run(path, tmp_path).stderr
