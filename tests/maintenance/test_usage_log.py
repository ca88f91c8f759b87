"""The log of totals: bounded, whole after a crash, and silent where it cannot be written."""

from __future__ import annotations

import os
import types
from pathlib import Path

import pytest
from support import stores

from arstore.disk.paths import Directories
from arstore.maintenance import usage_log
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.usage_log import DAY, HOUR, NAME, SLOTS, Entry, entries, note, prepare

START = 1_700_000_000


@pytest.fixture
def directories(tmp_path):
    (tmp_path / "graph").mkdir()
    return Directories(str(tmp_path), str(tmp_path / "run"))


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=START)
    monkeypatch.setattr(usage_log, "time", types.SimpleNamespace(time=lambda: clock.now))
    return clock


def usage(size):
    shares = types.SimpleNamespace(images=["a"])
    basis = types.SimpleNamespace(shares=shares)
    return types.SimpleNamespace(
        blobs=size, trees=0, containers=0, volumes=0, metadata=1, ingest=2, orphans=3, basis=basis
    )


def path(directories):
    return Path(directories.graph, NAME)


def test_an_entry_an_hour(directories, clock):
    for number in range(4):
        clock.now = START + number * HOUR // 2
        if prepare(directories, start=True):
            note(directories, usage(number))
    assert [entry.blobs for entry in entries(directories)] == [0, 2]
    assert entries(directories)[0] == Entry(START, 0, 0, 0, 0, 6, 1)
    # A clock that was set back does not stop the log.
    clock.now = START - 10 * DAY
    assert prepare(directories, start=True)


def test_the_file_keeps_its_size_from_the_start(directories, clock):
    assert prepare(directories, start=True)
    before = os.stat(path(directories))
    for number in range(3):
        clock.now = START + number * HOUR
        note(directories, usage(number))
    after = os.stat(path(directories))
    assert (before.st_size, before.st_blocks) == (after.st_size, after.st_blocks)
    assert before.st_size == SLOTS * 64


def test_a_year_with_an_entry_each_hour_keeps_a_week_and_the_days(directories, clock, monkeypatch):
    held = [None] * SLOTS
    for hour in range(500 * 24):
        entry = Entry(START + hour * HOUR, hour, 0, 0, 0, 0, 0)
        held[usage_log._victim(held, entry.time)] = entry
    found = sorted(held)
    now = found[-1].time
    times = [entry.time for entry in found]
    assert len(times) == SLOTS
    recent = [time for time in times if time >= now - 7 * DAY]
    assert len(recent) == 7 * 24 + 1
    older = [time for time in times if time < now - 7 * DAY]
    assert len({time // DAY for time in older}) == len(older)
    assert now - times[0] > 340 * DAY


@pytest.mark.parametrize("damage", ["torn", "short", "long", "zero", "noise"])
def test_damage_costs_only_what_it_hits(directories, clock, damage):
    for number in range(5):
        clock.now = START + number * HOUR
        assert prepare(directories, start=True)
        note(directories, usage(number))
    data = bytearray(path(directories).read_bytes())
    expected = [0, 1, 2, 3, 4]
    if damage == "torn":
        data[2 * 64 + 30] ^= 1
        expected.remove(2)
    elif damage == "short":
        del data[3 * 64 + 5 :]
        expected = [0, 1, 2]
    elif damage == "long":
        data += b"x"
    elif damage == "zero":
        data, expected = bytearray(), []
    else:
        data, expected = bytearray(os.urandom(1000)), []
    path(directories).write_bytes(data)
    assert [entry.blobs for entry in entries(directories)] == expected
    clock.now += HOUR
    assert prepare(directories, start=True)
    note(directories, usage(9))
    assert entries(directories)[-1].blobs == 9


def test_where_it_cannot_be_written_nothing_happens(directories, clock, monkeypatch):
    os.rmdir(directories.graph)
    assert not prepare(directories, start=True)
    note(directories, usage(1))
    assert entries(directories) == []
    os.mkdir(directories.graph)
    path(directories).symlink_to("/nowhere")
    assert not prepare(directories, start=True)
    path(directories).unlink()
    monkeypatch.setattr(usage_log, "write_all", lambda fd, data: (_ for _ in ()).throw(OSError(28, "full")))
    assert not prepare(directories, start=True)
    assert not path(directories).exists()


def test_a_store_of_another_user_is_left_alone(directories, clock, monkeypatch):
    monkeypatch.setattr(usage_log, "access_to", lambda _: usage_log.Access.GUEST)
    assert not prepare(directories, start=True)
    assert not path(directories).exists()


def test_gc_and_check_leave_it(tmp_path):
    with stores.opened(tmp_path) as store:
        assert prepare(store.directories, start=True)
        note(store.directories, measure(store))
        stores.verify_clean(store)
        assert measure(store).total == stores.du(store.directories.root)
        assert len(entries(store.directories)) == 1
