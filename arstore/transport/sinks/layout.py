"""Write an OCI image layout in a directory (image-spec image-layout.md).

Existing content stays: complete blobs are not written again, and other images keep their entries. An entry whose name
is written now is replaced. `index.json` is replaced last, when everything else is durable, so the directory lists
either the old images or the new ones at any moment.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.errors import ConflictError, naming
from arstore.linux.files.sync import syncfs
from arstore.oci.attachment import KIND, KIND_OF_IMAGE, KIND_OF_INDEX, KINDS, parse_tag, tag_of
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME
from arstore.oci.document import BOUNDS, encode, parse
from arstore.oci.media_type import OCI_INDEX, is_index
from arstore.oci.reference import full_name
from arstore.store.apart import refuse_stores
from arstore.store.layout import INDEX, LAYOUT, LAYOUT_DOCUMENT
from arstore.transport.sink import ALL, SinkTraits
from arstore.transport.sinks.files import FileSink, FileWriter, clear_partial, locked_directory, replace_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.sink import OutgoingAttachment, OutgoingImage


class LayoutSink(FileSink):
    """A layout in a directory, which is created if it is missing. *ref_name* is the user's reference, if any."""

    def __init__(self, directory: str, ref_name: str = "") -> None:
        """Lock the directory. Raises ConflictError, InUseError, UsageError for a place in a store, OSError."""
        super().__init__()
        self.what = directory
        self._directory = os.path.realpath(directory)
        self._ref_name = ref_name
        self.traits = SinkTraits(many=not ref_name, attachments=ALL)
        refuse_stores(self._directory)
        self._refuse_links()
        self._stack = ExitStack()
        self._fd = self._stack.enter_context(locked_directory(self._directory, _is_layout, "an OCI image layout"))
        with self._closing_on_error(), naming(self._directory):
            self._old = _read_index(self._directory)
            self._make("blobs")
            for algorithm in HEX_LENGTHS:
                _clear(f"{self._directory}/blobs/{algorithm}")

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the blob's file is there and has the right size."""
        with suppress(FileNotFoundError):
            status = os.lstat(self._place(descriptor.digest))
            return stat.S_ISREG(status.st_mode) and status.st_size == descriptor.size
        return False

    def writer(self, descriptor: Descriptor, *, known: bool = True) -> FileWriter:
        """Begin a blob. Raises OSError."""
        algorithm = descriptor.digest.algorithm if known else "sha256"
        self._make(f"blobs/{algorithm}")
        return FileWriter(f"{self._directory}/blobs/{algorithm}", self._place)

    def put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        """Store a manifest: a blob like any other. Raises OSError."""
        if not self.holds(descriptor):
            writer = self.writer(descriptor)
            try:
                writer.write(raw)
                writer.finish(descriptor.digest, len(raw))
            finally:
                writer.close()

    def publish(self, images: Sequence[OutgoingImage], tops: Sequence[OutgoingImage]) -> None:
        """Make everything durable, then list *tops*. Raises OSError."""
        del images
        with naming(self._directory):
            syncfs(self._fd)
            if not os.path.exists(f"{self._directory}/{LAYOUT}"):
                replace_document(f"{self._directory}/{LAYOUT}", LAYOUT_DOCUMENT)
            replace_document(
                f"{self._directory}/{INDEX}", merged_index(self._old, entries(tops, self._ref_name, self.attached))
            )
            os.fsync(self._fd)

    def _place(self, digest: Digest) -> str:
        return f"{self._directory}/blobs/{digest.algorithm}/{digest.hex}"

    def _refuse_links(self) -> None:
        """Refuse a directory of blobs that is a symlink: it could lead into a store, and sources do not follow it."""
        for below in ("blobs", *(f"blobs/{algorithm}" for algorithm in HEX_LENGTHS)):
            place = f"{self._directory}/{below}"
            if os.path.islink(place):
                raise ConflictError(place, "is a symbolic link", "name an empty or a new directory")

    def _make(self, below: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(f"{self._directory}/{below}")

    def _closing_on_error(self) -> ExitStack:
        stack = ExitStack()
        stack.push(lambda kind, error, trace: self._stack.__exit__(kind, error, trace) if kind else None)
        return stack

    def __enter__(self) -> LayoutSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def entries(
    tops: Sequence[OutgoingImage], ref_name: str = "", attached: Sequence[OutgoingAttachment] = ()
) -> list[dict[str, Any]]:
    """The entries of an `index.json` for *tops*: one for each name, and one for each image without a name.

    The entries of *attached* follow; those without a `subject` get the tags that they would have in a registry. Images
    with attachments, and signatures, are marked as `cosign save` marks them.

    The whole name is in `org.opencontainers.image.ref.name`, as podman and skopeo write it, and in
    `io.containerd.image.name` with its registry, as containerd reads it. *ref_name*, for a single image in *tops*, is
    the user's reference: it replaces all names, and if it is not a whole name, containerd's annotation is left out.
    """
    found = []
    subjects = {one.subject for one in attached}
    for top in tops:
        document = top.descriptor.to_json()
        names = top.names[:1] if ref_name else top.names
        for name in names or ("",):
            notes = {KIND: _kind_of(top)} if top.descriptor.digest in subjects else {}
            if ref_name or name:
                notes[REF_NAME] = ref_name or name
            if name and (not ref_name or "/" in ref_name or ":" in ref_name):
                notes[CONTAINERD_NAME] = full_name(name)
            found.append(document | {"annotations": notes} if notes else document)
    return found + [_attached_entry(one) for one in attached]


def _kind_of(top: OutgoingImage) -> str:
    return KIND_OF_INDEX if is_index(top.descriptor.media_type) else KIND_OF_IMAGE


def _attached_entry(one: OutgoingAttachment) -> dict[str, Any]:
    notes = {REF_NAME: tag_of(one.subject, one.tag)} if one.tag else {}
    if one.tag in KINDS:
        notes[KIND] = KINDS[one.tag]
    document = one.descriptor.to_json()
    return document | {"annotations": notes} if notes else document


def merged_index(old: Mapping[str, Any], new: Sequence[Mapping[str, Any]]) -> bytes:
    """`index.json` with the entries of *old* that stay, in their order, followed by *new*."""
    named = {pair for entry in new for pair in _names(entry)}
    digests = {entry["digest"] for entry in new}
    kept = []
    for entry in old.get("manifests") or []:
        names = _names(entry)
        if names & named or (not names and isinstance(entry, dict) and entry.get("digest") in digests):
            continue
        kept.append(entry)
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, **old, "manifests": [*kept, *new]})


def _names(entry: object) -> set[tuple[str, str]]:
    """The annotations of an entry that name it, with any content; empty for an attachment."""
    notes = entry.get("annotations") if isinstance(entry, dict) else None
    if not isinstance(notes, dict):
        return set()
    names = {(key, notes[key]) for key in (REF_NAME, CONTAINERD_NAME) if isinstance(notes.get(key), str) and notes[key]}
    # A tag of attachments may have several manifests, and none of them must be lost.
    return set() if any(parse_tag(name) is not None for _, name in names) else names


def _clear(directory: str) -> None:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        clear_partial(fd)
    finally:
        os.close(fd)


def _is_layout(names: set[str]) -> bool:
    return LAYOUT in names or names <= {"blobs", INDEX}


def _read_index(directory: str) -> dict[str, Any]:
    try:
        with open(f"{directory}/{INDEX}", "rb") as file:
            raw = file.read(BOUNDS.document + 1)
    except FileNotFoundError:
        return {}
    document = parse(raw, f"{directory}/{INDEX}", BOUNDS)
    # Go writes null for an empty list.
    if "manifests" not in document or not isinstance(document["manifests"], list | None):
        raise ConflictError(f"{directory}/{INDEX}", "has no list of manifests", "name an empty or a new directory")
    return document
