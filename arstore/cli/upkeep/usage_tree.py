"""`du --tree`: images, their layers and the large directories in these, with sizes and what several images need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.terminal.output import human_size
from arstore.cli.terminal.tree import Line, marks, write_tree
from arstore.cli.upkeep.usage_words import name_of
from arstore.maintenance.breakdown.hierarchy import break_down
from arstore.maintenance.breakdown.part import Limits, Part, sorted_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.cli.terminal.tree import Marks
    from arstore.maintenance.breakdown.part import Breakdown, ImagePart
    from arstore.maintenance.disk_usage import Usage
    from arstore.store.store import Store

_LIMITS = Limits(layers=500, share=1 / 5000, of_layer=1 / 50, depth=2, names=1_000_000)
_LAYERS, _DIRECTORIES = (40, 1 / 500), (8, 1 / 20)
"""Parts that are listed of an image and of a layer or directory, and the share that they have at least."""


def write_usage_tree(store: Store, usage: Usage, chosen: bool) -> None:
    """Print the tree of the store, or only of the images that were *chosen*. Raises OSError, the errors of Graph."""
    found = break_down(store, usage, _LIMITS)
    drawn = marks()
    lines = _Lines(found, drawn).run(chosen)
    write_tree(("NAME", "SIZE>", "NEEDED BY"), (9, 10), lines, drawn)


class _Lines:
    def __init__(self, found: Breakdown, drawn: Marks) -> None:
        self._found = found
        self._marks = drawn
        self._seen: set[str] = set()
        """Shared layers whose directories were listed."""

    def run(self, chosen: bool) -> Iterator[Line]:
        """Yield the lines, the images largest first."""
        root = self._found.root
        others = self._others() if not chosen else []
        if not chosen:
            yield Line("", root.name, (human_size(root.size), ""))
        tops: list[ImagePart | Part] = [*self._found.images, *others]
        for place, one in enumerate(tops):
            is_last = place == len(tops) - 1
            before = "" if chosen else self._marks.last if is_last else self._marks.branch
            below = "" if chosen else self._marks.gap if is_last else self._marks.line
            if isinstance(one, Part):
                yield from self._part(one, before, below)
            else:
                yield Line(before, one.title or name_of(one.own), (human_size(one.size), ""))
                yield from self._parts(self._of_image(one), below, _LAYERS)

    def _others(self) -> list[Part]:
        """Return everything that is not an image of the tree, or a shared layer."""
        found = [part for part in self._found.root.parts if part.kind not in ("image", "shared", "group")]
        grouped = [one for part in self._found.root.parts if part.kind == "group" for one in part.parts]
        left = [one for one in grouped if one.kind == "rest"]
        if left:
            size, count = sum(one.size for one in left), sum(one.count for one in left)
            found.append(Part("rest", "more images", size, count=count))
        return sorted_parts(found)

    def _of_image(self, image: ImagePart) -> list[Part]:
        """Return all layers of the image, with those that it shares."""
        parts = list(image.own.parts)
        for place, size in image.needs:
            shared = self._found.shared[place]
            parts.append(Part(shared.kind, shared.name, size, shared.parts, shared.key, shared.users))
        if image.others:
            parts.append(Part("rest", "smaller shared layers", image.others, users=2))
        return sorted_parts(parts)

    def _part(self, part: Part, before: str, below: str) -> Iterator[Line]:
        name = name_of(part) + ("/" if part.kind == "directory" else "")
        is_known = part.key in self._seen and bool(part.parts)
        needed = f"{part.users} images" if part.users > 1 and part.kind != "rest" else ""
        yield Line(before, f"{name} (as above)" if is_known else name, (human_size(part.size), needed))
        if part.users > 1:
            self._seen.add(part.key)
        if not is_known:
            yield from self._parts(part.parts, below, _DIRECTORIES)

    def _parts(self, parts: list[Part], branches: str, most: tuple[int, float]) -> Iterator[Line]:
        """Yield lines for the largest of *parts*, and one for the sum of the others."""
        size = sum(part.size for part in parts)
        count = sum(part.size >= size * most[1] for part in parts[: most[0]])
        if count == len(parts) - 1:
            count += 1
        shown, left = parts[:count], parts[count:]
        if left:
            shown = [*shown, Part("rest", "smaller parts", sum(part.size for part in left), count=len(left))]
        for place, part in enumerate(shown):
            is_last = place == len(shown) - 1
            before = branches + (self._marks.last if is_last else self._marks.branch)
            yield from self._part(part, before, branches + (self._marks.gap if is_last else self._marks.line))
