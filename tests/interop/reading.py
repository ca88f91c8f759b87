"""Content of a file, a directory or a registry, read without any of the tools."""

from __future__ import annotations

import hashlib
import json
import tarfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR = "layout", "oci-archive", "docker-archive", "dir"
REGISTRY, CRANE = "registry", "crane's registry"
REGISTRIES = (REGISTRY, CRANE)
KINDS = (OCI_ARCHIVE, LAYOUT, DOCKER_ARCHIVE, DIR, *REGISTRIES)
_ACCEPT = ", ".join(
    f"application/vnd.{one}+json"
    for one in (
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)


class Seen(NamedTuple):
    """An image as a tool sees it: digests of the named document (a manifest or an index) and of the configs below it.

    `top` is "" for a docker-archive, which has no manifest. `configs` is empty if a tool does not report them.
    """

    top: str
    configs: frozenset[str] = frozenset()


def sha256(data: bytes) -> str:
    """The digest of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def seen(kind: str, place: Path | str) -> Seen:
    """The only image, or index, at *place*: a path, or HOST/NAME:TAG in a registry."""
    if kind in REGISTRIES:
        return _of_registry(str(place))
    path = Path(place)
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


def _of_registry(name: str) -> Seen:
    """Read manifests by plain http; each must have the digest by which it was requested."""
    repository, _, tag = name.rpartition(":")
    host, _, path = repository.partition("/")

    def manifest(reference: str) -> bytes:
        request = urllib.request.Request(f"http://{host}/v2/{path}/manifests/{reference}", headers={"Accept": _ACCEPT})
        with urllib.request.urlopen(request, timeout=60) as answer:
            data: bytes = answer.read()
        if reference != tag and sha256(data) != reference:
            raise ValueError(f"{reference} has other bytes")
        return data

    top = manifest(tag)
    return Seen(sha256(top), _configs(top, manifest))


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
