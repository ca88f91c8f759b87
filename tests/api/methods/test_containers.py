"""`store.containers`: a container's whole life, without the command line."""

from __future__ import annotations

import pytest
from support import runnable

import arstore
from arstore import errors

pytestmark = [pytest.mark.mounts, pytest.mark.runtime]


@pytest.fixture
def box(store, tmp_path):
    made = runnable.write_runnable(tmp_path)
    if not made:
        pytest.skip("needs busybox")
    return store.import_image(made["box"])


def test_a_life(store, box, tmp_path):
    containers = store.containers
    job = containers.create(box, "/bin/sh", "-c", "echo made > /made; exec sleep 300", name="job")
    assert (job.name, job.image, job.status, job.is_running) == ("job", box.digest, "created", False)
    assert job.exit_code is None
    containers.start("job")
    running = containers.get(job)
    assert running.is_running
    assert running.pid
    assert running.args[0] == "/bin/sh"
    with pytest.raises(errors.InUseError):
        containers.remove("job")
    with pytest.raises(errors.InUseError):
        containers.commit("job", "made:1")
    assert containers.exec(job, "/bin/sh", "-c", "exit 5").status == 5
    (stopped,) = containers.stop("job", timeout=0.2)
    assert stopped.was_running
    assert containers.wait(job).exit_code == 128 + 9
    assert not containers.stop("job")[0].was_running
    assert containers.rename(job, "done").name == "done"
    assert "/made" in {one.path for one in store.diff(job)}
    done = containers.commit("done", "made:1", changes=["CMD /bin/true"], message="a note")
    assert done.image.names == ("made:1",)
    assert store.history("made:1")[0].comment == "a note"
    exported = store.export(job, tmp_path / "root.tar")
    assert exported.container == job.id
    plan = containers.prune(dry_run=True)
    assert plan.removed == (job.id,)
    assert containers.prune().removed == plan.removed
    assert containers.list() == ()


def test_restart_pause_and_kill(store, box):
    containers = store.containers
    first = containers.create(box, "/bin/sh", "-c", "exec sleep 300")
    containers.start(first)
    before = containers.get(first)
    containers.restart(first, timeout=0.2)
    assert containers.get(first).started > before.started
    try:
        containers.pause(first)
    except errors.HostError:
        pass  # without control groups
    else:
        assert containers.get(first).status == "paused"
        containers.unpause(first)
    with pytest.raises(errors.UsageError):
        containers.kill(first, signal="NONE")
    assert containers.kill(first, signal="KILL") == 9
    assert containers.wait(first).exit_code == 128 + 9
    assert containers.remove(first, first.id) == (first.id,)


def test_an_unknown_container_keeps_the_others_as_they_are(store, box):
    one = store.containers.create(box, "/bin/true", name="one")
    with pytest.raises(errors.NotFoundError):
        store.containers.remove("one", "two")
    assert store.containers.list() == (one,)
    assert store.containers.remove("one", "two", force=True) == (one.id,)


def test_values_can_be_kept(store, box):
    made = store.containers.create(box, "/bin/true", options=arstore.RunOptions(labels={"a": "b"}))
    assert store.containers.find(made, made.id, made.name) == (made,)
    assert made.started is None
