"""All targets, by name: a grammar, what a genome is made into, and what then reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costfuzz import documents, layers

if TYPE_CHECKING:
    from costfuzz.genome import Genome, Grammar
    from costfuzz.measuring import Run


@dataclass(frozen=True)
class Target:
    """`make` turns a genome into an input of about so many bytes, and `size` tells how many it has. `run` reads it, in
    the manner that a number says.
    """

    name: str
    grammar: Grammar
    make: Callable[[Genome, int], Any]
    run: Callable[[Any, int], Run]
    size: Callable[[Any], int] = len
    weight: int = 1
    """How often it is tried, against the others."""


def _documents(name: str, opened: Callable[[Any], Any]) -> Target:
    run = documents.selected(opened)
    return Target(name, documents.GRAMMAR, documents.documents, run, lambda made: made.size, 3)


_ALL = (
    Target("layer", layers.GRAMMAR, layers.archive, layers.checked, weight=12),
    Target("index", layers.GRAMMAR, layers.archive, layers.index, weight=4),
    Target("files", layers.GRAMMAR, layers.archive, layers.files),
    Target("archive", layers.GRAMMAR, layers.archive, layers.listed, weight=8),
    _documents("layout", documents.layout),
    _documents("docker-archive", documents.docker_archive),
    _documents("hybrid", documents.hybrid),
)
TARGETS: dict[str, Target] = {target.name: target for target in _ALL}
