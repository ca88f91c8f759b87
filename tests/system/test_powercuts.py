"""Power cuts on real file systems: the simulation loses what it must and no more, and a store survives it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from reliability import kills, powercuts
from reliability.cutting import machine
from reliability.cutting.disk import TOOLS, mount, shelf
from reliability.cutting.ours import Ours
from reliability.cutting.samples import HUGE

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.tools(*TOOLS)]

KINDS = ("ext4", "xfs")
CONTENT = b"content" * 20_000


@pytest.fixture
def kept(tmp_path):
    with shelf(tmp_path, "4G") as made:
        yield made


@pytest.fixture(scope="module")
def imported():
    kills.import_everything()


def write(path, sync):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, CONTENT)
    if sync:
        os.fsync(fd)
    os.close(fd)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_synced_is_there_and_what_was_not_is_lost(tmp_path, kept, kind):
    disk = kept.new("disk", kind, "400M")
    place = tmp_path / "mounted"
    place.mkdir()

    def works(pipe):
        mount(disk, place)
        write(place / "first", sync=True)
        write(place / "second", sync=False)
        os.write(pipe, b"!")
        time.sleep(60)

    running = machine.Machine(works)
    os.read(running.pipe, 1)
    copy = kept.copy(disk, "copy")
    running.cut()

    def judged():
        mount(copy, place, powercuts._NOUUID[kind])
        second = place / "second"
        left = second.read_bytes() if second.exists() else b""
        return b"%d %d" % ((place / "first").read_bytes() == CONTENT, left == CONTENT)

    assert machine.result(judged) == b"1 0"


def test_a_machine_sees_another_boot_and_none_of_our_processes():
    boots = {machine.result(Path("/proc/sys/kernel/random/boot_id").read_bytes) for _ in range(2)}
    boots.add(Path("/proc/sys/kernel/random/boot_id").read_bytes())
    assert len(boots) == 3
    assert machine.result(lambda: b"%d" % os.getpid()) == b"1"


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_after_power_cuts(tmp_path, kept, imported, kind):
    trial = powercuts.Trial(tmp_path, kept, kind, Ours, ("many", "stack", "implied"))
    assert trial.cut_after("import")[0]["faults"] == []
    assert trial.cut("a seed")[0]["faults"] == []


@pytest.mark.long
@pytest.mark.runtime
def test_what_load_has_reported_is_there_after_a_power_cut(tmp_path, kept, imported):
    trial = powercuts.Trial(tmp_path, kept, "ext4", Ours, ("stack", "many", "box", "pipeline"))
    verdict, events = trial.cut_after("load", "-i", archive="pipeline")
    assert verdict["faults"] == []
    assert [event["status"] for event in events if "status" in event] == [0]
    assert verdict["listed"] == 5


def test_a_store_that_syncs_nothing_is_found_out(tmp_path, kept, imported, monkeypatch):
    trial = powercuts.Trial(tmp_path, kept, "ext4", Ours, ("many", "stack", "implied"))
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _fd: None)
    # A sync(2) by another process may save it once.
    assert any(trial.cut_after("import")[0]["bad"] for _ in range(5))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_of_many_megabytes_after_power_cuts(tmp_path, kept, imported, kind):
    """More data than the kernel has written back by itself when the command ends."""
    trial = powercuts.Trial(tmp_path, kept, kind, Ours, ("many", "stack", HUGE))
    for words in (["import"], ["import", "--tree", "directory"]):
        assert trial.cut_after(*words, archive=HUGE)[0]["faults"] == []


@pytest.mark.long
def test_a_store_that_does_not_sync_large_blobs_is_found_out(tmp_path, kept, imported, monkeypatch):
    trial = powercuts.Trial(tmp_path, kept, "ext4", Ours, ("many", "stack", HUGE))
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: None if os.fstat(fd).st_size > 64 << 20 else sync(fd))
    assert any(trial.cut_after("import", archive=HUGE)[0]["faults"] for _ in range(3))


@pytest.mark.long
@pytest.mark.runtime
@pytest.mark.parametrize("kind", KINDS)
def test_many_power_cuts(tmp_path, kept, imported, kind):
    tally = powercuts.trials(tmp_path, kept, kind, 30, 5, Ours, "arstore")
    assert tally.faults == []
    assert {"run", "load"} <= set(tally.ended)
