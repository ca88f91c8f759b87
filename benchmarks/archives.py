"""Archives that are made for one measurement: a huge layer, a deep stack, a pipeline of an image.

All are OCI archives of one image; blobs and diff IDs are right. Formats: OCI image-spec 1.1, RFC 1951 and 1952.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arstore.oci.platform import host
from benchmarks.measure import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

_KIND = "application/vnd.oci.image"
_EPOCH = 1_700_000_000
_SEGMENT = 16 << 20
_COPY = 4 << 20


@dataclass(slots=True, frozen=True)
class Blob:
    """A blob to be written: its digest, its size in bytes, and a function that writes it to a file."""

    digest: str
    size: int
    write: Callable[[BinaryIO], object]

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """A blob of these bytes."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest(), len(data), lambda file: file.write(data))

    def descriptor(self, media_type: str) -> dict[str, Any]:
        """The blob's OCI descriptor."""
        return {"mediaType": f"{_KIND}.{media_type}", "digest": self.digest, "size": self.size}


def write_archive(
    path: str, name: str, layers: Sequence[Blob], diff_ids: Sequence[str], command: Sequence[str] = ()
) -> None:
    """Write the archive of an image with these gzip layers, called *name*."""
    platform = host()
    config = {
        "created": "2023-11-14T22:13:20Z",
        "architecture": platform.architecture,
        "os": "linux",
        "config": {"Cmd": list(command), "Env": [f"PATH={os.defpath}"]},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    _write(path, name, config, layers, [layer.descriptor("layer.v1.tar+gzip") for layer in layers])


def _write(
    path: str, name: str, config: dict[str, Any], layers: Sequence[Blob], descriptors: Sequence[dict[str, Any]]
) -> None:
    configured = Blob.of(json.dumps(config).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_KIND}.manifest.v1+json",
        "config": configured.descriptor("config.v1+json"),
        "layers": list(descriptors),
    }
    listed = Blob.of(json.dumps(manifest).encode())
    entry = listed.descriptor("manifest.v1+json") | {"annotations": {"org.opencontainers.image.ref.name": name}}
    index = {"schemaVersion": 2, "manifests": [entry]}
    with open(path, "wb") as file:
        _member(file, "oci-layout", Blob.of(b'{"imageLayoutVersion":"1.0.0"}'))
        _member(file, "index.json", Blob.of(json.dumps(index).encode()))
        for blob in {blob.digest: blob for blob in (listed, configured, *layers)}.values():
            _member(file, "blobs/" + blob.digest.replace(":", "/"), blob)
        file.write(bytes(2 * tarfile.BLOCKSIZE))


def _member(file: BinaryIO, name: str, blob: Blob) -> None:
    file.write(_header(name, blob.size))
    blob.write(file)
    file.write(bytes(-blob.size % tarfile.BLOCKSIZE))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, _EPOCH
    return info.tobuf(tarfile.GNU_FORMAT)


# --- a deep stack ---------------------------------------------------------------------------------------------------


def deep_stack(path: str, count: int) -> None:
    """Write an image called deep, of *count* layers with a file in a directory each, and one file that all change."""
    blobs, diff_ids = [], []
    for number in range(count):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            directory = tarfile.TarInfo(f"d{number}")
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
            for name in (f"d{number}/file", "changed"):
                info, data = tarfile.TarInfo(name), f"{number}\n".encode()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        diff_ids.append("sha256:" + hashlib.sha256(stream.getvalue()).hexdigest())
        blobs.append(Blob.of(gzip.compress(stream.getvalue(), 1, mtime=0)))
    write_archive(path, "deep", blobs, diff_ids)


# --- a huge layer ---------------------------------------------------------------------------------------------------


def huge_layer(path: str, size: int, part: int = 16) -> None:
    """Write an image called huge, whose only layer has one file of *size* bytes, a multiple of 16 MiB.

    The file repeats 16 MiB, of which one in *part* is noise: the layer deflates to about so much. The one gzip member
    is put together from independent deflate blocks (after a full flush), so that only 16 MiB are
    compressed.
    """
    noise = hashlib.shake_128(b"noise").digest(_SEGMENT // part)
    segment = (noise + b"The quick brown fox jumps over the lazy dog.\n" * (_SEGMENT // 45 + 1))[:_SEGMENT]
    head, tail = _header("huge", size), bytes(2 * tarfile.BLOCKSIZE)
    count = size // _SEGMENT
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)

    def deflated(data: bytes, mode: int) -> bytes:
        return compressor.compress(data) + compressor.flush(mode)

    first, repeated, last = (
        deflated(head, zlib.Z_FULL_FLUSH),
        deflated(segment, zlib.Z_FULL_FLUSH),
        deflated(tail, zlib.Z_FINISH),
    )
    plain, check = hashlib.sha256(), 0
    for piece in (head, *(segment for _ in range(count)), tail):
        plain.update(piece)
        check = zlib.crc32(piece, check)
    trailer = struct.pack("<II", check, (len(head) + size + len(tail)) & 0xFFFFFFFF)
    pieces = (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", first, *(repeated for _ in range(count)), last, trailer)
    stored = hashlib.sha256()
    for piece in pieces:
        stored.update(piece)
    blob = Blob("sha256:" + stored.hexdigest(), sum(map(len, pieces)), lambda file: file.writelines(pieces))
    write_archive(path, "huge", [blob], ["sha256:" + plain.hexdigest()])


# --- a pipeline -----------------------------------------------------------------------------------------------------


def pipeline_of(source: str, path: str, name: str, command: Sequence[str]) -> None:
    """Write the image of the OCI archive *source* with another command, as *name*. Raises MeasurementError."""
    try:
        with tarfile.open(source, "r:") as tar, open(source, "rb") as original:
            members = {member.name.removeprefix("./"): member for member in tar}

            def place(digest: str) -> tarfile.TarInfo:
                return members["blobs/" + digest.replace(":", "/")]

            def document(member: tarfile.TarInfo) -> dict[str, Any]:
                original.seek(member.offset_data)
                return dict(json.loads(original.read(member.size)))

            manifest = document(place(document(members["index.json"])["manifests"][0]["digest"]))
            config = document(place(manifest["config"]["digest"]))
            config["config"] = {**config.get("config", {}), "Entrypoint": None, "Cmd": list(command)}
            layers = [
                Blob(layer["digest"], layer["size"], _copier(original, place(layer["digest"])))
                for layer in manifest["layers"]
            ]
            _write(path, name, config, layers, manifest["layers"])
    except (KeyError, IndexError, TypeError, ValueError, tarfile.TarError) as error:
        raise MeasurementError(f"not an OCI archive of one image: {error}") from error


def _copier(source: BinaryIO, member: tarfile.TarInfo) -> Callable[[BinaryIO], object]:
    def copy(target: BinaryIO) -> None:
        source.seek(member.offset_data)
        left = member.size
        while left:
            data = source.read(min(left, _COPY))
            if not data:
                raise MeasurementError("the archive ends too early")
            target.write(data)
            left -= len(data)

    return copy
