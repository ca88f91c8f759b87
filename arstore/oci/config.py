"""Image configs (image-spec config.md; Docker's image JSON has the same form): platform, layers, history, process.

Field names are read in exactly the specification's spelling; another letter case is refused, not guessed at. Members
that no specification knows are kept in `raw` and survive `with_layer`. Not in scope: what a runtime makes of the
process part, and whether the diff IDs fit a manifest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from arstore.digest import Digest
from arstore.errors import ManifestError
from arstore.oci.document import BOUNDS, STORED, Bounds, Fields, encode, parse, shown
from arstore.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FIELDS = ("created", "author", "config", "rootfs", "history")
_ROOTFS_FIELDS = ("type", "diff_ids")
_HISTORY_FIELDS = ("created", "created_by", "author", "comment", "empty_layer")
_PROCESS_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Shell",
    "Healthcheck", "ArgsEscaped",
)  # fmt: skip
_STEPS_A_LAYER = 4
"""Entries of history for each layer that is allowed: most steps of a build make none."""


class History(NamedTuple):
    """How one layer came to be, or, with `empty_layer`, a step that made none. Absent texts are empty."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def read(cls, fields: Fields) -> History:
        """Read the members of one entry of `history`. Raises ManifestError."""
        fields.refuse_variants(_HISTORY_FIELDS)
        return cls(
            created=fields.string("created"),
            created_by=fields.string("created_by"),
            author=fields.string("author"),
            comment=fields.string("comment"),
            empty_layer=fields.boolean("empty_layer"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object, without members that are empty."""
        texts = {"created": self.created, "created_by": self.created_by, "author": self.author, "comment": self.comment}
        members: dict[str, Any] = {name: text for name, text in texts.items() if text}
        if self.empty_layer:
            members["empty_layer"] = True
        return members


@dataclass(slots=True, frozen=True)
class ImageConfig:
    """What an image is and how it wants to be run.

    `diff_ids` are bottom first. `created` is text as it stands in the document (RFC 3339 where the writer kept to the
    specification). Each of `env` holds a name and a `=`. `volumes` and `exposed_ports` are the keys of their objects;
    `healthcheck` is the object as it is.
    """

    raw: bytes
    platform: Platform
    diff_ids: tuple[Digest, ...]
    history: tuple[History, ...] = ()
    created: str = ""
    author: str = ""
    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    healthcheck: Mapping[str, Any] | None = field(default=None, hash=False)

    @classmethod
    def parse(cls, raw: bytes, what: str = "", bounds: Bounds = BOUNDS) -> ImageConfig:
        """Read *raw*. Raises ManifestError or LimitError."""
        what = what or f"config {Digest.of(raw)}"
        fields = Fields(parse(raw, what, bounds), what)
        fields.refuse_variants(_FIELDS)
        history = fields.objects("history")
        most = _STEPS_A_LAYER * bounds.layers
        if len(history) > most:
            raise bounds.passed("layers", what, f"has {len(history)} entries of history; {most} are allowed")
        return cls(
            raw=raw,
            platform=Platform.read(fields),
            diff_ids=_diff_ids(fields, bounds),
            history=tuple(History.read(entry) for entry in history),
            created=fields.string("created"),
            author=fields.string("author"),
            **_process(fields.child("config") or Fields({}, what, "config")),
        )

    @staticmethod
    def build(
        platform: Platform,
        diff_ids: Iterable[Digest] = (),
        *,
        history: Iterable[History] = (),
        created: str = "",
        author: str = "",
        process: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The bytes of a new config; *process* is its `config` object, spelt as the specification does."""
        document: dict[str, Any] = platform.to_json()
        document["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
        document["config"] = dict(process or {})
        document["history"] = [entry.to_json() for entry in history]
        document.update({name: text for name, text in (("created", created), ("author", author)) if text})
        return encode(document)

    def with_layer(self, diff_id: Digest, created_by: str, created: str, comment: str = "", author: str = "") -> bytes:
        """The bytes of this config with one layer more on top, and its entry in the history; all else is kept.

        *created* is a time in RFC 3339. Layers that the history does not account for get empty entries, so that the
        new entry belongs to the new layer for those who count.
        """
        document = parse(self.raw, "config", STORED)
        rootfs = document["rootfs"]
        rootfs["diff_ids"] = [*self.diff_ids, diff_id]
        accounted = sum(not entry.empty_layer for entry in self.history)
        history = list(document.get("history") or [])
        history += [{} for _ in range(len(self.diff_ids) - accounted)]
        history.append(History(created, created_by, author, comment).to_json())
        document.update(created=created, history=history)
        return encode(document)

    @property
    def digest(self) -> Digest:
        """The SHA-256 digest of the raw bytes, which Docker calls the image's ID."""
        return Digest.of(self.raw)


def _diff_ids(fields: Fields, bounds: Bounds) -> tuple[Digest, ...]:
    rootfs = fields.child("rootfs")
    if rootfs is None:
        raise fields.error("rootfs", "is missing, so this is no image config")
    rootfs.refuse_variants(_ROOTFS_FIELDS)
    kind = rootfs.string("type", required=True)
    if kind != "layers":
        raise rootfs.error("type", f"is {shown(repr(kind), 40)}, only 'layers' is known")
    diff_ids = rootfs.digests("diff_ids")
    if len(diff_ids) > bounds.layers:
        why = f"has {len(diff_ids)} diff IDs; {bounds.layers} are allowed"
        raise bounds.passed("layers", fields.what, why)
    return diff_ids


def _process(fields: Fields) -> dict[str, Any]:
    fields.refuse_variants(_PROCESS_FIELDS)
    healthcheck = fields.child("Healthcheck")
    return {
        "user": fields.string("User"),
        "env": _environment(fields),
        "entrypoint": fields.strings("Entrypoint"),
        "cmd": fields.strings("Cmd"),
        "working_dir": fields.string("WorkingDir"),
        "volumes": fields.keys("Volumes"),
        "labels": fields.string_map("Labels"),
        "stop_signal": fields.string("StopSignal"),
        "exposed_ports": fields.keys("ExposedPorts"),
        "shell": fields.strings("Shell"),
        "healthcheck": None if healthcheck is None else healthcheck.values,
    }


def _environment(fields: Fields) -> tuple[str, ...]:
    """The variables; one without a `=` is empty, as podman reads it."""
    variables: list[str] = []
    for position, text in enumerate(fields.strings("Env")):
        name, _, value = text.partition("=")
        if not name:
            raise ManifestError(fields.what, f"{fields.at('Env')}[{position}]: has no variable name")
        variables.append(f"{name}={value}")
    return tuple(variables)
