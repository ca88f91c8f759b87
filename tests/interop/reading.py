"""What a file or a directory holds, read without any of the tools."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR = "layout", "oci-archive", "docker-archive", "dir"
KINDS = (OCI_ARCHIVE, LAYOUT, DOCKER_ARCHIVE, DIR)


class Seen(NamedTuple):
    """An image as a tool sees it: digests of what is named (a manifest or an index) and of the configs below it.

    `top` is "" where there is none: a docker-archive has no manifest. `configs` is empty where a tool does not tell.
    """

    top: str
    configs: frozenset[str] = frozenset()


def sha256(data: bytes) -> str:
    """The digest of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def seen(kind: str, path: Path) -> Seen:
    """The one image, or index, that is at *path*."""
    if kind == DIR:
        manifest = (path / "manifest.json").read_bytes()
        return Seen(sha256(manifest), _configs(manifest, lambda digest: _of_dir(path, digest)))
    if kind == DOCKER_ARCHIVE:
        with tarfile.open(path) as archive:
            items = json.loads(_member(archive, "manifest.json"))
            return Seen("", frozenset(sha256(_member(archive, item["Config"])) for item in items))
    if kind == OCI_ARCHIVE:
        with tarfile.open(path) as archive:
            return _of_layout(lambda name: _member(archive, name))
    return _of_layout(lambda name: (path / name).read_bytes())


def _of_layout(read: Callable[[str], bytes]) -> Seen:
    entries = json.loads(read("index.json"))["manifests"]
    tops = {entry["digest"] for entry in entries}
    if len(tops) != 1:
        raise ValueError(f"lists {len(tops)} things")
    (top,) = tops

    def blob(digest: str) -> bytes:
        return read("blobs/" + digest.replace(":", "/"))

    return Seen(top, _configs(blob(top), blob))


def _configs(document: bytes, blob: Callable[[str], bytes]) -> frozenset[str]:
    """The configs of all images below a manifest or an index."""
    parsed: dict[str, Any] = json.loads(document)
    if "manifests" not in parsed:
        return frozenset([parsed["config"]["digest"]])
    return frozenset().union(*(_configs(blob(entry["digest"]), blob) for entry in parsed["manifests"]))


def _of_dir(path: Path, digest: str) -> bytes:
    return (path / f"{digest.partition(':')[2]}.manifest.json").read_bytes()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()
