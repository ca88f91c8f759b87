"""Containers of the store in a real runtime: what a run leaves, must not remove, and cleans up."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from support import images, stores

from arstore.errors import ArstoreError, CommandNotFoundError, ConflictError, InUseError, NotFoundError
from arstore.maintenance.gc import collect
from arstore.rootfs import mount as rootfs
from arstore.runtime.discovery import find_runtime
from arstore.runtime.lifecycle import containers, control
from arstore.runtime.lifecycle.containers import RunRequest, remove, require_idle, run, start
from arstore.runtime.spec.options import RunOptions
from arstore.store.store import Store

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]


@pytest.fixture(params=["auto", "directory"])
def store(tmp_path, busybox, request, monkeypatch):
    """A store with a busybox image, with trees of either format."""
    choose = Store.tree_forms
    monkeypatch.setattr(Store, "tree_forms", lambda self, _name="auto": choose(self, request.param))
    members = [*map(images.directory, ("./", "bin", "etc")), images.directory("tmp", 0o1777)]
    members.append(images.file("bin/busybox", Path(busybox).read_bytes(), 0o755))
    members += [images.symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "sleep", "true", "touch", "test")]
    lower = images.layer(members, "none")
    upper = images.layer([images.directory("./"), images.file("greeting", b"hello\n")], "none")
    with stores.filled(tmp_path, images.image(lower, upper, names=["box:1"], config={"Env": ["PATH=/bin"]})) as made:
        yield made
        for one in made.containers.list():
            with contextlib.suppress(ArstoreError):
                control.kill(one.path)
            shutil.rmtree(one.path, ignore_errors=True)


def request_for(store, *words, **more):
    runtime = find_runtime(None, store.directories.runroot)
    return RunRequest(store.find("box:1"), RunOptions(args=words), runtime, **more)


def test_a_run_leaves_nothing(store):
    before = stores.files(store.directories.root), stores.records(store)
    told = []
    assert run(store, request_for(store, "sh", "-c", "cat /greeting && touch /new && exit 3"), told.append).status == 3
    assert len(told) == 1
    assert (stores.files(store.directories.root), stores.records(store)) == before
    stores.verify_clean(store)


def test_a_run_that_is_kept(store):
    assert run(store, request_for(store, "touch", "/new", name="kept", keep=True)).status == 0
    container = store.containers.get("kept")
    assert os.path.exists(f"{container.upper}/new")
    require_idle(store, container)
    record = rootfs.mount_container(store, container)
    assert {"new", "greeting", "tmp"} <= set(os.listdir(record.target))
    with pytest.raises(InUseError, match="mounted"):
        remove(store, "kept")
    stores.umount_all(store)
    remove(store, "kept")
    stores.verify_clean(store)


def test_a_run_that_cannot_start_leaves_nothing(store):
    before = stores.files(store.directories.root), stores.records(store)
    with pytest.raises(CommandNotFoundError):
        run(store, request_for(store, "/no/such/command"))
    with pytest.raises(CommandNotFoundError):
        start(store, request_for(store, "/no/such/command"))
    assert (stores.files(store.directories.root), stores.records(store)) == before


def test_a_detached_one(store):
    container_id = start(store, request_for(store, "sleep", "60", name="detached"))
    container = store.containers.get(container_id)
    with pytest.raises(InUseError):
        remove(store, container_id)
    store.untag("box:1")
    assert collect(store).images == ()
    control.kill(container.path)
    control.wait(container.path, 10)
    remove(store, container_id)
    with pytest.raises(NotFoundError):
        remove(store, container_id)
    assert len(collect(store).images) == 1
    stores.verify_clean(store)


def test_an_id_that_is_taken(store):
    run(store, request_for(store, "true", name="one", keep=True))
    with pytest.raises(ConflictError):
        run(store, request_for(store, "true", name="one"))
    assert [one.id for one in store.containers.list()] == ["one"]


def test_what_a_killed_process_left_goes_with_the_next_run(store):
    image = store.find("box:1")
    for name in ("lost", "mine"):
        rootfs.create_container(store, image, name, ephemeral=True)
    stores.edit(store, "containers", "lost", start=stores.dead_owner().start)
    with pytest.raises(InUseError):
        require_idle(store, store.containers.get("mine"))
    assert not containers.container_is_owned(store.containers.get("lost"))
    assert run(store, request_for(store, "true")).status == 0
    assert [one.id for one in store.containers.list()] == ["mine"]
    assert not rootfs.remove_abandoned(store)
