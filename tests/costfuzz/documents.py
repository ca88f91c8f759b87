"""Layouts and docker-archives: documents that point to one another, and lists that are repeated."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from support import images

from arstore.oci import media_type
from arstore.tar.entry import Kind
from arstore.transport.docker_archive import DockerArchive, is_docker_archive
from arstore.transport.hybrid import Hybrid
from arstore.transport.layout import Layout, is_layout
from arstore.transport.media.blob import OpenFile
from arstore.transport.media.members import Member, Members
from arstore.transport.selection.selector import Selector, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from arstore.tar.limits import Limits
    from arstore.transport.media.base import Medium
    from costfuzz.genome import Genome, Grammar
    from costfuzz.measuring import Run

TYPES = ("right", "docker", "index", "manifest", "config", "odd", "none")
NAMES = ("", "box:{i}", "box:1", "{i}", "1", "x/y/z:{i}", "localhost/box:{i}", "docker.io/library/box:{i}", "A{i}",
    "box@sha256:{i}", "long", "<none>:<none>")  # fmt: skip
PLATFORMS = ("none", "host", "other", "variants", "numbered", "features", "bad")
SHAPES = ("list", "objects", "string", "numbers", "deep", "keys")
GRAMMAR: Grammar = {
    "config": {"n": 200, "layers": 3000, "history": 3000, "empty": 1, "env": 2000, "platform": PLATFORMS,
        "shape": SHAPES, "padding": 60_000, "valid": 1},
    "manifest": {"n": 1000, "to": 20, "layers": 3000, "distinct": 1, "notes": 1000, "type": TYPES, "shape": SHAPES,
        "padding": 60_000, "size": 2},
    "index": {"n": 300, "to": 20, "span": 300, "copies": 300, "name": NAMES, "platform": PLATFORMS, "type": TYPES,
        "notes": 300, "size": 2, "data": 1},
    "top": {"n": 3000, "to": 20, "span": 300, "name": NAMES, "platform": PLATFORMS, "type": TYPES, "notes": 100,
        "size": 2, "data": 1},
    "item": {"n": 3000, "to": 20, "config": ("right", "named", "link", "gone", "up"), "tags": 1000, "name": NAMES,
        "layers": 3000, "layer": ("one", "each", "link", "chain", "gone", "dots")},
    "link": {"n": 1000, "letter": "hs", "to": 100, "dots": 300},
}  # fmt: skip
_LAYER = images.layer([images.file("f")], "none")
_CONFIG = images.image(_LAYER).config


def _padding(shape: str, size: int) -> Any:
    """A member of about *size* bytes with an unknown name."""
    if shape == "list":
        return [0] * (size // 2)
    if shape == "objects":
        return [{}] * (size // 3)
    if shape == "numbers":
        return [10**15] * (size // 17)
    if shape == "keys":
        return {f"{number}": 0 for number in range(size // 8)}
    if shape == "deep":
        return functools.reduce(lambda inner, _: [inner], range(min(size, 50)), [])
    return "x" * size


def _platform(kind: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {"os": "linux", "architecture": "amd64"}
    if kind == "other":
        return {"platform": {**found, "architecture": "s390x"}}
    if kind == "variants":
        return {"platform": {"os": "linux", "architecture": "arm", "variant": f"v{number % 9}"}}
    if kind == "numbered":
        return {"platform": {**found, "architecture": f"a{number}"}}
    if kind == "features":
        return {"platform": {**found, "os.features": ["f"] * 50, "features": ["sse4"] * 50}}
    if kind == "bad":
        return {"platform": {"os": 1}}
    return {"platform": found} if kind == "host" else {}


def _named(style: str, number: int) -> dict[str, Any]:
    if not style:
        return {}
    name = "a/" * 60 + f"b:{number}" if style == "long" else style.replace("{i}", str(number))
    return {images.REF_NAME: name} if number % 3 else {images.REF_NAME: name, "io.containerd.image.name": name}


class Documents:
    """The documents that a genome makes, each of which may point to earlier ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.blobs: dict[bytes, bytes] = {}
        self.made: dict[str, list[bytes]] = {"config": [], "manifest": [], "index": []}
        self.top: list[dict[str, Any]] = []
        self.table: list[dict[str, Any]] = []
        self.links: dict[bytes, tuple[Kind, bytes]] = {}
        self.charged: dict[str, int] = {}
        self.size = self.count = 0
        self._add("config", _CONFIG)
        self._named(_LAYER.blob)

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self.size > self._most

    def _named(self, data: bytes) -> bytes:
        name = b"blobs/sha256/" + hashlib.sha256(data).hexdigest().encode()
        self.blobs[name] = data
        self.size += len(data)
        return name

    def _add(self, kind: str, data: bytes) -> None:
        self.made[kind].append(data)
        self._named(data)

    def _pick(self, kinds: Sequence[str], to: int) -> tuple[str, bytes]:
        found = [(kind, data) for kind in kinds for data in self.made[kind][-300:]]
        return found[-1 - to % len(found)] if found else ("config", self.made["config"][0])

    def _pointer(self, kind: str, data: bytes, values: Mapping[str, Any], number: int) -> dict[str, Any]:
        kinds = {"index": images.OCI_INDEX, "manifest": images.OCI_MANIFEST, "config": images.OCI_CONFIG}
        announced = {
            **kinds,
            "right": kinds[kind],
            "odd": "application/x",
            "none": "",
            "docker": images.DOCKER_MANIFEST,
        }
        found: dict[str, Any] = {
            "digest": images.sha256(data),
            "size": len(data) + (values.get("size", 0) > 1) * number,
        }
        if announced[values.get("type", "right")]:
            found["mediaType"] = announced[values.get("type", "right")]
        notes = {str(each): "x" for each in range(values.get("notes", 0))}
        notes.update(_named(values.get("name", ""), number))
        if notes:
            found["annotations"] = notes
        return {**found, **_platform(values.get("platform", "none"), number)}

    def add(self, name: str, values: Mapping[str, Any]) -> None:
        """Add the documents of one operation, `n` times."""
        for _ in range(max(1, values["n"])):
            if self.full:
                return
            self.count += 1
            getattr(self, f"_{name}")(values, self.count)

    def _config(self, values: Mapping[str, Any], number: int) -> None:
        layers = min(values["layers"], self._most // 70) or 1
        found = json.loads(self.made["config"][0])
        found["rootfs"]["diff_ids"] = [_LAYER.diff_id] * layers
        found["history"] = [{"created_by": str(number), "empty_layer": bool(values["empty"])}] * min(
            values["history"], self._most // 40
        )
        if not values["history"]:
            del found["history"]
        found["config"] = {"Env": [f"A{each}=b" for each in range(min(values["env"], self._most // 10))]}
        found.update(_platform(values["platform"], number).get("platform", {}))
        found["x"] = _padding(values["shape"], min(values["padding"], self._most))
        found["y"] = number
        data = images.dump(found)
        self._add("config", data if values["valid"] else data.replace(b'"x"', b'"y"', 1))

    def _manifest(self, values: Mapping[str, Any], number: int) -> None:
        _, config = self._pick(["config"], values["to"])
        one = _LAYER.descriptor()
        count = min(values["layers"], self._most // 150) or 1
        layers = [one] * count
        if values["distinct"]:
            layers = [{**one, "digest": images.sha256(b"%d" % each)} for each in range(count)]
        found = {
            "schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": self._pointer("config", config, {}, 0),
            "layers": layers, "annotations": {str(each): "x" for each in range(min(values["notes"], self._most // 10))},
            "x": _padding(values["shape"], min(values["padding"], self._most)), "y": number,
        }  # fmt: skip
        self._add("manifest", images.dump(found))

    def _entries(self, values: Mapping[str, Any], number: int, copies: int) -> list[dict[str, Any]]:
        found = []
        for each in range(max(1, min(values["span"], self._most // 150))):
            kind, data = self._pick(["manifest", "index"], values["to"] + each)
            found.append(self._pointer(kind, data, values, number + each))
            if values["data"] and each < 3:
                found[-1]["data"] = base64.b64encode(data[: 1 << 12]).decode()
            self.size += 100
            if self.full:
                break
        copies = max(1, min(copies, (self._most // 100) // len(found)))
        self.size += 100 * copies * len(found)
        return found * copies

    def _index(self, values: Mapping[str, Any], number: int) -> None:
        entries = self._entries(values, number, values["copies"])
        self._add(
            "index", images.dump({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": entries, "y": number})
        )

    def _top(self, values: Mapping[str, Any], number: int) -> None:
        self.top += self._entries(values, number, 1)

    def _item(self, values: Mapping[str, Any], number: int) -> None:
        _, config = self._pick(["config"], values["to"])
        own = hashlib.sha256(config).hexdigest()
        names = {
            "right": f"blobs/sha256/{own}",
            "named": f"{own}.json",
            "link": "l0",
            "gone": f"gone{number}",
            "up": "../x",
        }
        if values["config"] == "named":
            self.blobs[f"{own}.json".encode()] = config
        self.blobs[b"layer.tar"] = _LAYER.blob
        count = min(values["layers"], self._most // 20) or 1
        layers = {
            "one": ["layer.tar"] * count,
            "each": [f"{each}/layer.tar" for each in range(count)],
            "link": ["l0"] * count,
            "chain": [f"l{each}" for each in range(count)],
            "gone": ["gone"] * count,
            "dots": ["./" * 50 + "layer.tar"] * count,
        }[values["layer"]]
        if values["layer"] == "each":
            self.blobs.update((name.encode(), _LAYER.blob) for name in layers)
        tags = [
            _named(values["name"], each + number).get(images.REF_NAME) or ""
            for each in range(min(values["tags"], self._most // 20))
        ]
        self.table.append({"Config": names[values["config"]], "RepoTags": tags or None, "Layers": layers})
        self.size += 20 * (len(tags) + len(layers)) + 60

    def _link(self, values: Mapping[str, Any], number: int) -> None:
        kind = Kind.SYMLINK if values["letter"] == "s" else Kind.HARDLINK
        to = len(self.links) + values["to"]
        target = b"layer.tar" if values["to"] == 0 else b"./" * values["dots"] + b"l%d" % to
        self.links[b"l%d" % len(self.links)] = kind, target
        self.size += 100 + len(target)

    def members(self) -> Members:
        """The table of an archive with all of these documents."""
        entries = self.top or [self._pointer(*self._pick(["manifest", "index"], 0), {}, 0)]
        files = {**self.blobs, b"oci-layout": images.LAYOUT}
        files[b"index.json"] = images.dump({"schemaVersion": 2, "manifests": entries})
        if self.table:
            files[b"manifest.json"] = images.dump(self.table)
        self.charged = {
            "listing": len(files[b"index.json"]),
            "table": len(files.get(b"manifest.json", b"")),
            "images": len(self.table),
            "members": len(files) + len(self.links),
        }
        file = OpenFile(os.memfd_create("archive"))
        os.write(file.fd, b"".join(files.values()))
        members, offset = Members("archive"), 0
        members.own(file)
        for name, data in files.items():
            members.add(name, Member(Kind.FILE, file, offset, len(data)))
            offset += len(data)
        for name, (kind, target) in self.links.items():
            members.add(name, Member(kind, link=target))
        return members


def documents(genome: Genome, most: int) -> Documents:
    """Make the documents of *genome*; nothing more is added after *most* bytes."""
    found = Documents(most)
    for name, values in genome:
        found.add(name, values)
    return found


def selected(opened: Callable[[Members, Limits], Medium]) -> Callable[[Documents, int, Limits], Run]:
    """Choose images from a source that *opened* makes of a table."""

    def run_of(source: Documents, how: int, limits: Limits) -> Run:
        def run(charged: dict[str, int]) -> None:
            members = source.members()
            medium = None
            try:
                medium = opened(members, limits)
                taken = Selector(medium, Wanted(every=bool(how % 2))).select()
                charged["made"] = len(taken.images)
            finally:
                if medium is not None:
                    work = medium.facts.work
                    charged.update(
                        parsed=work._parsed, visits=work._visits, references=work._references, held=work._held
                    )
                charged.update(source.charged)
                members.close()

        return run

    return run_of


def layout(members: Members, limits: Limits) -> Medium:
    """A layout in an archive."""
    assert is_layout(members)
    return Layout(members, "box.tar", limits=limits)


def docker_archive(members: Members, limits: Limits) -> Medium:
    """A docker-archive."""
    is_docker_archive(members)
    return DockerArchive(members, "box.tar", limits=limits)


def hybrid(members: Members, limits: Limits) -> Medium:
    """An archive with both lists."""
    is_docker_archive(members)
    return Hybrid(members, "box.tar", limits=limits)


__all__ = ["GRAMMAR", "docker_archive", "documents", "hybrid", "layout", "media_type", "selected"]
