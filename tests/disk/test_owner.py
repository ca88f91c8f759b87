"""Owners are found alive from every pid namespace of the host, and dead as soon as they have ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import pytest
from support import stores
from support.cli import REPOSITORY

from arstore.disk import owner as module
from arstore.disk.owner import Owner
from arstore.disk.staging import Ingest
from arstore.linux.files.filelock import lock_byte
from arstore.linux.process import boot_id, start_time
from arstore.maintenance.gc import collect, plan_collection
from arstore.store.collect.lease import leased

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.tools("unshare")]

INSIDE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
SECOND = (*INSIDE, "sh", "-c", '"$@"; exit $?', "sh")
"""Runs a command with another pid than 1, the first process of a namespace."""

HOLDER = """
import sys
from arstore.rootfs import mount as rootfs
from arstore.disk.staging import Ingest
from arstore.store.collect.lease import leased
from arstore.store.store import Store
with Store(sys.argv[1], sys.argv[2]) as store, Ingest(store.directories) as ingest:
    image = store.find("x:1")
    rootfs.create_container(store, image, "inner", ephemeral=True)
    with leased(store.graph, image.digest, "test"):
        print(ingest.path, flush=True)
        sys.stdin.read()
"""
COLLECTOR = """
import sys
from arstore.maintenance.gc import collect
from arstore.store.store import Store
with Store(sys.argv[1], sys.argv[2]) as store:
    found = collect(store)
    print([*found.ingests, *found.leases, *found.containers, *found.images])
"""


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        stores.bring(made, stores.simple("a", names=("x:1",)))
        yield made


@contextlib.contextmanager
def held_inside(store):
    """A process in new pid and mount namespaces that holds all it can; and its ingest."""
    words = [*INSIDE, sys.executable, "-c", HOLDER, store.directories.root, store.directories.runroot]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def collected(store, *prefix):
    words = [*prefix, sys.executable, "-c", COLLECTOR, store.directories.root, store.directories.runroot]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("prefix", [(), SECOND], ids=["first-namespace", "another-namespace"])
def test_what_lives_in_another_namespace_stays(store, prefix):
    with held_inside(store) as (_, path):
        store.untag("x:1")
        assert collected(store, *prefix) == "[]"
        assert os.path.isdir(path)
        assert [container.id for container in store.containers.list() if not container.abandoned] == ["inner"]


@pytest.mark.parametrize("prefix", [(), SECOND], ids=["first-namespace", "another-namespace"])
def test_what_died_in_another_namespace_goes(store, prefix):
    with held_inside(store) as (process, path):
        process.kill()
        process.wait()
    store.untag("x:1")
    assert "inner" in collected(store, *prefix)
    assert not os.path.exists(path)
    assert store.images() == []
    assert not plan_collection(store)


def test_what_lives_here_is_seen_from_another_namespace(store):
    digest = store.find("x:1").digest
    with Ingest(store.directories) as ingest, leased(store.graph, digest, "test"):
        store.untag("x:1")
        assert collected(store, *SECOND) == "[]"
        assert os.path.isdir(ingest.path)
    assert collect(store).images == (digest,)


def test_what_cannot_be_known_counts_as_alive(tmp_path):
    assert Owner(1, 1, f"{boot_id()}+4026530000").is_alive()
    assert Owner(1, 1, f"{boot_id()}+4026530000").is_alive(str(tmp_path))
    assert not Owner(1, 1, "another-boot+4026530000").is_alive()


def test_a_directory_tells_its_owner():
    owner = Owner(7, 8, f"{boot_id()}+4026530000")
    assert Owner.of_directory(owner.directory_name()) == owner


def test_a_process_with_the_same_pid_in_another_namespace_is_waited_for(store):
    with held_inside(store) as (holder, _):
        timer = threading.Timer(0.5, holder.kill)
        timer.start()
        found = collected(store, *INSIDE)
        timer.join()
        holder.wait()
        # The kernel releases locks one by one: in between, the graph may open although the owner still seems alive.
        assert "inner" in found or "inner" in collected(store, *INSIDE)


# --- time namespaces ------------------------------------------------------------------------------------------------

AHEAD = ("unshare", "--time", "--boottime", "100000", "--monotonic", "100000")
BEHIND_AND_INSIDE = ("unshare", "--time", "--boottime", "5000", *INSIDE[1:])
TIMES = {"same": (), "ahead": AHEAD, "another-pid-too": BEHIND_AND_INSIDE}


def skip_without_time_namespaces():
    done = subprocess.run([*AHEAD, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no time namespaces here: {done.stderr.strip()}")


@contextlib.contextmanager
def holding(store, prefix):
    """A process behind *prefix* that holds all it can; and its ingest."""
    words = [*prefix, sys.executable, "-c", HOLDER, store.directories.root, store.directories.runroot]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("asker", TIMES, ids=[f"asked-{name}" for name in TIMES])
@pytest.mark.parametrize("holder", TIMES, ids=[f"held-{name}" for name in TIMES])
def test_a_time_namespace_makes_nobody_dead(store, holder, asker):
    skip_without_time_namespaces()
    with holding(store, TIMES[holder]) as (_, path):
        store.untag("x:1")
        prefix = SECOND if TIMES[asker] and "--pid" in TIMES[asker] else ()
        time = TIMES[asker][:4] if "--pid" in TIMES[asker] else TIMES[asker]
        assert collected(store, *time, *prefix) == "[]"
        assert os.path.isdir(path)


@pytest.mark.parametrize(("holder", "asker"), [(AHEAD, ()), ((), AHEAD)], ids=["held-ahead", "asked-ahead"])
def test_what_died_is_dead_from_every_time_namespace(store, holder, asker):
    skip_without_time_namespaces()
    with holding(store, holder) as (process, path):
        process.kill()
        process.wait()
    store.untag("x:1")
    assert "inner" in collected(store, *asker)
    assert not os.path.exists(path)


@pytest.mark.parametrize("recorded", [1, -1], ids=["started-later", "started-earlier"])
def test_another_start_time_is_settled_by_the_lock(store, recorded):
    """An arstore that did not know time namespaces has recorded another start time of a living process."""
    graph = store.directories.graph
    with subprocess.Popen(["sleep", "60"]) as process:
        owner = Owner(process.pid, start_time(process.pid) + 10_000_000 * recorded, boot_id())
        try:
            assert not owner.is_alive(graph)
            fd = os.open(f"{graph}/owners", os.O_RDWR | os.O_CREAT, 0o600)
            lock_byte(fd, owner._offset)
            assert owner.is_alive(graph)
            os.close(fd)
            assert not owner.is_alive(graph)
        finally:
            process.kill()


def test_the_same_identity_whoever_asks():
    assert Owner.of(os.getpid()) == Owner.current()
    assert Owner.current().runs_here()
    assert not Owner.current().is_elsewhere
    elsewhere = Owner.current()._replace(boot=f"{boot_id()}+4026530000")
    assert (elsewhere.is_elsewhere, elsewhere.runs_here(), elsewhere.is_alive()) == (True, False, True)
    with pytest.raises(ProcessLookupError):
        Owner.of(1 << 22)


def test_a_symlink_in_the_place_of_the_owners_tells_nothing(store, tmp_path):
    """A lock on another file must not make a process count as alive."""
    owners = f"{store.directories.graph}/owners"
    gone = Owner(4_000_000, 1, f"{boot_id()}+1")
    (tmp_path / "other").touch()
    other = os.open(tmp_path / "other", os.O_RDWR)
    lock_byte(other, gone._offset)
    os.unlink(owners)
    os.symlink(tmp_path / "other", owners)
    assert module._is_present(store.directories.graph, gone._offset) is None
    os.unlink(owners)
    os.close(other)
