"""The words that explain what takes space, for the tables, trees and pictures of `du`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arstore.maintenance.breakdown.part import Part

PARTS = {
    "blobs": "layers, manifests and configs as they came",
    "trees": "layers as mounts read them; see `trim`",
    "containers": "files that containers wrote",
    "volumes": "named volumes",
    "metadata": "the graph, index.json and directories",
    "ingest": "unfinished imports",
    "orphans": "files without a record",
    "total": "everything below the root",
    "reclaimable": "what `gc` would remove now",
}
"""The content of each part of the bill, in at most 42 characters."""

KINDS = {
    "store": ("store", "everything below the root"),
    "group": ("repository", "images of one repository"),
    "image": ("image", "layers and documents that only this image needs"),
    "shared": ("shared layers", "what several images need; it is freed with the last of them"),
    "unused": ("not needed", "no image needs it; `arstore gc` removes it"),
    "layer": ("layer", "as it came, and as mounts read it"),
    "documents": ("documents", "manifests, configs, attachments and merged indexes"),
    "blob": ("compressed blob", "the layer as it came; copies and exports read it"),
    "directory": ("directory", "files in the layer, uncompressed"),
    "files": ("other files", "files and smaller directories"),
    "overhead": ("index and headers", "what a tree needs besides the content of files"),
    "containers": ("containers", "files that containers wrote"),
    "container": ("container", "files that it wrote, and its logs"),
    "volumes": ("volumes", "named volumes"),
    "volume": ("volume", "files of a named volume"),
    "metadata": ("records", "the graph, index.json and the store's directories"),
    "ingest": ("unfinished imports", "work in progress, or left by killed commands; `arstore gc` removes that"),
    "orphans": ("orphans", "files without a record"),
    "rest": ("smaller ones", "not drawn one by one"),
}
"""A word and an explanation for each kind of part."""


def name_of(part: Part) -> str:
    """Return a name for people, which is hostile if the part's name is."""
    word = KINDS[part.kind][0]
    match part.kind:
        case "group":
            return part.name or "images without a name"
        case "image" | "layer":
            return part.name or f"{word} {part.key.partition(':')[2][:12]}"
        case "rest" if part.count:
            name = part.name or word
            return f"{part.count:,} {name if part.count > 1 else name.removesuffix('s')}"
        case _:
            return part.name or word
