"""Write skopeo's `dir:` form: one image in a flat directory (containers-transports(5), "dir:path").

    version                     Directory Transport Version: 1.1
    <hex>                       layers and configs
    <hex>.manifest.json         the images of an index
    signature-N                 signatures of the image, from 1 on
    <hex>.signature-N           those of an image of the index
    manifest.json               the image's manifest, or the index

`version` is written first, and `manifest.json` last. Files of an earlier image are removed after that.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arstore.errors import naming
from arstore.linux.files.sync import syncfs
from arstore.store.apart import refuse_stores
from arstore.transport.sink import SIGNATURES, SinkTraits
from arstore.transport.sinks.files import FileSink, FileWriter, locked_directory, replace_document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.sink import OutgoingImage

_VERSION_START = b"Directory Transport Version: "
_VERSION = b"Directory Transport Version: 1.1\n"
_OWN = re.compile(r"([0-9a-f]{64}){1,2}(\.manifest\.json|\.tar)?|([0-9a-f]{64}\.)?signature-[0-9]+")
"""Names of the form's files other than `version` and `manifest.json`."""


class DirSink(FileSink):
    """A `dir:` in *directory*, which is created if it is missing."""

    traits = SinkTraits(many=False, names=False, attachments=SIGNATURES)

    def __init__(self, directory: str) -> None:
        """Lock the directory. Raises ConflictError, InUseError, UsageError for a place in a store, OSError."""
        super().__init__()
        self.what = directory
        self._directory = os.path.realpath(directory)
        refuse_stores(self._directory)
        self._stack = ExitStack()
        self._fd = self._stack.enter_context(locked_directory(self._directory, self._is_dir, "a dir: image"))
        self._manifests: dict[Digest, bytes] = {}
        self._kept: set[str] = set()
        self._signatures: dict[Digest, dict[bytes, None]] = {}
        self._is_new = not os.path.lexists(f"{self._directory}/version")
        if self._is_new:
            # This file identifies the directory if the copy is killed: files named by digests alone do not.
            try:
                replace_document(f"{self._directory}/version", _VERSION)
            except BaseException:
                self._stack.__exit__(*sys.exc_info())
                raise

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the blob's file is there and has the right size."""
        with suppress(FileNotFoundError):
            status = os.lstat(self._place(descriptor.digest))
            return stat.S_ISREG(status.st_mode) and status.st_size == descriptor.size
        return False

    def writer(self, descriptor: Descriptor, *, known: bool = True) -> FileWriter:
        """Begin a blob. Raises OSError."""
        del descriptor, known
        return FileWriter(self._directory, self._place)

    def put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        """Keep a manifest until it is known which one is the image's."""
        self._manifests[descriptor.digest] = raw

    def put_signature(self, subject: Digest, data: bytes) -> None:
        """Keep a signature until it is known which image the directory holds."""
        self._signatures.setdefault(subject, {})[data] = None

    def publish(self, images: Sequence[OutgoingImage], tops: Sequence[OutgoingImage]) -> None:
        """Write the manifests, the image's last, and remove files of an earlier image. Raises OSError."""
        del images
        (top,) = tops
        with naming(self._directory):
            for digest, raw in self._manifests.items():
                if digest != top.descriptor.digest:
                    name = f"{digest.hex}.manifest.json"
                    replace_document(f"{self._directory}/{name}", raw)
                    self._kept.add(name)
            for digest, signatures in self._signatures.items():
                prefix = "" if digest == top.descriptor.digest else f"{digest.hex}."
                for number, data in enumerate(signatures, 1):
                    replace_document(f"{self._directory}/{prefix}signature-{number}", data)
                    self._kept.add(f"{prefix}signature-{number}")
            syncfs(self._fd)
            replace_document(f"{self._directory}/version", _VERSION)
            replace_document(f"{self._directory}/manifest.json", self._manifests[top.descriptor.digest])
            # Make the blobs durable first: a manifest must never be on disk without its blobs.
            os.fsync(self._fd)
            for name in os.listdir(self._fd):
                if name not in self._kept and _OWN.fullmatch(name):
                    os.unlink(name, dir_fd=self._fd)
            os.fsync(self._fd)

    def _is_dir(self, _names: set[str]) -> bool:
        """Whether this is a `dir:`, or one that a killed copy has left incomplete."""
        with suppress(FileNotFoundError), open(f"{self._directory}/version", "rb") as file:
            return file.read(len(_VERSION)).startswith(_VERSION_START)
        return False

    def _place(self, digest: Digest) -> str:
        self._kept.add(digest.hex)
        return f"{self._directory}/{digest.hex}"

    def __enter__(self) -> DirSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._is_new and os.listdir(self._fd) == ["version"]:
            os.unlink("version", dir_fd=self._fd)
        self._stack.__exit__(kind, error, trace)
