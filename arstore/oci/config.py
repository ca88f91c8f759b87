"""Image configs (image-spec config.md; Docker's image JSON has the same form): platform, layers, history, process.

The members that decide which layers make the image, and for which host, are read strictly: `rootfs`, `os`,
`architecture` and `variant`. All other members are read leniently, because the bytes are kept as they are: `left_out`
lists what could not be read, and `unreadable` lists those members that a process cannot do without. Unknown members are
kept in `raw` and by `with_layer`. Not in scope: how a runtime uses the process part, and whether the diff IDs match a
manifest.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ImageConfigError
from arstore.oci.document import BOUNDS, STORED, Bounds, Fields, encode, parse
from arstore.oci.kept import KeptFields
from arstore.oci.platform import Platform
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_FIELDS = ("created", "author", "config", "rootfs", "history")
_ROOTFS_FIELDS = ("type", "diff_ids")
PROCESS_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Shell",
    "Healthcheck", "ArgsEscaped",
)  # fmt: skip
"""The members of the `config` object that are read."""
_REMEDIES = {
    "User": "override it with `arstore run --user`",
    "Entrypoint": "override it with `arstore run --entrypoint`",
    "Cmd": "override it with `arstore run IMAGE ARG...`",
    "WorkingDir": "override it with `arstore run --workdir`",
}
_STEPS_A_LAYER = 4
"""Maximum number of history entries for each allowed layer: most steps of a build add no layer."""


class History(NamedTuple):
    """How one layer was made, or, with `empty_layer`, a step that added no layer. Missing texts are empty."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def read(cls, value: object) -> History:
        """Read one entry of `history`, leniently."""
        members = value if isinstance(value, dict) else {}
        texts = {name: text for name, text in members.items() if isinstance(text, str) and "\0" not in text}
        return cls(
            created=texts.get("created", ""),
            created_by=texts.get("created_by", ""),
            author=texts.get("author", ""),
            comment=texts.get("comment", ""),
            empty_layer=members.get("empty_layer") is True,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, without empty members."""
        texts = {"created": self.created, "created_by": self.created_by, "author": self.author, "comment": self.comment}
        members: dict[str, Any] = {name: text for name, text in texts.items() if text}
        if self.empty_layer:
            members["empty_layer"] = True
        return members


@dataclass(slots=True, frozen=True)
class ImageConfig:
    """The platform, layers, history and process of an image.

    `diff_ids` are bottom first. `created` is the text in the document (RFC 3339 if it follows the specification). Each
    of `env` contains a name and a `=`. `volumes` and `exposed_ports` are the keys of their objects; `healthcheck` is
    the object as it is. `left_out` names the members that could not be read, each with the reason; `unreadable` has
    those of `User`, `Entrypoint`, `Cmd` and `WorkingDir` that are among them.
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
    left_out: tuple[str, ...] = ()
    unreadable: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, raw: bytes, what: str = "", bounds: Bounds = BOUNDS) -> ImageConfig:
        """Read *raw*. Raises ManifestError, LimitError."""
        what = what or f"config {Digest.of(raw)}"
        fields = Fields(parse(raw, what, bounds), what)
        fields.refuse_variants(_FIELDS)
        kept = KeptFields(fields.values)
        history = kept.items("history")
        most = _STEPS_A_LAYER * bounds.layers
        if len(history) > most:
            raise bounds.passed("layers", what, f"has {len(history)} entries of history; {most} are allowed")
        platform, diff_ids = Platform.read(fields), _diff_ids(fields, bounds)
        created, author = kept.text("created"), kept.text("author")
        process = kept.inner("config", PROCESS_FIELDS, what)
        return cls(
            raw=raw,
            platform=platform,
            diff_ids=diff_ids,
            history=tuple(map(History.read, history)),
            created=created,
            author=author,
            **_process(process),
            left_out=kept.left_out(),
            unreadable=kept.unreadable(),
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
        """Return the bytes of a new config; *process* is its `config` object, spelt as in the specification."""
        document: dict[str, Any] = platform.to_json()
        document["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
        document["config"] = dict(process or {})
        document["history"] = [entry.to_json() for entry in history]
        document.update({name: text for name, text in (("created", created), ("author", author)) if text})
        return encode(document)

    def with_layer(self, diff_id: Digest, created_by: str, created: str, comment: str = "", author: str = "") -> bytes:
        """Return the bytes of this config with one more layer on top, and its history entry; all else is kept.

        *created* is a time in RFC 3339. Layers without history entries get empty ones, so that the new entry belongs to
        the new layer for readers that count entries.
        """
        document = parse(self.raw, "config", STORED)
        rootfs = document.get("rootfs") or {}
        document["rootfs"] = rootfs | {"type": "layers", "diff_ids": [*self.diff_ids, diff_id]}
        accounted = sum(not entry.empty_layer for entry in self.history)
        kept = document.get("history")
        history = list(kept) if isinstance(kept, list) else []
        history += [{} for _ in range(len(self.diff_ids) - accounted)]
        history.append(History(created, created_by, author, comment).to_json())
        document.update(created=created, history=history)
        return encode(document)

    def require(self, name: str) -> None:
        """Require that the member *name* of the process could be read, if the document has it.

        Raises ImageConfigError: otherwise another user or command would run than the image demands.
        """
        if name in self.unreadable:
            why = next(
                (one for one in self.left_out if one.startswith(f"config.{name} ")), f"config.{name} is unreadable"
            )
            raise ImageConfigError("image", f"cannot be run as its config demands: {why}", _REMEDIES[name])

    @property
    def digest(self) -> Digest:
        """The SHA-256 digest of the raw bytes, which Docker calls the image ID."""
        return Digest.of(self.raw)


def _diff_ids(fields: Fields, bounds: Bounds) -> tuple[Digest, ...]:
    """Return the layers' diff IDs; empty without `rootfs`, which is valid only for an image without layers."""
    rootfs = fields.child("rootfs")
    if rootfs is None:
        return ()
    rootfs.refuse_variants(_ROOTFS_FIELDS)
    diff_ids = rootfs.digests("diff_ids")
    if len(diff_ids) > bounds.layers:
        why = f"has {len(diff_ids)} diff IDs; {bounds.layers} are allowed"
        raise bounds.passed("layers", fields.what, why)
    return diff_ids


def _process(fields: KeptFields) -> dict[str, Any]:
    healthcheck = fields.mapping("Healthcheck")
    return {
        "user": fields.text("User", vital=True),
        "env": _environment(fields),
        "entrypoint": fields.words("Entrypoint", vital=True),
        "cmd": fields.words("Cmd", vital=True),
        "working_dir": fields.text("WorkingDir", vital=True),
        "volumes": _volumes(fields),
        "labels": fields.texts("Labels"),
        "stop_signal": fields.text("StopSignal"),
        "exposed_ports": fields.keys("ExposedPorts"),
        "shell": fields.words("Shell"),
        "healthcheck": healthcheck or None,
    }


def _volumes(fields: KeptFields) -> tuple[str, ...]:
    """Return the mount points of volumes; one that is not an absolute path below the root is left out."""
    places = []
    for place in fields.keys("Volumes"):
        if place.startswith("/") and posixpath.normpath(place).strip("/"):
            places.append(place)
        else:
            fields.leave(f"Volumes.{place}", "is not an absolute path below the root")
    return tuple(places)


def _environment(fields: KeptFields) -> tuple[str, ...]:
    """Return the variables; one without a `=` gets an empty value, as in Docker, and one without a name is left out."""
    variables: list[str] = []
    for position, text in enumerate(fields.items("Env")):
        if text is None or text == "":
            continue
        name, _, value = text.partition("=") if isinstance(text, str) else ("", "", "")
        if name and "\0" not in text:
            variables.append(f"{name}={value}")
        else:
            fields.leave(f"Env[{position}]", "contains a NUL character" if name else "has no variable name")
    return tuple(variables)
