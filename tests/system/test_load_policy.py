"""Behaviour of `load` after a failure, and its messages and refusals before it runs anything."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import budget, images

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]

SUB_IMAGES = {"greeter:1", "counter:1"}
NAME = "builder:1"


@pytest.fixture
def place(store):
    return store.root / "builder"


def load(store, pipeline, *options):
    return store.run("load", "--json", "-i", pipeline, "--name", NAME, *options)


def left(place):
    return {path.name for path in (place / "images").iterdir()}


def set_aside(place):
    failed = place / "failed"
    return sorted(failed.iterdir()) if failed.exists() else []


def names(store):
    return {name for image in store.json("images") for name in image["names"]}


def test_what_a_failed_run_left_is_set_aside_unread_and_the_next_starts_empty(store, pipeline, place):
    assert load(store, pipeline, "-e", "PIPELINE_EXIT=7", "-e", "PIPELINE_LEAVE=junk special").status == 60
    before = left(place)
    assert {"greeter.tar", "counter", "cut.tar", "pipe"} <= before
    done = load(store, pipeline, "-e", "PIPELINE_LEAVE=nothing")
    assert done.status == 0, done.err
    (aside,) = set_aside(place)
    assert done.json["set_aside"] == str(aside)
    assert {path.name for path in aside.iterdir()} == before
    assert left(place) == set()
    assert done.json["imported"] == []
    assert "the run left no images" in done.err
    assert names(store) == {NAME}
    assert store.json("du")["total"] == int(subprocess.check_output(["du", "-sB1", store.root]).split()[0])
    plan = store.json("load", "--discard-failed", "--dry-run", "builder")
    assert [one["path"] for one in plan["discarded"]] == [str(aside)]
    assert aside.exists()
    assert store.json("load", "--discard-failed", "builder") == plan
    assert set_aside(place) == []
    assert store.json("load", "--discard-failed", "builder") == {"discarded": [], "bytes": 0}


def test_two_failures_in_one_second_lie_beside_each_other(store, pipeline, place):
    for _ in range(3):
        assert load(store, pipeline, "-e", "PIPELINE_EXIT=1").status == 60
    assert len(set_aside(place)) == 2


def test_leavings_of_a_failed_run_can_be_taken_up(store, pipeline, place):
    assert load(store, pipeline, "-e", "PIPELINE_EXIT=7").status == 60
    done = load(store, pipeline, "--resume-leavings", "-e", "PIPELINE_LEAVE=names")
    assert done.status == 0, done.err
    assert set_aside(place) == []
    assert names(store) > SUB_IMAGES


def test_a_time_out_is_a_failure_too(store, pipeline, place):
    words = ("--timeout-part", "run=1", "--stop-timeout", "0.5", "-e", "PIPELINE_SLEEP=60")
    assert load(store, pipeline, *words).status == 61
    (place / "images/half").write_bytes(b"x")
    assert load(store, pipeline).status == 0
    assert [path.name for path in set_aside(place)[0].iterdir()] == ["half"]


def test_what_a_good_run_left_is_imported_first_without_running_again(store, pipeline, place):
    assert load(store, pipeline, "-e", "PIPELINE_LEAVE=junk").status == 62
    assert {"greeter.tar", "counter", "cut.tar", "notes.txt"} <= left(place)
    assert load(store, pipeline).status == 62
    for name in ("cut.tar", "notes.txt"):
        (place / "images" / name).unlink()
    done = load(store, pipeline)
    assert done.status == 0, done.err
    assert done.json["pipeline"]["has_run"] is False
    assert done.json["pipeline"]["exit_code"] is None
    assert "was not run again" in done.err
    assert {name for image in done.json["imported"] for name in image["names"]} == SUB_IMAGES
    assert left(place) == set()
    assert set_aside(place) == []
    assert load(store, pipeline).json["pipeline"]["has_run"] is True


def test_rerun_imports_what_it_can_sets_the_rest_aside_and_runs(store, pipeline, place):
    assert load(store, pipeline, "-e", "PIPELINE_LEAVE=junk").status == 62
    done = load(store, pipeline, "--rerun")
    assert done.status == 0, done.err
    assert done.json["pipeline"]["has_run"] is True
    assert {path.name for path in set_aside(place)[0].iterdir()} >= {"cut.tar", "notes.txt"}
    assert left(place) == set()


def test_another_image_of_the_same_name_is_run_after_that(store, pipeline, other_pipeline, place):
    assert load(store, pipeline, "-e", "PIPELINE_LEAVE=junk").status == 62
    for name in ("cut.tar", "notes.txt"):
        (place / "images" / name).unlink()
    done = load(store, other_pipeline)
    assert done.status == 0, done.err
    assert done.json["pipeline"]["has_run"] is True
    # The same two images both times: each is listed once.
    assert len(done.json["imported"]) == 2


@pytest.fixture
def other_pipeline(pipeline, tmp_path):
    """The same pipeline with another digest."""
    tool = Path(__file__).parents[2] / "tools/pipeline_image.py"
    path = tmp_path / "other.tar.gz"
    subprocess.run(["python3", tool, path, "--sleep", "1"], check=True)
    return path


def test_kept_images_stay_for_the_next_run(store, pipeline, place):
    assert load(store, pipeline, "--keep-images").status == 0
    assert left(place) == {"greeter.tar", "counter"}
    assert load(store, pipeline, "--keep-images").status == 0
    assert left(place) == {"greeter.tar", "counter"}
    assert set_aside(place) == []


def running(store, pipeline, *options):
    words = ["load", "-i", pipeline, "--name", NAME, "-e", "PIPELINE_SLEEP=60", *options]
    process = store.start(*words)
    deadline = time.monotonic() + 60
    while not any(one["status"] == "running" for one in store.json("ps")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_killed_while_it_ran(store, pipeline, place):
    with running(store, pipeline) as process:
        (place / "images/half").write_bytes(b"x")
        process.kill()
        process.wait()
    assert load(store, pipeline).status == 0
    assert [path.name for path in set_aside(place)[0].iterdir()] == ["half"]


@pytest.mark.parametrize("trapped", [False, True])
def test_sigterm_stops_the_container_and_what_ignores_it_is_killed(store, pipeline, trapped):
    """The image's shell ignores SIGTERM as PID 1; under an init it gets it."""
    with running(
        store, pipeline, "--stop-timeout", "1" if trapped else "30", *([] if trapped else ["--init"])
    ) as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 60
        assert time.monotonic() - began < 25
    assert store.json("ps", "--all") == []


def test_the_whole_load_has_a_limit_of_its_own(store, pipeline):
    began = time.monotonic()
    assert load(store, pipeline, "--timeout-total", "0.001").status == 61
    assert load(store, pipeline, "--timeout-total", "3", "--stop-timeout", "1", "-e", "PIPELINE_SLEEP=60").status == 61
    assert time.monotonic() - began < 40
    store.ok("check")
    assert load(store, pipeline, "--timeout-total", "600").status == 0


def test_a_time_limit_says_what_was_under_way(store, pipeline):
    sleeping = ("--stop-timeout", "1", "-e", "PIPELINE_SLEEP=60")
    for words, said in (
        (("--timeout", "0.001"), "did not finish in 0.001 seconds (--timeout 0.001), while importing the pipeline"),
        (("--timeout-part", "import=0.001"), "(--timeout-part import=0.001), while importing the pipeline"),
        (("--timeout", "3", *sleeping), "was stopped (--timeout 3), while running it"),
        (("--timeout-part", "run=1", *sleeping), "was stopped (--timeout-part run=1), while running it"),
    ):
        done = load(store, pipeline, *words)
        assert (done.status, said in done.err) == (61, True), done.err
    for wrong in ("run", "run=", "run=-1", "run=nan", "clearing=3", "3", "=3"):
        store.fails("Usage", "load", "-i", pipeline, "--timeout-part", wrong)
    store.ok("check")


def test_an_image_of_the_store_by_name_and_by_digest(store, pipeline, place):
    store.ok("import", pipeline, "--name", NAME)
    done = store.run("load", "--json", NAME)
    assert done.status == 0, done.err
    assert done.json["pipeline"]["names"] == [NAME]
    assert place.exists()
    digest = done.json["pipeline"]["image"]
    assert store.run("load", "--json", digest[7:19]).json["pipeline"]["image"] == digest
    assert "no such image" in store.fails("NotFound", "load", "nosuch:1")
    for words in ([], [NAME, "-i", pipeline], [NAME, "--name", "x"], [NAME, "--dry-run"]):
        store.fails("Usage", "load", *words)


def test_it_says_what_it_runs_unless_the_image_is_made_for_it(store, pipeline, plain_archive):
    assert "arstore import" not in load(store, pipeline).err
    done = store.run("load", "-i", plain_archive, "--name", "plain:1")
    assert done.status == 0, done.err
    assert "plain:1: running `/bin/sh -c :` as root; `arstore import` only imports" in done.err
    before = store.json("ps", "--all")
    line = store.fails("PipelineRefused", "load", "--require-label", "-i", plain_archive, "--name", "plain:1")
    assert "arstore.pipeline=true" in line
    assert store.json("ps", "--all") == before
    assert load(store, pipeline, "--require-label").status == 0


@pytest.fixture
def plain_archive(tmp_path, busybox):
    """An image without the label, whose command does nothing."""
    members = [images.directory("bin"), images.file("bin/sh", Path(busybox).read_bytes(), 0o755)]
    image = images.image(images.layer(members), names=["plain:1"], config={"Cmd": ["/bin/sh", "-c", ":"]})
    return images.write_oci_archive(tmp_path / "plain.tar", image)


@pytest.mark.parametrize(
    ("user", "umask"), budget.one_of(2, itertools.product(("1000", "1000:2000"), (0o022, 0o077, 0o777)))
)
def test_a_user_who_is_not_root_can_leave_images(store, pipeline, place, umask, user):
    before = os.umask(umask)
    try:
        done = load(store, pipeline, "-u", user)
    finally:
        os.umask(before)
    assert done.status == 0, done.err
    assert len(done.json["imported"]) == 2
    assert (place / "images").stat().st_uid == 1000
    assert load(store, pipeline).status == 0
    assert (place / "images").stat().st_uid == 0


def test_the_report(store, pipeline):
    first = load(store, pipeline)
    assert first.json["pipeline"]["names"] == [NAME]
    assert set(first.json["seconds"]) == {"import", "run", "leavings"}
    assert "imported 2 images" in first.err
    second = load(store, pipeline)
    assert "imported 2 images, 2 of them already in the store" in second.err
    text = store.run("load", "-i", pipeline, "--name", NAME)
    lines = text.out.decode().splitlines()
    assert lines[0] == f"{first.json['pipeline']['image']} {NAME}"
    assert len(lines) == 3


def test_options_of_run(store, pipeline, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("given")
    (tmp_path / "env").write_text("# comment\nPIPELINE_LEAVE=nothing\n")
    words = ["-v", f"{tmp_path}/in:/in:ro", "--env-file", tmp_path / "env", "--cap-drop", "all", "--tmpfs", "/scratch"]
    words += ["--ulimit", "nofile=256", "-m", "256m", "--pids-limit", "100", "--security-opt", "no-new-privileges"]
    done = load(store, pipeline, *words)
    assert done.status == 0, done.err
    assert done.json["imported"] == []
    store.fails("NotFound", "load", "-i", pipeline, "-v", "/no/such:/x")
    store.fails("Usage", "load", "-i", pipeline, "--cap-add", "nonsense")
    store.fails("Usage", "load", "-i", pipeline, "--security-opt", f"seccomp={tmp_path}/env")


def test_state_files_that_say_nothing(store, pipeline, place):
    """State files spoilt by a power cut or by another program count as those of a failed run."""
    assert load(store, pipeline).status == 0
    for content in (b"", b"{", b"[]", json.dumps({"state": "ended"}).encode(), b"\xff" * 10000):
        (place / ".last").write_bytes(content)
        (place / "images/half").write_bytes(b"x")
        assert load(store, pipeline).status == 0
        assert left(place) == set()
    assert len(set_aside(place)) == 5


@pytest.mark.parametrize("part", ["builder", "builder/images", "builder/failed", "pipelines"])
@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_something_else_in_a_directorys_place_is_named_by_its_path(store, pipeline, place, part, kind):
    # The next run sets aside the leavings of a failed run.
    assert load(store, pipeline, "-e", "PIPELINE_EXIT=7").status == 60
    path = store.root / part
    if path.exists():
        path.rename(f"{path}.was")
    if kind == "file":
        path.write_text("x")
    else:
        path.symlink_to("/tmp")
    words = ("load", "-i", pipeline, "--name", NAME)
    line = store.fails("Host", *words)
    assert f"arstore: {path}: " in line
    assert ("symlink" in line) == (kind == "symlink")
