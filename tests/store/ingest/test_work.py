"""The total work for a source: counted over its layers and the trees made of them, the same on every machine."""

from __future__ import annotations

import pytest
from support import images, stores

from arstore.errors import LimitError
from arstore.store.ingest import layer_jobs
from arstore.store.progress import NoProgress
from arstore.tar.limits import Limits
from arstore.tar.steps import ENTRY, EXTRACTED, HEADER, LAYER, LOOK
from arstore.transport.copy import ImportOptions, import_reference
from arstore.workers.shared_budget import Tally

pytestmark = pytest.mark.root

ENTRIES = 300


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path / "store") as made:
        yield made


def layer(number, *more, compression="none"):
    """A layer of 300 entries without implied directories."""
    names = [images.directory("./"), images.file(f"of-{number}"), *more]
    rest = [images.file(f"f{n}") for n in range(ENTRIES - len(names))]
    return images.layer([*names, *rest], compression)


def archive(tmp_path, *layers):
    return images.write_oci_archive(tmp_path / "x.tar", images.image(*layers, names=["x:1"]))


def cost(count, form):
    """The steps of so many of these layers; the root exists already."""
    names = EXTRACTED * (ENTRIES - 1) if form == "directory" else 0
    return count * (LAYER + names + ENTRIES * (HEADER + ENTRY))


def taken(store, path, form, **limits):
    return import_reference(store, str(path), ImportOptions(tree=form, limits=Limits(**limits)))


@pytest.mark.parametrize("form", ["erofs", "directory"])
@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("count", [1, 9])
def test_one_step_decides_whoever_reads_the_layers(store, tmp_path, monkeypatch, form, processes, count):
    monkeypatch.setattr(layer_jobs, "_processes", lambda: processes)
    path = archive(tmp_path, *map(layer, range(count)))
    before = stores.State(store)
    with pytest.raises(LimitError, match="--limit steps="):
        taken(store, path, form, steps=cost(count, form) - 1, steps_per_byte=0)
    before.verify()
    taken(store, path, form, steps=cost(count, form), steps_per_byte=0)
    stores.verify_clean(store)


class Told(NoProgress):
    """A Progress that records the work."""

    def __init__(self):
        self.steps = {}

    def worked(self, key, steps):
        self.steps.setdefault(key, []).append(steps)


@pytest.mark.parametrize("count", [1, 6])
def test_work_is_told_as_progress(store, tmp_path, count):
    """For a layer alone, and for small ones that are read by one process."""
    layers = [images.layer([images.file(f"{n}-f{m}") for m in range(7000)]) for n in range(count)]
    told = Told()
    path = archive(tmp_path, *layers)
    import_reference(store, str(path), ImportOptions(tree="erofs"), told)
    assert told.steps.keys() == {layer.diff_id for layer in layers}
    for steps in told.steps.values():
        assert steps == sorted(steps)
        assert max(steps) + LOOK >= LAYER + 7000 * (HEADER + ENTRY)
        assert max(steps) > LOOK


def test_bytes_let_more_be_asked_for(store, tmp_path):
    layers = [layer(number) for number in range(3)]
    size = sum(len(one.blob) for one in layers)
    per_byte = -(-cost(3, "erofs") // size)
    path = images.write_layout(tmp_path / "x", images.image(*layers, names=["x:1"]))
    with pytest.raises(LimitError):
        taken(store, path, "erofs", steps=1, steps_per_byte=per_byte - 1)
    taken(store, path, "erofs", steps=1, steps_per_byte=per_byte)


@pytest.mark.parametrize("write", [images.write_layout, images.write_oci_archive])
def test_bytes_that_are_only_announced_do_not(store, tmp_path, write):
    one = layer(0)

    def lie(document):
        document["layers"][0]["size"] = 1 << 28

    path = write(tmp_path / "x", images.image(one, names=["x:1"], edit_manifest=lie))
    with pytest.raises(LimitError, match="--limit steps="):
        taken(store, path, "erofs", steps=cost(1, "erofs") - 1 - len(one.blob), steps_per_byte=1, reserve=0)


def test_a_layer_that_is_read_again_counts_once():
    """A machine that reads more layers at a time may leave a layer no memory, so that it is read again."""
    tally = Tally(100, 3)
    assert not tally.note(0, 60)
    assert not tally.note(1, 40)
    assert not tally.note(0, 30)
    assert tally.noted(0) == 60
    assert tally.note(2, 1)
    assert tally.note(1, 0)


def test_a_form_that_cannot_take_a_layer_has_cost_something_too(store, tmp_path):
    sparse = images.file("s", b"x", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"})
    path = archive(tmp_path, layer(0, sparse))
    both = cost(1, "erofs") + cost(1, "directory")
    with pytest.raises(LimitError, match="--limit steps="):
        taken(store, path, "erofs", steps=both - 1, steps_per_byte=0)
    # Both readings go through the map and its records, the last bytes that are requested.
    taken(store, path, "erofs", steps=both + 500, steps_per_byte=0)


@pytest.mark.parametrize("compression", ["zstd", "xz"])
def test_many_small_bombs_are_stopped_as_one_while_they_inflate(store, tmp_path, compression):
    """Each is within its limit, and one process reads all of them, which reports nothing before its end."""
    layers = [images.layer([images.file(f"f{n}", bytes(4 << 20))], compression) for n in range(12)]
    path = archive(tmp_path, *layers)
    before = stores.State(store)
    with pytest.raises(LimitError, match=r"the image: its layers inflate to more than .* --limit ratio="):
        taken(store, path, "erofs", ratio_from=20 << 20, ratio=1)
    before.verify()
    with pytest.raises(LimitError, match=r"the image: its layers inflate to more than .* --limit inflated="):
        taken(store, path, "erofs", inflated=20 << 20)
    taken(store, path, "erofs", ratio_from=50 << 20, ratio=1)


# --- layers that are made again for their parents -------------------------------------------------------------------


def adapted(tmp_path, count, size=0):
    """One layer for so many images, each with a bottom layer that leads its directory elsewhere."""
    top = images.layer([images.file("d/large", bytes(size)), *(images.file(f"d/f{n}") for n in range(ENTRIES))], "gzip")
    bottoms = [images.layer([images.directory("./"), images.symlink("d", f"e{n}")]) for n in range(count)]
    collection = images.index(*(images.image(bottom, top) for bottom in bottoms), names=["x:1"])
    return images.write_oci_archive(tmp_path / "x.tar", collection)


def all_of_them(store, path, **limits):
    wanted = ImportOptions().wanted._replace(every=True)
    return import_reference(store, str(path), ImportOptions(wanted=wanted, tree="erofs", limits=Limits(**limits)))


def test_adapted_trees_count_as_often_as_they_are_made(store, tmp_path):
    before = stores.State(store)
    path = adapted(tmp_path, 6)
    with pytest.raises(LimitError, match="--limit steps="):
        all_of_them(store, path, steps=13 * LAYER + 4 * ENTRIES * 200, steps_per_byte=0)
    before.verify()
    all_of_them(store, path, steps=13 * LAYER + 40 * ENTRIES * 200, steps_per_byte=0)


def test_adapted_trees_inflate_as_often_as_they_are_made(store, tmp_path):
    before = stores.State(store)
    path = adapted(tmp_path, 6, 4 << 20)
    with pytest.raises(LimitError, match="--limit ratio="):
        all_of_them(store, path, ratio_from=20 << 20)
    before.verify()
    all_of_them(store, path, ratio_from=40 << 20)
