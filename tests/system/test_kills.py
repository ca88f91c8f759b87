"""SIGKILL at trace points: some commands at each of their points once, and with --long all of them at every point."""

from __future__ import annotations

import signal

import pytest
from reliability import kills
from reliability.killing.box import Box
from reliability.killing.scenarios import scenarios, write_archives
from reliability.killing.verdict import Trial, is_possible
from reliability.killing.victim import GROUP, MAIN, OTHER, PARENT, SELF, Kill

from arstore import trace

pytestmark = [pytest.mark.root]

ALL = {scenario.name: scenario for scenario in scenarios()}
SHORT = {
    "import": ("take", "publish", "layout"),
    "import-signed": ("take", "publish"),
    "migrate": ("store", "layout"),
    "gc": ("collect", "remove"),
    "mount-rw": ("container", "mount"),
}
"""Commands that are killed by default, and the areas of trace points that count."""


@pytest.fixture(scope="session")
def imported():
    kills.import_everything()


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    place = tmp_path_factory.mktemp("kills") / "archives"
    write_archives(place)
    return place


@pytest.fixture
def box(tmp_path, archives, imported):
    (tmp_path / "archives").symlink_to(archives)
    made = Box(tmp_path)
    yield made
    made.clear()


def need(name):
    if not is_possible(ALL[name]):
        pytest.skip(ALL[name].missing)
    return ALL[name]


@pytest.mark.parametrize("name", SHORT)
def test_at_each_point_once(box, name):
    trial = Trial(box, need(name))
    once = kills.kills_of(trial.reference.hits, every=False)
    chosen = [kill for kill in once if kill.point.partition(".")[0] in SHORT[name]]
    assert len(chosen) >= 5
    # A few of them, from the first to the last; --long takes all.
    for kill in chosen[:: -(-len(chosen) // 4)]:
        assert trial.killed(kill) == (True, []), kill


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
def test_at_every_point_and_some_moments(box, name):
    tally = kills.try_scenario(box, need(name), moments=20, seed=1)
    assert tally.faults == []
    assert tally.at_points >= 2
    assert tally.at_moments == 20


@pytest.mark.long
@pytest.mark.runtime
def test_every_point_is_reached_by_some_command(box):
    reached = set()
    for name in ALL:
        reached |= {point for point, _ in Trial(box, need(name)).reference.hits}
    assert reached == trace.POINTS.keys()


# --- the exercise itself can fail -----------------------------------------------------------------------------------


def test_kills_are_chosen_from_what_was_reached():
    hits = [("a.one", MAIN), ("a.one", MAIN), ("b.two", OTHER)]
    assert kills.kills_of(hits) == [
        Kill("a.one", MAIN, 1, PARENT),
        Kill("a.one", MAIN, 2, GROUP),
        Kill("b.two", OTHER, 1, SELF),
        Kill("b.two", OTHER, 1, PARENT),
    ]
    assert kills.kills_of(hits, every=False) == [Kill("a.one", MAIN, 1, PARENT), Kill("b.two", OTHER, 1, SELF)]


def test_a_kill_ends_the_command_at_its_point(box):
    words = ("import", f"oci-archive:{box.place}/archives/big.tar")
    ended = box.run(*words, kill=Kill("store.graph-opened", MAIN, 1, PARENT))
    assert (ended.status, ended.killed, ended.survivors) == (-signal.SIGKILL, True, [])
    assert ended.hits[-1] == ("store.graph-opened", MAIN)
    box.ok(*words)
    ended = box.run("images", kill=Kill("store.graph-opened", MAIN, 1, PARENT))
    assert (ended.status, ended.killed, ended.hits) == (0, False, [])


def test_what_is_left_over_is_a_fault(box):
    trial = Trial(box, ALL["tag"])
    begin = trial._begin

    def leave_something():
        begin()
        (box.root / "left").write_bytes(b"x")

    trial._begin = leave_something
    killed, faults = trial.killed(Kill("layout.written", MAIN, 1, GROUP))
    assert killed
    assert any("too much: {'root/left'" in fault for fault in faults)
