"""Pictures of stores with hostile names, for tests."""

from __future__ import annotations

import random

from support import images, stores

from arstore.cli.pictures.layer_graph import layer_graph
from arstore.cli.pictures.layer_page import layer_page
from arstore.cli.pictures.layer_svg import layer_svg
from arstore.cli.pictures.treemap import treemap
from arstore.maintenance.breakdown.hierarchy import break_down
from arstore.maintenance.disk_usage import measure

EVIL = [
    b"<script>document.title='hit'</script>",
    b"</script><img src=x onerror=document.title='hit'>",
    b"'\"><b onmouseover=alert(1)>",
    "\u202egnp.exe".encode(),
    b"line\nbreak\x1b[31m",
    b"\xff\xfe<i>",
    b"]]><!-- ",
]
"""Names of directories, and steps of builds as far as they are UTF-8."""


def layer(chance: random.Random, name: bytes, count: int = 4) -> images.Layer:
    members = [images.directory("./")]
    members += [
        images.file(name.replace(b"/", b"_") + b"/%d/f" % number, chance.randbytes(9000)) for number in range(count)
    ]
    return images.layer(members, chance.choice(("gzip", "none")))


def fill(store, layers: int, seed: int = 1) -> None:
    """Add images with so many layers in total, half of which are shared at most."""
    chance = random.Random(seed)
    base = [layer(chance, EVIL[place % len(EVIL)]) for place in range(max(1, min(4, layers // 2)))]
    found = []
    left = layers - len(base)
    while left > 0 or not found:
        own = [layer(chance, EVIL[chance.randrange(len(EVIL))]) for _ in range(min(left, chance.randint(1, 5)))]
        left -= max(1, len(own))
        steps = [
            {"created_by": EVIL[place % len(EVIL)].decode("utf-8", "replace")} for place in range(len(base) + len(own))
        ]

        def described(config, steps=steps):
            config["history"] = steps

        name = f"project/{'a-long-name-' * 6}{len(found)}:1"
        found.append(
            images.image(*base, *own, names=[name], config={"Env": [f"N={len(found)}"]}, edit_config=described)
        )
    stores.bring(store, *found)


def graph_of(store):
    with store.graph.read() as snapshot:
        names = snapshot.names_by_digest()
        tops = {digest: record.top for digest, record in snapshot.images() if not record.is_index}
        return layer_graph(snapshot, tops, {digest: names[digest][0] for digest in tops})


def map_of(store) -> bytes:
    usage = measure(store)
    return treemap(usage, break_down(store, usage))


def pages_of(store) -> dict[str, bytes]:
    """The treemap and both pictures of the layers, as files by name."""
    graph, root = graph_of(store), store.directories.root
    return {"du.html": map_of(store), "layers.html": layer_page(graph, root), "layers.svg": layer_svg(graph, root)}
