"""The records of the graph: what the store knows, as values that are written as compact JSON objects.

    blobs       digest            -> BlobRecord
    layers      chain ID          -> LayerRecord      a layer with its parents
    trees       tree key          -> TreeRecord       the key is a diff ID, the chain ID of an adapted layer, or that
                                                      of a run of trees
    images      manifest digest   -> ImageRecord      or an index digest, for a multi-platform image kept whole
    attachments SUBJECT/MANIFEST  -> AttachmentRecord   a manifest that belongs to another one, by their digests
    names       NAME:TAG          -> digest of an image
    containers  id                -> ContainerRecord
    leases      id                -> LeaseRecord
    lent        digest            -> LentRecord       a layer's blob that is in an additional store
    hints       table/subject     -> text that may be lost at any time (`hints`)
    meta        format, created, home, id, lineage

A record never holds a whole document: manifests and configs are blobs, kept byte for byte.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, ClassVar, TypeVar

    T = TypeVar("T")


class BlobRecord(NamedTuple):
    """A blob that is in place and was verified; `size` in bytes.

    For a layer, `diff_id` and `tar_size` describe its uncompressed tar; "" and 0 for other documents.
    """

    size: int
    diff_id: str = ""
    tar_size: int = 0


class LayerRecord(NamedTuple):
    """A layer with its parents, stored under its chain ID.

    `parent` is the parent's chain ID or "". `blobs` are the digests of the layer's blobs as stored, most recent last:
    the same tar may have come in several compressions. `size` counts the uncompressed tar. `tree` is the key of the
    tree that shows the layer: its diff ID, or its own chain ID if it had to be adapted to its parents; "" if it was
    never built.
    """

    diff_id: str
    parent: str
    blobs: tuple[str, ...]
    size: int
    tree: str


RULES = "rules:2"
"""An entry in the sums of current trees. Its number changes with the rules by which a layer becomes a tree.

2: marks apply at their literal path, directories that only marks imply are not shown, entries are applied in their
order (decision 19). Trees without it are rebuilt at their next use.
"""


class TreeRecord(NamedTuple):
    """A tree on disk. `boot` is the boot in which it was written, `synced` whether a later syncfs covered it.

    A merged index (`mounts.merge_plan`) lists the keys of its trees, top first, in `members`; its `size` is that of the
    index. `sums` has `name:digest` for the files in the tree's directory that describe the others (`listing` of
    extracted files, `needs.json`): the first 16 bytes of their BLAKE3 in hexadecimal digits, or `-` for a file that
    does not exist. `RULES` among them says that the tree was built by the current rules. Trees that were built by an
    arstore without sums have none.
    """

    form: str
    boot: str
    synced: bool
    entries: int
    size: int
    implied: bool
    members: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()

    @property
    def is_outdated(self) -> bool:
        """Whether the tree may show its layer in another way than a new one.

        A merged index shows what its members show.
        """
        return RULES not in self.sums and not self.members


class ImageRecord(NamedTuple):
    """An image, or an index of images.

    An image has `config` and `layers` (digests of blobs, bottom first), `top` (chain ID of its top layer, "" without
    layers) and `cap`: the key of the directory-only tree that its stack needs on top, "" for none, None if not yet
    known. An index has `manifests` (digests of its images that are in the store). `size` is the sum of the blobs'
    sizes in bytes.
    """

    media_type: str
    size: int
    platform: str
    created: str
    imported: float
    config: str = ""
    layers: tuple[str, ...] = ()
    top: str = ""
    cap: str | None = None
    manifests: tuple[str, ...] = ()

    @property
    def is_index(self) -> bool:
        """Whether this is an index, which names images and has no layers."""
        return not self.config


class AttachmentRecord(NamedTuple):
    """A manifest that is attached to an image, an index or another attachment (`oci.attachment`).

    `size` is the size of the manifest in bytes, `blobs` are the digests of its config and its layers, `tag` is the
    suffix of its tag in a registry ("" for one that names its subject itself).
    """

    media_type: str
    size: int
    artifact_type: str
    blobs: tuple[str, ...]
    imported: float
    tag: str = ""


SUBJECT = "arstore.subject"
"""Annotation of entries of `index.json` that are attachments, and not images: the digest of the subject."""


class ContainerRecord(NamedTuple):
    """A writable upper directory over an image.

    `ephemeral` containers belong to one process, a `run` or a launcher, and are removed with it: `pid`, `start` and
    `boot` identify that process. `name` is "" for a container that was never renamed, whose name is its id; it is not
    written then, so that earlier versions, which do not know it, can change the record.
    """

    image: str
    created: float
    ephemeral: bool = False
    pid: int = 0
    start: int = 0
    boot: str = ""
    name: str = ""


class LeaseRecord(NamedTuple):
    """Images that a living process uses, even if nothing else holds them."""

    holds: tuple[str, ...]
    purpose: str
    pid: int
    start: int
    boot: str
    created: float


class LentRecord(NamedTuple):
    """A layer's blob that images here need, and that is in an additional store: nothing of it is under this root.

    The first three fields are as in BlobRecord, found by that store. `store` is its id ("" if it has none). `place` is
    its root at the time when the record was written, for people.
    """

    size: int
    diff_id: str
    tar_size: int
    store: str
    place: str


Record = (
    BlobRecord | LayerRecord | TreeRecord | ImageRecord | AttachmentRecord | ContainerRecord | LeaseRecord | LentRecord
)

KINDS: dict[str, type[Record]] = {
    "blobs": BlobRecord,
    "layers": LayerRecord,
    "trees": TreeRecord,
    "images": ImageRecord,
    "attachments": AttachmentRecord,
    "containers": ContainerRecord,
    "leases": LeaseRecord,
    "lent": LentRecord,
}
"""Kinds of records by table. Missing are names, meta and hints, which hold texts."""

TABLES = frozenset({*KINDS, "names", "meta", "hints"})
"""All tables. A sealed record of another one was written by a newer arstore (`newer`)."""


_parse = json.JSONDecoder().decode


class RecordCodec:
    """Records to bytes and back: a JSON object with one member per field."""

    separators: ClassVar[tuple[str, str]] = (",", ":")

    @classmethod
    def encode(cls, record: Record) -> bytes:
        """Return the record as UTF-8 JSON, fields in the order of the class."""
        fields = record._asdict()
        if isinstance(record, ContainerRecord) and not record.name:
            del fields["name"]
        return json.dumps(fields, separators=cls.separators).encode()

    @classmethod
    def decode(cls, kind: Callable[..., T], data: bytes) -> T:
        """Decode a record of *kind*. Raises ValueError, TypeError or RecursionError for anything else."""
        # Like json.loads, without its guess at the encoding: a deep stack is some hundred records.
        return cls._made(kind, _parse(str(data, "utf-8")))

    @classmethod
    def decode_newer(cls, kind: type[T], data: bytes) -> T:
        """Like `decode`, but ignore unknown fields, which a newer arstore has written."""
        fields = _parse(str(data, "utf-8"))
        known: tuple[str, ...] = kind._fields  # type: ignore[attr-defined] # every kind is a named tuple
        if isinstance(fields, dict):
            fields = {name: value for name, value in fields.items() if name in known}
        return cls._made(kind, fields)

    @staticmethod
    def has_more(kind: type[Record], data: bytes) -> bool:
        """Return whether the record in *data* has fields that *kind* does not have."""
        # Compact JSON has these two characters after each name, so most records need no closer look.
        if data.count(b'":') <= len(kind._fields):
            return False
        try:
            fields = _parse(str(data, "utf-8"))
        except (ValueError, RecursionError):
            return False
        return isinstance(fields, dict) and not fields.keys() <= set(kind._fields)

    @classmethod
    def decode_columns(cls, kind: type[Record], names: Sequence[str], texts: Sequence[bytes]) -> list[list[Any]]:
        """Decode only the fields *names* of all records of *kind* in *texts*; return a list for each field.

        All are decoded in one pass of the parser; most of the time goes into strings that are kept. Raises ValueError,
        TypeError or RecursionError.
        """
        text = str(b"[" + b",".join(texts) + b"]", "utf-8")
        found = _parse(text)
        if len(found) != len(texts):
            raise ValueError("not one JSON object each")
        columns = _columns(found, kind._fields, names, text.count("[") - 1)
        if columns is None:
            records = [cls._made(kind, fields) for fields in found]
            columns = [[getattr(record, name) for record in records] for name in names]
        return columns

    @staticmethod
    def _made(kind: Callable[..., T], fields: object) -> T:
        if not isinstance(fields, dict):
            raise TypeError("not a JSON object")
        for name, value in fields.items():
            if value.__class__ is list:
                fields[name] = tuple(value)
        return kind(**fields)


def _columns(found: list[Any], names: tuple[str, ...], wanted: Sequence[str], lists: int) -> list[list[Any]] | None:
    """Return the values of the *wanted* fields of JSON objects if all are as `encode` writes them, else None.

    They have all the *names*, in this order, and lists where the first one has some, *lists* in all.
    """
    if not found or set(map(type, found)) != {dict} or set(map(tuple, found)) != {names}:
        return None
    are_lists = [name for name, value in found[0].items() if value.__class__ is list]
    if lists != len(found) * len(are_lists):
        return None
    for name in are_lists:
        if {type(fields[name]) for fields in found} != {list}:
            return None
    columns: list[list[Any]] = [list(map(itemgetter(name), found)) for name in wanted]
    return [
        list(map(tuple, column)) if name in are_lists else column for name, column in zip(wanted, columns, strict=True)
    ]
