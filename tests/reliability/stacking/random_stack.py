"""Random stacks of layers: few names, so that layers meet; marks, links, replaced types, repeated paths, any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trees.spec_model import Model, NoSuchStackError, Step, loops_alone

if TYPE_CHECKING:
    import random

KINDS = {
    "plain": "ffffffdddddddddllhpww",
    "marks": "fffffddddlllhpwwwwwWooo",
    "links": "ffffffddddlllllllhhhpwwo",
}
"""Letters from which the members of a stack are drawn, by the name of the mixture."""
_MODES = (0o644, 0o600, 0o755, 0o711)


def random_stack(rng: random.Random, mixture: str) -> list[list[Step]]:
    """A stack of two to five layers, bottom first, that can be extracted; invalid ones are drawn again.

    Stacks with a layer that loops by itself, of which arstore makes no tree, are left out: one in 10,000.
    """
    while True:
        names = "abc"[: rng.randint(2, 3)]
        layers = [[_step(rng, mixture, names) for _ in range(rng.randint(0, 9))] for _ in range(rng.randint(2, 5))]
        if rng.random() < 0.3:
            layers = [_ordered(layer) for layer in layers]
        model = Model()
        try:
            for layer in layers:
                model.apply(layer)
        except NoSuchStackError:
            continue
        if not any(map(loops_alone, layers)):
            return layers


def _ordered(layer: list[Step]) -> list[Step]:
    """Sort as most tools write a layer: parents first, marks before the other members of a directory."""
    return sorted(layer, key=lambda step: (step.path.count("/"), step.kind not in "wWo", step.path))


def _path(rng: random.Random, names: str) -> str:
    return "/".join(rng.choice(names) for _ in range(rng.choice((1, 1, 2, 2, 2, 3, 3, 4))))


def _step(rng: random.Random, mixture: str, names: str) -> Step:
    kind = rng.choice(KINDS[mixture])
    path = "" if kind in "do" and not rng.randrange(14) else _path(rng, names)
    mode, mtime = rng.choice(_MODES), rng.randint(1, 1 << 30)
    if kind == "h":
        return Step(kind, path, _path(rng, names), mode, mtime)
    if kind == "l":
        target = rng.choice(("", "", "/", "../", "../../")) + _path(rng, names)
        if not rng.randrange(8):
            target = f"{_path(rng, names)}/../{target}"
        return Step(kind, path, target, mode, mtime)
    if kind in "wo":
        odd = rng.randrange(12)
        return Step(kind, path, "b" if odd == 0 else "", 0o777 if odd == 1 else 0o644, mtime, b"x" if odd == 2 else b"")
    return Step(kind, path, "", mode, mtime, rng.randbytes(rng.randint(0, 2)) if kind == "f" else b"")
