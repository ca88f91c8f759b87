"""Remove an image from a directory: a whole `dir:`, or a name in a layout."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from arstore.errors import ConflictError, naming
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME
from arstore.oci.document import BOUNDS, encode, parse
from arstore.oci.reference import from_annotations
from arstore.store.apart import refuse_stores
from arstore.store.layout import INDEX, LAYOUT
from arstore.transport.sinks.files import locked_directory, replace_document

if TYPE_CHECKING:
    from collections.abc import Iterable

_MANIFEST, _VERSION = "manifest.json", "version"
_OF_A_DIR = re.compile(
    r"version|manifest\.json|([0-9a-f]{64}){1,2}(\.manifest\.json|\.tar)?|([0-9a-f]{64}\.)?signature-[0-9]+"
)


def remove_dir(directory: str) -> None:
    """Delete the `dir:` in *directory*, and the directory.

    Raises ConflictError if it is not a `dir:` or holds other files, too; InUseError, UsageError for a place in a store,
    OSError.
    """
    path = os.path.realpath(directory)
    refuse_stores(path)
    with locked_directory(path, {_MANIFEST, _VERSION}.issubset, "a dir: image") as fd, naming(path):
        names = os.listdir(fd)
        foreign = next((one for one in names if _OF_A_DIR.fullmatch(one) is None), None)
        if foreign is not None:
            raise ConflictError(directory, f"holds something other than a dir: image, {foreign}", "delete it yourself")
        # The manifest first, so that after a kill the rest is not an image.
        for name in sorted(names, key=lambda one: one != _MANIFEST):
            os.unlink(name, dir_fd=fd)
        os.rmdir(path)


def remove_name(directory: str, name: str) -> None:
    """Remove the entries called *name* from the layout in *directory*; blobs stay.

    Raises ConflictError, InUseError, UsageError for a place in a store, OSError.
    """
    path = os.path.realpath(directory)
    refuse_stores(path)
    with locked_directory(path, {LAYOUT, INDEX}.issubset, "an OCI image layout") as fd, naming(path):
        with open(f"{path}/{INDEX}", "rb") as file:
            document = parse(file.read(BOUNDS.document + 1), f"{path}/{INDEX}", BOUNDS)
        entries: Iterable[Any] = document.get("manifests") or ()
        kept = [entry for entry in entries if _name(entry, os.path.basename(path)) != name]
        replace_document(f"{path}/{INDEX}", encode({**document, "manifests": kept}))
        os.fsync(fd)


def _name(entry: object, file_name: str) -> str:
    """The whole name of an entry of `index.json`; "" if it has none."""
    notes = entry.get("annotations") if isinstance(entry, dict) else None
    found = [notes.get(key) for key in (REF_NAME, CONTAINERD_NAME)] if isinstance(notes, dict) else ["", ""]
    ref_name, whole = (one if isinstance(one, str) else "" for one in found)
    return str(from_annotations(ref_name, whole, file_name) or "")
