"""The page of `du --html`: a treemap of the store, from images over layers to directories, and tables of the same.

The areas are bytes on disk, each once: an image has the area of what only it needs, and shared layers are a part for
themselves. An image that is opened shows all its layers. Names are only ever set as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.pictures.markup import iec_size, tag, text
from arstore.cli.pictures.page import page, table
from arstore.cli.terminal.output import printable, short_digest, utc_time
from arstore.cli.upkeep.usage_words import KINDS, PARTS, name_of

if TYPE_CHECKING:
    from typing import Any

    from arstore.maintenance.breakdown.part import Breakdown, Part
    from arstore.maintenance.disk_usage import Usage

_LEGEND = (
    ("own", "needed by one image"),
    ("shared", "needed by several images"),
    ("blob", "compressed blob"),
    ("written", "containers and volumes"),
    ("unused", "not needed"),
    ("other", "records, and what is not drawn one by one"),
)


def treemap(usage: Usage, found: Breakdown) -> bytes:
    """Return the page. The same store gives the same bytes."""
    root = found.root.name
    body = tag(
        "main",
        {},
        _header(usage, found),
        _map(),
        tag("section", {"id": "parts"}, tag("h2", {}, "Parts"), tag("div", {"id": "parts-of"})),
        tag("section", {}, tag("h2", {}, "Images"), _images(found)),
        tag("section", {}, tag("h2", {}, "Kinds"), _kinds(usage)),
        _notes(found),
    )
    style = ("page.css", "treemap.css")
    return page(f"Disk usage of {root}", body, _data(found), style, ("treemap.js",))


def _header(usage: Usage, found: Breakdown) -> str:
    shared = sum(part.size for part in found.shared)
    count = len(found.images) + found.left_out
    facts = [
        f"{count:,} {'image' if count == 1 else 'images'}",
        f"{iec_size(shared)} in layers that several images need",
        f"{iec_size(usage.reclaimable)} can be freed by gc",
    ]
    return tag(
        "header",
        {},
        tag("h1", {}, "Disk usage of ", tag("bdi", {}, text(found.root.name))),
        tag("p", {"class": "sum"}, tag("strong", {}, iec_size(usage.total)), " on disk"),
        tag("ul", {"class": "facts"}, *(tag("li", {}, text(fact)) for fact in facts)),
    )


def _map() -> str:
    legend = (tag("li", {}, tag("span", {"class": f"swatch {kind}"}), text(words)) for kind, words in _LEGEND)
    return tag(
        "section",
        {"id": "picture", "aria-labelledby": "map-title", "hidden": "hidden"},
        tag("h2", {"id": "map-title"}, "Map"),
        tag("nav", {"id": "crumbs", "aria-label": "Place in the map"}),
        tag("div", {"id": "map", "role": "group", "aria-describedby": "help"}),
        tag("div", {"id": "facts", "aria-live": "polite"}),
        tag("ul", {"class": "legend", "aria-label": "Legend"}, *legend),
        tag(
            "p",
            {"id": "help", "class": "help"},
            "Areas are bytes on disk. Click or press Enter to open a part, Escape to go back; the arrow keys move.",
        ),
    )


def _images(found: Breakdown) -> str:
    rows = [
        (
            name_of(image.own),
            short_digest(image.usage.digest),
            *map(iec_size, (image.usage.size, image.usage.unique, image.usage.shared)),
            utc_time(image.usage.last_used)[:10] if image.usage.last_used else "-",
        )
        for image in found.images
    ]
    caption = "UNIQUE is what removing the image would free, SHARED is what other images need too."
    if found.left_out:
        caption += f" The {len(rows):,} largest of {len(rows) + found.left_out:,} images."
    return table(("Image", "Digest", "Size>", "Unique>", "Shared>", "Last used>"), rows, caption, "images")


def _kinds(usage: Usage) -> str:
    sizes = {**usage.parts(), "total": usage.total, "reclaimable": usage.reclaimable}
    rows = [(kind, PARTS[kind].replace("`", ""), iec_size(size)) for kind, size in sizes.items()]
    return table(("Kind", "Content", "Size>"), rows, "Every byte below the root is of one kind.")


def _notes(found: Breakdown) -> str:
    notes = ["Layers without directories are too small to be divided, or are not kept as a tree."]
    if found.unread:
        notes.append(f"The directories of {found.unread:,} layers are not shown: they have too many files.")
    return tag("footer", {}, *(tag("p", {}, text(note)) for note in notes))


def _data(found: Breakdown) -> dict[str, Any]:
    places = {id(image.own): place for place, image in enumerate(found.images)}
    return {
        "kinds": {kind: [word, why.replace("`", "")] for kind, (word, why) in KINDS.items()},
        "root": _node(found.root, places),
        "shared": list(map(_node, found.shared)),
        "images": [{"size": image.size, "needs": image.needs, "others": image.others} for image in found.images],
    }


def _node(part: Part, places: dict[int, int] | None = None) -> dict[str, Any]:
    """Return a part for the script; parts that the script finds elsewhere in the data are left out."""
    node: dict[str, Any] = {"k": part.kind, "n": printable(name_of(part)), "s": part.size}
    if part.key:
        node["d"] = short_digest(part.key) if ":" in part.key else printable(part.key)
    if part.users > 1:
        node["u"] = part.users
    if places is not None and id(part) in places:
        node["i"] = places[id(part)]
    if part.parts and part.kind != "shared":
        node["p"] = [_node(one, places) for one in part.parts]
    return node
