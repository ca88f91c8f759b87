"""The rows of the graph of layers: parents first, few lanes, sums for what is left out."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest
from support import stores
from support.pictures import fill, graph_of

from arstore.cli.pictures import layer_graph as module
from arstore.cli.pictures.layer_dot import layer_dot
from arstore.cli.pictures.layer_graph import layer_graph


class Layers:
    """A snapshot with layers alone: *parents* by number."""

    def __init__(self, parents, sizes=None):
        self.names = [f"sha256:{number:064x}" for number in range(len(parents))]
        self.parents = [self.names[parent] if parent >= 0 else "" for parent in parents]
        self.sizes = sizes or [1 + number % 7 for number in range(len(parents))]

    def keys(self, _table):
        return list(self.names)

    def batches(self, _table, part):
        columns = {"parent": self.parents, "diff_id": self.names, "size": self.sizes}
        yield self.names, part._make([columns[name] for name in part._fields])


def drawn(layers, most=module.MOST):
    leaves = {f"image-{number}": name for number, name in enumerate(layers.names) if name not in layers.parents}
    return layer_graph(layers, leaves, {digest: digest for digest in leaves}, most)


def verify(graph, layers):
    """Every row is below its parent, and its line runs through lanes that are free on the way."""
    ends = {}
    for place, row in enumerate(graph.rows):
        assert row.parent < place
        if row.parent >= 0:
            above = graph.rows[row.parent]
            assert row.lane == above.lane + row.forks
            between = graph.rows[row.parent + 1 : place]
            assert all(one.lane > above.lane for one in between)
            assert above.goes_on
            ends.setdefault(row.parent, []).append(row.forks)
        else:
            assert (row.lane, row.forks) == (0, False)
    for place, row in enumerate(graph.rows):
        assert row.goes_on == (place in ends)
        assert ends.get(place, [False])[-1] is False
    assert sum(row.size for row in graph.rows) == graph.size == sum(layers.sizes)
    assert sum(row.summed or 1 for row in graph.rows) == graph.layers == len(layers.names)
    assert sum(len(row.tops) for row in graph.rows) == graph.images
    assert graph.lanes <= max(1, len(layers.names)).bit_length() + 1


@pytest.mark.parametrize("seed", range(20))
def test_random_forests(seed):
    chance = random.Random(seed)
    count = chance.choice((1, 2, 20, 500))
    layers = Layers([chance.randint(-1 if chance.random() < 0.1 else 0, number - 1) if number else -1
                     for number in range(count)])  # fmt: skip
    verify(drawn(layers), layers)
    verify(drawn(layers, most=max(1, count // 3)), layers)
    assert len(drawn(layers, most=10).rows) <= 21


def test_a_chain_is_one_lane_and_a_fan_two():
    chain = Layers([number - 1 for number in range(500)])
    assert drawn(chain).lanes == 1
    assert drawn(Layers([-1, *[0] * 499])).lanes == 2


def test_layers_without_bytes_stay_connected():
    layers = Layers([number - 1 for number in range(50)], [0] * 50)
    verify(drawn(layers, most=10), layers)


def test_a_store(tmp_path):
    with stores.opened(tmp_path) as store:
        fill(store, 20)
        graph = graph_of(store)
        with store.graph.read() as snapshot:
            known = dict(snapshot.layers())
    assert {row.chain_id: row.size for row in graph.rows} == {key: one.size for key, one in known.items()}
    for row in graph.rows:
        assert known[row.chain_id].parent == (graph.rows[row.parent].chain_id if row.parent >= 0 else "")
    assert {name for row in graph.rows for name in row.tops} == set(names_of(graph))
    assert max(row.uses for row in graph.rows) == graph.images


def names_of(graph):
    return [f"project/{'a-long-name-' * 6}{number}:1" for number in range(graph.images)]


def test_graphviz_takes_every_name():
    layers = Layers([-1, 0, 0])
    names = {"a": 'q"uo\\te', "b": "</script>\n\u202e"}
    graph = layer_graph(layers, {"a": layers.names[1], "b": layers.names[2]}, names)
    text = "\n".join(layer_dot(graph))
    assert '"q\\"uo\\\\te"' in text
    assert "\u202e" not in text
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    made = subprocess.run(["dot", "-Tplain"], input=text.encode(), capture_output=True, check=True).stdout
    assert made.count(b"\nnode ") == 5
