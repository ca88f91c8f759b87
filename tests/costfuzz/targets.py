"""All targets, by name: a grammar, how a genome becomes an input, and the code that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costfuzz import documents, layers

if TYPE_CHECKING:
    from arstore.tar.limits import Limits
    from costfuzz.genome import Genome, Grammar
    from costfuzz.measuring import Run


@dataclass(frozen=True)
class Target:
    """`make` turns a genome into an input of about so many bytes, and `size` returns its size. `run` reads it within
    limits, in the manner that a number selects.
    """

    name: str
    kind: str
    """The usual name for the input; targets of one kind are searched together."""
    grammar: Grammar
    make: Callable[[Genome, int], Any]
    run: Callable[[Any, int, Limits], Run]
    size: Callable[[Any], int] = len
    weight: int = 1
    """How often it is tried, compared with others of its kind."""


def _documents(name: str, kind: str, opened: Callable[[Any, Limits], Any], weight: int = 1) -> Target:
    run = documents.selected(opened)
    return Target(name, kind, documents.GRAMMAR, documents.documents, run, lambda made: made.size, weight)


_ALL = (
    Target("layer", "layers", layers.GRAMMAR, layers.archive, layers.checked, weight=6),
    Target("index", "layers", layers.GRAMMAR, layers.archive, layers.index, weight=3),
    Target("files", "layers", layers.GRAMMAR, layers.archive, layers.files),
    Target("archive", "archives", layers.GRAMMAR, layers.archive, layers.listed),
    _documents("layout", "layouts", documents.layout),
    _documents("docker-archive", "docker-archives", documents.docker_archive, 2),
    _documents("hybrid", "docker-archives", documents.hybrid),
)
TARGETS: dict[str, Target] = {target.name: target for target in _ALL}
KINDS: dict[str, list[Target]] = {}
for _target in _ALL:
    KINDS.setdefault(_target.kind, []).append(_target)
