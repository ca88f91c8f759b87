"""Memory shared by layers that are read at a time: drawing, returning, and running out."""

from __future__ import annotations

import os

import pytest
from support import images, stores

from arstore.errors import LimitError
from arstore.store.ingest.incoming import NoBlobs
from arstore.tar.limits import ACCEPTED, Limits
from arstore.transport.copy import ImportOptions, import_reference
from arstore.trees.format import UnrepresentableError
from arstore.trees.memory_quota import Allowance, CrowdedError
from arstore.workers.shared_budget import STEP, Budget, Tally

FEW = Limits(index_memory=2 << 20, memory=2 << 20)


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def test_processes_see_what_others_have_drawn():
    budget = Budget(3 * STEP, 3)

    def work():
        assert budget.account(1).draw(STEP) == STEP
        assert budget.account(1).draw(STEP) == STEP

    stores.forked(work)
    assert budget.account(1).drawn == 2 * STEP
    assert budget.account(0).draw(5 * STEP) == STEP
    assert budget.account(2).draw(1) == 0
    budget.give_back(1)
    assert (budget.account(2).draw(STEP), budget.account(0).drawn) == (STEP, STEP)


@pytest.mark.parametrize("index", [True, False])
def test_a_layer_draws_what_it_holds(index):
    budget = Budget(4 << 20, 2)
    one, other = (Allowance(FEW, index=index, account=budget.account(number)) for number in range(2))
    one.hold(1)
    assert budget.account(0).drawn == STEP
    other.hold(2 << 20)
    one.hold(STEP)
    assert budget.account(0).drawn == 2 * STEP
    with pytest.raises(LimitError):
        one.hold(STEP)
    stored = Allowance(FEW._replace(extracts_large=True), index=True)
    with pytest.raises(UnrepresentableError) as caught:
        stored.hold(3 << 20)
    assert not isinstance(caught.value, CrowdedError)


@pytest.mark.parametrize("index", [True, False])
def test_a_layer_that_others_leave_nothing_is_crowded(index):
    budget = Budget(2 << 20, 2)
    Allowance(FEW, index=index, account=budget.account(0)).hold(STEP + 1)
    with pytest.raises(CrowdedError):
        Allowance(FEW, index=index, account=budget.account(1)).hold(1)
    # The next layer of a process has what the one before has drawn, and no more.
    again = Allowance(FEW, index=index, account=budget.account(0))
    again.hold(2 * STEP)
    assert budget.account(0).drawn == 2 * STEP


@pytest.mark.parametrize("total", [1, STEP - 1, STEP, STEP + 1])
def test_the_last_byte_can_be_drawn(total):
    alone = Allowance(FEW._replace(memory=total), account=Budget(total, 1).account(0))
    alone.hold(total)
    with pytest.raises(LimitError):
        alone.hold(1)


# --- imports ----------------------------------------------------------------------------------------------------------


def full_of(make, count, number):
    """A layer of *count* members, and enough incompressible data for a separate process."""
    return images.layer([images.file("noise", os.urandom(300 << 10)), *(make(f"{number}-{n}") for n in range(count))])


def imported(store, tmp_path, layers, tree, limits=FEW):
    path = images.write_oci_archive(tmp_path / "x.tar", images.image(*layers, names=["x:1"]))
    (taken,) = import_reference(store, str(path), ImportOptions(tree=tree, limits=limits))
    stores.verify_clean(store)
    inventory = store.inventory()
    return [inventory.tree_record(layer.diff_id).form for layer in taken.layers]


@pytest.fixture
def kept(monkeypatch):
    """No process returns what it has drawn: as if all of them were at work all the time."""
    monkeypatch.setattr(Budget, "give_back", lambda _budget, _number: None)


@pytest.mark.root
def test_layers_that_have_no_room_together_are_indexed_one_by_one(store, tmp_path, kept):
    layers = [full_of(images.file, 3000, number) for number in range(4)]
    assert imported(store, tmp_path, layers, "erofs") == ["erofs"] * 4


@pytest.mark.root
def test_a_layer_with_too_much_for_itself_is_refused_and_takes_the_other_form_once_it_was_let_in(
    store, tmp_path, kept, monkeypatch
):
    layers = [full_of(images.file, count, count) for count in (6000, 3000, 3001)]
    before = stores.State(store)
    with pytest.raises(LimitError, match="--limit index-memory="):
        imported(store, tmp_path, layers, "erofs")
    before.verify()
    assert imported(store, tmp_path, layers, "erofs", Limits()) == ["erofs"] * 3
    monkeypatch.setattr("arstore.store.ingest.intake.ACCEPTED", ACCEPTED._replace(index_memory=FEW.index_memory))
    image = store.find("x:1")
    again = frozenset(store.stack(image))
    store.take([store.incoming(image)], [], NoBlobs(), store.tree_forms("erofs"), again=again)
    stores.verify_clean(store)


@pytest.mark.root
def test_directories_of_layers_that_have_no_room_together(store, tmp_path, kept):
    layers = [full_of(images.directory, 1500, number) for number in range(3)]
    assert imported(store, tmp_path, layers, "directory") == ["directory"] * 3


@pytest.mark.root
def test_a_layer_with_too_many_directories_is_refused_whoever_is_beside_it(store, tmp_path, kept):
    before = stores.State(store)
    layers = [full_of(images.directory, count, count) for count in (1500, 1501, 3000)]
    with pytest.raises(LimitError, match="--limit memory="):
        imported(store, tmp_path, layers, "directory")
    before.verify()


def test_what_was_only_promised_does_not_count_before_it_comes():
    tally = Tally(most=1000 + 8 * 100, layers=2, promised=100, per_byte=8, least=1000)
    assert not tally.note(0, 1000)
    assert tally.note(0, 1001)
    tally.come(0, 50)
    assert not tally.note(0, 1400)
    assert tally.note(1, 1)
    tally.come(1, 50)
    assert not tally.note(1, 400)
    assert tally.note(1, 401)


def test_the_least_is_never_more_than_all():
    tally = Tally(most=10, layers=1, promised=100, per_byte=8, least=1000)
    assert not tally.note(0, 10)
    assert tally.note(0, 11)
