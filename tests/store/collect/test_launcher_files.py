"""Files of launchers that were killed: which go, and which stay because a process may need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import stores

from arstore.disk.owner import Owner
from arstore.maintenance.check import check
from arstore.maintenance.gc import collect, plan_collection
from arstore.rootfs.mount import create_container
from arstore.store.collect.launcher_files import left_by_launchers, remove_left
from arstore.store.container_document import is_unattended, take_launch_lock, write_request

PASSING = ("attach", "health.json.new", "record.new", "run.json.new", "state.json.0", "state.json.tmp")
STAYING = ("state.json", "health.json", "health.lock", "log", "log.1", "run.json", "record")


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


@pytest.fixture
def container(store):
    """A container with every file that a launcher has, and some more."""
    stores.bring(store, stores.simple("a", names=("x:1",)))
    made = create_container(store, store.find("x:1"), "kept")
    write_request(made.path, {}, durable=False)
    for name in (*PASSING, *STAYING):
        if not os.path.exists(f"{made.path}/{name}"):
            Path(made.path, name).write_bytes(b"x" * 5000)
    Path(made.path, "upper/attach").write_bytes(b"of the container")
    return made


def test_they_go_and_the_others_stay(store, container):
    places = tuple(f"containers/kept/{name}" for name in PASSING)
    assert left_by_launchers(store) == places
    size = sum(os.stat(f"{container.path}/{name}").st_blocks * 512 for name in PASSING)
    plan = plan_collection(store)
    assert (plan.orphans, plan.bytes) == (places, size)
    found = [one for one in check(store, quick=True) if one.what in places]
    assert len(found) == len(places)
    assert all(one.harmless for one in found)
    collected = collect(store, plan)
    assert (sorted(collected.orphans), collected.bytes) == (sorted(places), size)
    assert {*STAYING, "upper", "work"} <= {*os.listdir(container.path)}
    assert not {*PASSING} & {*os.listdir(container.path)}
    assert Path(container.path, "upper/attach").exists()
    assert not plan_collection(store)


def test_those_of_a_living_launcher_stay(store, container):
    planned = left_by_launchers(store)
    lock = take_launch_lock(container.path)
    assert lock is not None
    assert not is_unattended(container.path)
    assert left_by_launchers(store) == ()
    assert remove_left(store, planned) == {}
    os.close(lock)
    assert {*PASSING} <= {*os.listdir(container.path)}
    assert is_unattended(container.path)
    assert remove_left(store, planned[:1]).keys() == {planned[0]}


def test_those_of_a_container_that_belongs_to_a_process_stay(store, container):
    planned = left_by_launchers(store)
    store.containers.belong("kept", Owner.current())
    assert left_by_launchers(store) == ()
    assert remove_left(store, planned) == {}


def test_a_container_that_is_gone(store, container):
    planned = left_by_launchers(store)
    store.containers.remove("kept")
    assert remove_left(store, planned) == {}


def test_a_container_without_a_document_has_no_launcher(store, container):
    os.unlink(f"{container.path}/run.json")
    assert left_by_launchers(store) == ()
    assert not is_unattended(container.path)
