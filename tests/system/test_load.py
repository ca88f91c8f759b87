"""`load`: the pipeline runs once, its images are imported, its directory is clean; all of that also after a kill."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path

import pytest
from support import images
from support.cli import Arstore, kill
from support.waiting import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]

SUB_IMAGES = {"greeter:1", "counter:1"}


def names(store):
    """The names of all images in the store."""
    return {name for one in store.json("images") for name in one["names"]}


def contents(store):
    """The digests of all images, with their names."""
    return {one["digest"]: sorted(one["names"]) for one in store.json("images")}


def images_directory(store):
    """The directory in which the pipeline leaves its images."""
    (found,) = [path for path in store.root.glob("**/images") if path.parent.name.startswith("pipeline")]
    return found


def load(store, path, *options, **more):
    return store.run("load", "--json", "-i", path, *options, **more)


def test_three_images_and_a_clean_directory(store, pipeline):
    outcome = load(store, pipeline)
    assert outcome.status == 0, outcome.err
    report = outcome.json
    assert report["pipeline"]["exit_code"] == 0
    assert len(report["imported"]) == 2
    assert {name for one in report["imported"] for name in one["names"]} == SUB_IMAGES
    assert report["failed"] == []
    assert names(store) == {"pipeline:latest"} | SUB_IMAGES
    assert report["pipeline"]["image"] in {one["digest"] for one in store.json("images")}
    assert list(images_directory(store).iterdir()) == []
    assert store.json("mounts") == []
    store.ok("check")
    assert store.ok("run", "greeter:1").out == b"Hello from an image that a container built.\n"
    assert store.ok("run", "counter:1").out == b"1\n2\n3\n"


def test_the_second_time_is_the_same(store, pipeline):
    first = load(store, pipeline).json
    state = contents(store), store.bill()
    second = load(store, pipeline).json
    expected = [{**one, "layers": [{**part, "reused": True} for part in one["layers"]]} for one in first["imported"]]
    assert second["imported"] == expected
    assert (contents(store), store.bill()) == state


def test_a_name_in_any_script(store, pipeline, tmp_path):
    path = tmp_path / "流水线.tar.gz"
    path.symlink_to(pipeline)
    outcome = load(store, path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert outcome.status == 0, outcome.err
    assert names(store) == SUB_IMAGES
    assert len(store.json("images")) == 3


def test_its_output_is_seen_and_stdout_is_one_document(store, pipeline):
    outcome = load(store, pipeline)
    expected = {"pipeline", "seconds", "imported", "failed", "kept", "set_aside"}
    assert set(outcome.json) == expected | {"skipped", "skipped_count", "moved", "cleared"}
    assert "built greeter:1 and counter:1" in outcome.err


def test_a_container_that_fails(store, pipeline):
    line = store.fails("PipelineFailed", "load", "-i", pipeline, "--env", "PIPELINE_EXIT=7")
    assert "7" in line
    assert names(store) == {"pipeline:latest"}
    assert {path.name for path in images_directory(store).iterdir()} == {"greeter.tar", "counter"}
    store.ok("check")
    assert load(store, pipeline).status == 0
    assert names(store) == {"pipeline:latest"} | SUB_IMAGES
    assert list(images_directory(store).iterdir()) == []


def test_a_container_that_takes_too_long(store, pipeline):
    began = time.monotonic()
    # The import of the pipeline and a trial of the runtime count, too.
    store.fails(
        "PipelineTimeout", "load", "-i", pipeline, "--timeout", "4", "--stop-timeout", "1", "--env", "PIPELINE_SLEEP=60"
    )
    assert time.monotonic() - began < 30
    assert names(store) == {"pipeline:latest"}
    assert store.json("mounts") == []


def test_what_is_no_image_is_reported_and_nothing_is_cleaned(store, pipeline):
    outcome = load(store, pipeline, "--env", "PIPELINE_LEAVE=junk")
    assert outcome.status != 0
    failed = {Path(one["path"]).name: one["error"] for one in outcome.json["failed"]}
    assert set(failed) >= {"cut.tar"}
    assert all(failed.values())
    left = {path.name for path in images_directory(store).iterdir()}
    assert left >= {"greeter.tar", "counter", "cut.tar", "notes.txt"}
    store.ok("check")


def test_links_and_pipes_are_not_followed(store, pipeline):
    outcome = load(store, pipeline, "--env", "PIPELINE_LEAVE=symlinks special", timeout=60)
    assert outcome.status != 0
    failed = {Path(one["path"]).name for one in outcome.json["failed"]}
    assert {"file-link.tar", "directory-link", "pipe"} <= failed
    assert Path("/etc/passwd").exists()
    store.ok("check")


def test_a_name_with_a_newline(store, pipeline):
    outcome = load(store, pipeline, "--env", "PIPELINE_LEAVE=names")
    assert outcome.status == 0, outcome.err
    assert names(store) == {"pipeline:latest"} | SUB_IMAGES
    assert list(images_directory(store).iterdir()) == []


def test_images_may_be_kept(store, pipeline):
    assert load(store, pipeline, "--keep-images").status == 0
    assert {path.name for path in images_directory(store).iterdir()} == {"greeter.tar", "counter"}


def test_a_pipeline_that_builds_nothing(store, pipeline):
    outcome = load(store, pipeline, "--env", "PIPELINE_LEAVE=nothing")
    assert (outcome.status, outcome.json["imported"]) == (0, [])


def test_a_file_that_is_no_image(store, tmp_path):
    (tmp_path / "x.tar").write_text("no image")
    store.fails("UnknownFormat", "load", "-i", tmp_path / "x.tar")
    assert store.json("images") == []


def test_several_images_in_the_pipelines_archive(store, tmp_path):
    two = [images.image(images.layer([images.file(name)]), names=[f"{name}:1"]) for name in ("a", "b")]
    outcome = store.run("load", "-i", images.write_oci_archive(tmp_path / "two.tar", *two))
    assert outcome.status != 0
    assert "Traceback" not in outcome.err


def processes_about(text):
    """The ids of processes whose command line contains *text*."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def kill_and_finish(store, pipeline, delay):
    """Start a load, kill it after *delay* seconds, let a second one finish the job; return whether it was killed."""
    process = store.start("load", "-i", pipeline)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    killed = process.poll() is None
    kill(process)
    end = time.monotonic() + PATIENCE
    while processes_about(str(store.root)):
        assert time.monotonic() < end, "processes outlive arstore"
        time.sleep(0.02)
    assert str(store.runroot) not in Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    outcome = load(store, pipeline)
    assert outcome.status == 0, outcome.err
    assert names(store) == {"pipeline:latest"} | SUB_IMAGES
    assert list(images_directory(store).iterdir()) == []
    store.ok("gc")
    store.ok("check")
    return killed


def reference(store_at, pipeline):
    """The result of a load that is not killed, and its seconds."""
    began = time.monotonic()
    assert load(store_at, pipeline).status == 0
    seconds = time.monotonic() - began
    return contents(store_at), seconds


@pytest.mark.parametrize("steps", [4, pytest.param(30, marks=pytest.mark.long)])
def test_killed_at_any_moment_and_run_again(tmp_path, pipeline, steps):
    expected, seconds = reference(Arstore(tmp_path / "whole", tmp_path / "whole-run"), pipeline)
    killed = 0
    for step in range(steps):
        store = Arstore(tmp_path / f"root-{step}", tmp_path / f"run-{step}")
        killed += kill_and_finish(store, pipeline, seconds * (step + 1) / (steps + 1))
        assert contents(store) == expected
    assert killed, "every load was done before it was killed"


def test_json_errors(store, tmp_path):
    outcome = store.run("load", "--json", "-i", tmp_path / "missing.tar")
    assert outcome.status == 3
    assert json.loads(outcome.err.splitlines()[-1])["error"]["kind"] == "NotFound"
