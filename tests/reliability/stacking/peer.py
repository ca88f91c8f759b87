"""The result of umoci for a stack of layers, where it can be compared.

umoci applies the members of a layer in their order, marks too. So it gets each layer with its marks first, and is not
run on stacks where that is not enough: where a mark's path runs through a symlink that its own layer replaces or hides.
Nor on stacks with devices 0:0, which it takes for devices. It makes directories without an entry in its own way, and
sets the time of the parent of a new directory to now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import images, peers
from trees.spec_model import MARKS, Model, is_moot
from trees.stacks import shown

from reliability.stacking.views import members

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trees.spec_model import Step

    from reliability.stacking.views import View


def is_comparable(stack: Sequence[Sequence[Step]]) -> bool:
    """Whether umoci can be run on this stack."""
    model = Model()
    for layer in stack:
        if any(step.kind == "W" or (step.kind in MARKS and is_moot(step, layer, model.root)) for step in layer):
            return False
        model.apply(layer)
    return True


def by_umoci(stack: Sequence[Sequence[Step]], place: Path) -> View:
    """The result of `umoci raw unpack`. Raises PeerError if it refuses."""
    ordered = [sorted(layer, key=lambda step: step.kind not in MARKS) for layer in stack]
    picture = images.image(*(images.layer(layer) for layer in members(ordered)), names=("x:1",))
    images.write_layout(place / "layout", picture)
    peers.run("umoci", "raw", "unpack", "--image", f"{place}/layout:x:1", place / "umoci")
    return shown(place / "umoci")


def comparable(view: View, want: View) -> View:
    """*view* without the times of directories, and without the modes of those without an entry in *want*."""
    left: View = {}
    for path, (kind, mode, mtime, target, content) in view.items():
        entered = path in want and want[path][2]
        left[path] = (kind, mode if entered else 0, 0 if kind == "d" else mtime, target, content)
    return left
